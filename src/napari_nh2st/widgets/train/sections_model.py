"""Model of the sections table: its columns, and what may be typed into them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QModelIndex, Qt

from napari_nh2st.errors import InputError
from napari_nh2st.session.row_state import Level
from napari_nh2st.session.section_cells import spelled, typed_value
from napari_nh2st.session.section_rows import ROLES, SectionRow
from napari_nh2st.session.training_sections import TrainingSections
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets import text_colors
from napari_nh2st.widgets.frame_model import ColumnHead, FrameModel

ROLE, NAME, DONOR, STATUS, SLIDE, EXPRESSION, FEATURES, POSITIONS, MPP, FIX = range(10)
"""Columns."""

_HEADS = {
    "role": ColumnHead(
        "Role",
        "train: learned from; validate: chooses the epoch; hold out: only scored; leave out: not "
        "used",
    ),
    "name": ColumnHead("Name", "The section's name, unique in the table"),
    "donor": ColumnHead(
        "Donor",
        "Patient or animal: sections of one donor resemble each other, and are split together",
    ),
    "status": ColumnHead("Check", "Whether slide and spots fit each other"),
    "slide": ColumnHead("Slide", "The slide; double-click to choose the file"),
    "expression": ColumnHead(
        "ST",
        "Measured spatial transcriptomics; double-click to choose a file, or drop a folder here",
    ),
    "features": ColumnHead(
        "Features",
        "Features of the slide's tiles that another tool computed, for the image encoder "
        "features; empty if they are in its folder; double-click to choose the file",
    ),
    "positions": ColumnHead(
        "Positions",
        "Table of positions, if the ST is a table of counts; double-click to choose the file",
    ),
    "mpp": ColumnHead("µm/px", "µm per pixel of the slide, if its own is missing or wrong"),
    "fix": ColumnHead(
        "Fix",
        "Correction of the file's positions: scale=4, flip-x, flip-y, swap-xy, or several of "
        "them; empty for nothing",
    ),
}
"""By field of a row, but for the status."""

_FIELDS = tuple(_HEADS)
_EDITED = (ROLE, NAME, DONOR, MPP, FIX)
"""Columns that are typed into."""

FILES: Mapping[int, str] = {k: _FIELDS[k] for k in (SLIDE, EXPRESSION, POSITIONS, FEATURES)}
"""Columns whose cells are files, and the fields of a row that these are."""

_CHOOSE = "choose…"

_KINDS: Mapping[Level, text_colors.TextKind] = {
    "bad": "bad",
    "warned": "caution",
    "good": "good",
}


class SectionsModel(FrameModel):
    """Cells of the sections: what is written in them, and what may be typed.

    Parameters
    ----------
    sections
        The sections to show and edit; the model is refreshed by whoever connects it.
    selected
        Gives the numbers of the selected rows: what is typed into one goes to all of them.

    Attributes
    ----------
    refused
        Emitted with a sentence when something typed cannot be taken.
    """

    refused = Signal(str)

    def __init__(
        self, sections: TrainingSections, selected: Callable[[], Sequence[int]] = tuple
    ) -> None:
        super().__init__(_HEADS)
        self._sections = sections
        self._selected = selected
        self.set_table(self._texts())

    def refresh(self) -> None:
        """Show the rows and their checks as they are now; what is selected stays where it can."""
        texts = self._texts()
        show = self.set_values if len(texts) == self.rowCount() else self.set_table
        show(texts)

    def _texts(self) -> pd.DataFrame:
        """Texts of all cells."""
        rows = range(len(self._sections.rows))
        texts = [[self._text(row, column) for column in range(len(_HEADS))] for row in rows]
        return pd.DataFrame(texts, columns=list(_HEADS), dtype=object)

    def _text(self, number: int, column: int) -> str:
        row = self._sections.rows[number]
        if column == STATUS:
            return self._sections.state(number).short
        if _is_missing(row, column):
            return _CHOOSE
        part = row.choice.spelled() if column == EXPRESSION else ""
        return " · ".join(filter(None, (spelled(getattr(row, _FIELDS[column])), part)))

    # --- what Qt asks ---

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Cells that are typed into can be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() in _EDITED else flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, color and tooltip of a cell."""
        row, column = self._sections.rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.EditRole:
                return self.text(index.row(), column)
            case Qt.ItemDataRole.ToolTipRole if column == STATUS:
                return for_qt("\n".join(self._sections.state(index.row()).sentences))
            case Qt.ItemDataRole.ToolTipRole:
                path = getattr(row, _FIELDS[column])
                is_path = isinstance(path, Path)
                return for_qt(str(path)) if is_path else _HEADS[_FIELDS[column]].meaning
            case text_colors.TEXT_ROLE if column == STATUS:
                return _KINDS.get(self._sections.state(index.row()).level)
            case text_colors.TEXT_ROLE:
                return "bad" if _is_missing(row, column) else None
        return super().data(index, role)

    def setData(  # Qt's name
        self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Take what was typed, for all selected rows if this is one of them."""
        column, number = index.column(), index.row()
        text = str(value).strip()
        is_role = column != ROLE or text in ROLES
        if role != Qt.ItemDataRole.EditRole or column not in _EDITED or not is_role:
            return False
        try:
            names = {row.name for k, row in enumerate(self._sections.rows.all) if k != number}
            taken = typed_value(_FIELDS[column], text, names)
        except InputError as error:
            self.refused.emit(str(error))
            return False
        selected = list(self._selected())
        numbers = selected if number in selected and column != NAME else [number]
        self._sections.change(numbers, **{_FIELDS[column]: taken})
        return True


def _is_missing(row: SectionRow, column: int) -> bool:
    """Whether a cell waits for a file."""
    what = {SLIDE: "slide", EXPRESSION: "ST", POSITIONS: "positions"}.get(column)
    return what in row.missing_files
