"""The sections as Qt shows and edits them: one row each, with how it stands."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor

from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import for_qt
from napari_nh2st.spots import Fix
from napari_nh2st.spots.section_check import Measured
from napari_nh2st.training.row_state import Level, RowState, row_state
from napari_nh2st.training.section_rows import ROLES, SectionRow, SectionRows
from napari_nh2st.widgets.train.section_checks import SectionChecks

ROLE, NAME, DONOR, STATUS, SLIDE, EXPRESSION, POSITIONS, MPP, FIX = range(9)
"""The columns."""

_HEADER = ("Role", "Name", "Donor", "Check", "Slide", "ST", "Positions", "µm/px", "Fix")
_FIELDS = ("role", "name", "donor", "", "slide", "expression", "positions", "mpp", "fix")
_HINTS = (
    "train: learned from; validate: chooses the epoch; hold out: only scored; leave out: not used",
    "The section's name, once in the table",
    "Patient or animal: sections of one donor resemble each other, and are split together",
    "Whether slide and spots fit each other",
    "The slide; double-click to choose the file",
    "Measured spatial transcriptomics; double-click to choose a file, or drop a folder here",
    "Table of positions, where the ST is a table of counts; double-click to choose the file",
    "µm per pixel of the slide, where its own is missing or wrong",
    "What is done to the positions of the file: scale=4, flip-x, flip-y, swap-xy, or several of "
    "them; empty for nothing",
)
FILES: Mapping[int, str] = {k: _FIELDS[k] for k in (SLIDE, EXPRESSION, POSITIONS)}
"""Columns whose cells are files, and the fields of a row that these are."""

_CHOOSE = "choose…"

_COLORS: Mapping[Level, QColor] = {
    "bad": QColor("#d9534f"),
    "warned": QColor("#c98a00"),
    "good": QColor("#3c9d57"),
}
"""Mid tones, readable on dark and on light."""


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
        """What of a row is checked; None while one of its files is missing."""
        if row.missing_files or row.slide is None or row.expression is None:
            return None
        return Measured(
            row.slide,
            row.expression,
            row.positions,
            row.mpp,
            row.fix,
            self.trust_positions,
            row.image,
            row.choice,
        )

    def state(self, number: int) -> RowState:
        """How a row stands."""
        measured = self.measured(self.rows[number])
        found = None if measured is None else self._checks.found(measured)
        return row_state(self.rows, number, found)

    def refresh(self) -> None:
        """Show the checks as they are now."""
        if len(self.rows):
            last = self.index(len(self.rows) - 1, STATUS)
            self.dataChanged.emit(self.index(0, STATUS), last)

    def update(self, change: Callable[[], None]) -> None:
        """Do something to the rows, and show what they are then."""
        self.beginResetModel()
        try:
            self.rows.change_together(change)
        finally:
            self.endResetModel()
        self._after_change()

    def change(self, numbers: Sequence[int], **values: object) -> None:
        """Give fields of rows other values, and show them; what is selected stays so."""
        self._show_change(lambda: self.rows.change(numbers, **values))

    def change_each(self, values: Mapping[int, Mapping[str, object]]) -> None:
        """Give fields of each of some rows values of its own, and show them."""

        def change() -> None:
            for number, of_row in values.items():
                self.rows.change([number], **of_row)

        self._show_change(lambda: self.rows.change_together(change))

    def _show_change(self, change: Callable[[], None]) -> None:
        change()
        last = self.index(len(self.rows) - 1, len(_HEADER) - 1)
        self.dataChanged.emit(self.index(0, 0), last)
        self._after_change()

    def undo(self) -> None:
        """Show the rows as they were before the last change."""
        self.beginResetModel()
        self.rows.undo()
        self.endResetModel()
        self._after_change()

    def _after_change(self) -> None:
        self.check()
        self.edited.emit()

    def check(self) -> None:
        """Have every row checked that has its files and is not yet."""
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
        if index.column() in (ROLE, NAME, DONOR, MPP, FIX):
            flags |= Qt.ItemFlag.ItemIsEditable
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = self.rows[index.row()], index.column()
        if column == STATUS:
            return self._status(index.row(), role)
        value = getattr(row, _FIELDS[column])
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            if _is_missing(row, column):
                return _CHOOSE
            part = row.choice.spelled() if column == EXPRESSION else ""
            return " · ".join(text for text in (_text(value), part) if text)
        if role == Qt.ItemDataRole.ToolTipRole:
            return for_qt(str(value)) if isinstance(value, Path) else _HINTS[column]
        if role == Qt.ItemDataRole.ForegroundRole and _is_missing(row, column):
            return _COLORS["bad"]
        return None

    def _status(self, number: int, role: int) -> Any:
        state = self.state(number)
        if role == Qt.ItemDataRole.DisplayRole:
            return state.short
        if role == Qt.ItemDataRole.ToolTipRole:
            return for_qt("\n".join(state.sentences))
        if role == Qt.ItemDataRole.ForegroundRole:
            return _COLORS.get(state.level)
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
        elif column == FIX:
            try:
                fix = Fix.from_text(text)
                taken = None if fix == Fix() else fix
            except InputError as error:
                self.refused.emit(f"{error}.")
                return False
        elif column != DONOR:
            return False
        selected = list(self._selected())
        numbers = selected if number in selected and column != NAME else [number]
        self.change(numbers, **{_FIELDS[column]: taken})
        return True


def _is_missing(row: SectionRow, column: int) -> bool:
    """Whether a cell waits for a file."""
    what = {SLIDE: "slide", EXPRESSION: "ST", POSITIONS: "positions"}.get(column)
    return what in row.missing_files


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case Path():
            return value.name
        case Fix():
            return value.spelled()
        case float():
            return f"{value:g}"
    return str(value)
