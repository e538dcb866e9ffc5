"""The sections as Qt shows and edits them: one row each, with what its check found."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor

from napari_nh2st.widgets.train.check import Found, Measured, SectionChecks
from napari_nh2st.widgets.train.rows import ROLES, SectionRow, SectionRows

ROLE, NAME, DONOR, STATUS, SLIDE, EXPRESSION, POSITIONS, MPP = range(8)
"""The columns."""

_HEADER = ("Role", "Name", "Donor", "Check", "Slide", "ST", "Positions", "µm/px")
_FIELDS = ("role", "name", "donor", "", "slide", "expression", "positions", "mpp")
_HINTS = (
    "train: learned from; validate: chooses the epoch; hold out: only scored; leave out: not used",
    "The section's name, once in the table",
    "Patient or animal: sections of one donor resemble each other, and are split together",
    "Whether slide and spots fit each other",
    "The slide; double-click to choose the file",
    "Measured spatial transcriptomics; double-click to choose a file, or drop a folder here",
    "Table of positions, where the ST is a table of counts; double-click to choose the file",
    "µm per pixel of the slide, where its own is missing or wrong",
)
FILES = (SLIDE, EXPRESSION, POSITIONS)
"""Columns whose cells are files."""

_BAD, _WARNED, _GOOD = QColor("#d9534f"), QColor("#c98a00"), QColor("#3c9d57")
"""Of a check; mid tones, readable on dark and on light."""


class SectionsModel(QAbstractTableModel):
    """The rows, what is written in their cells, and their checks.

    Parameters
    ----------
    rows
        What is shown and edited.
    checks
        What was found of them.
    selected
        Gives the numbers of the selected rows: what is typed into one goes to all of them.

    Attributes
    ----------
    edited
        Emitted when the user or a method changed the rows.
    refused
        Emitted with a sentence when something typed cannot be taken.
    """

    edited = Signal()
    refused = Signal(str)

    def __init__(
        self,
        rows: SectionRows,
        checks: SectionChecks,
        selected: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        super().__init__()
        self.rows = rows
        self.trust_positions = False
        self._checks = checks
        self._selected = selected
        checks.changed.connect(self.refresh)

    # --- what rows are worth ---

    def measured(self, row: SectionRow) -> Measured | None:
        """What of a row is checked; None while something is missing."""
        section = row.section
        return None if section is None else Measured.of(section, self.trust_positions)

    def state(self, number: int) -> Found | None:
        """What is known of a row; None while it is being checked."""
        row = self.rows[number]
        if self.rows.twice(number):
            return Found(f"Another row is called {row.name!r} as well: give it its own name", False)
        measured = self.measured(row)
        if measured is None:
            return Found(f"needs {', '.join(row.missing)}", False)
        return self._checks.found(measured)

    def refresh(self) -> None:
        """Show the checks as they are now."""
        if len(self.rows):
            last = self.index(len(self.rows) - 1, STATUS)
            self.dataChanged.emit(self.index(0, STATUS), last)

    def update(self, change: Callable[[], None]) -> None:
        """Do something to the rows, and show what they are then."""
        self.beginResetModel()
        try:
            change()
        finally:
            self.endResetModel()
        self.check()
        self.edited.emit()

    def check(self) -> None:
        """Have every complete row checked that is not yet."""
        used = [row for row in self.rows.all if row.role != "leave out"]
        self._checks.want([one for row in used if (one := self.measured(row)) is not None])
        self.refresh()

    # --- what Qt asks ---

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Number of sections."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_HEADER)

    def headerData(  # Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Names of the columns."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return _HEADER[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return _HINTS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Cells that are typed into can be edited."""
        flags = super().flags(index)
        if index.column() in (ROLE, NAME, DONOR, MPP):
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = self.rows[index.row()], index.column()
        if column == STATUS:
            return self._status(index.row(), role)
        value = getattr(row, _FIELDS[column])
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            if isinstance(value, Path):
                return value.name
            return "" if value is None else f"{value:g}" if column == MPP else value
        if role == Qt.ItemDataRole.ToolTipRole:
            return str(value) if isinstance(value, Path) else _HINTS[column]
        return None

    def _status(self, number: int, role: int) -> Any:
        if self.rows[number].role == "leave out":
            found = Found("left out", True)
        else:
            found = self.state(number) or Found("checking…", True)
        if role == Qt.ItemDataRole.DisplayRole:
            return f"{found.text}; please read" if found.warnings else found.text
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join((found.text, *found.warnings))
        if role == Qt.ItemDataRole.ForegroundRole:
            if not found.is_good:
                return _BAD
            return _WARNED if found.warnings else _GOOD if found.text.startswith("ok") else None
        return None

    def setData(  # Qt's name
        self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Take what was typed, for all selected rows if this is one of them."""
        if role != Qt.ItemDataRole.EditRole:
            return False
        column, number = index.column(), index.row()
        text = str(value).strip()
        taken: Any = text
        if column == ROLE:
            if text not in ROLES:
                return False
        elif column == NAME:
            names = {row.name for k, row in enumerate(self.rows.all) if k != number}
            if text and text in names:
                self.refused.emit(f"There is a section {text!r} already: give another name.")
                return False
        elif column == MPP:
            try:
                taken = float(text.replace(",", ".")) if text else None
            except ValueError:
                taken = 0.0
            if taken is not None and not 0 < taken < 100:
                self.refused.emit(f"{text!r} is no µm/px: give a number such as 0.5.")
                return False
        elif column != DONOR:
            return False
        selected = list(self._selected())
        numbers = selected if number in selected and column != NAME else [number]
        self.rows.change(numbers, **{_FIELDS[column]: taken})
        last = self.index(len(self.rows) - 1, len(_HEADER) - 1)
        self.dataChanged.emit(self.index(0, 0), last)
        self.check()
        self.edited.emit()
        return True
