"""Table of the queued slides: its columns, and the buttons that fill and order it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QItemSelectionModel, QModelIndex, Qt
from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QVBoxLayout, QWidget
from superqt.utils import qthrottled

from napari_nh2st.errors import InputError
from napari_nh2st.session import Session
from napari_nh2st.session.cohort_queue import QueuedSlide
from napari_nh2st.session.connections import Connections
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets import text_colors
from napari_nh2st.widgets.drop_table import DropTable
from napari_nh2st.widgets.frame_model import ColumnHead, FrameModel
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.notifications import show_error, show_info

SLIDE, STATE, MPP, REGION, MODEL = range(5)
"""Columns."""

_HEADS = {
    "slide": ColumnHead("Slide", "Double-click opens slide and map"),
    "state": ColumnHead("State", "Status of the slide; if it failed, the tooltip says why"),
    "mpp": ColumnHead(
        "µm/px", "µm/px, if the slide's own is missing or wrong; double-click to type it"
    ),
    "region": ColumnHead("Region", "Region file, from the table of slides"),
    "model": ColumnHead("Model", "Model from the table of slides, if it is not the one below"),
}
_WIDTHS = {SLIDE: 120, STATE: 116, MPP: 50, REGION: 60, MODEL: 60}
_HEIGHT = 150
_ROW_PX = 22
_MS_BETWEEN = 200
_HOW = "Drop slides, a folder of slides, or a table of slides here; or use the buttons below"
_TIP = "The slides to predict, from top to bottom. Drop slides, folders or a table of slides here"


class QueueTable(QWidget):
    """Table of the queued slides.

    Parameters
    ----------
    session
        Has the queue, and the slides that are open.
    connections
        Of the dock.

    Attributes
    ----------
    view, model
        The table.
    details
        Why the selected slide failed; hidden for others.
    add, folder, table, open, up, down, remove
        The buttons.
    edited
        Emitted when the user has changed which slides there are, or their order.
    opened
        Emitted with a slide whose result is to be shown.
    """

    edited = Signal()
    opened = Signal(object)

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self._session = session
        self.queue = session.cohort
        self.view = DropTable(lambda paths, _row: self.add_paths(paths), _HOW, _TIP)
        self.model = QueueModel(self.queue.rows, self._give_mpp)
        self.view.setModel(self.model)
        for column, width in _WIDTHS.items():
            self.view.setColumnWidth(column, width)
        numbers = self.view.verticalHeader()
        assert numbers is not None
        numbers.setDefaultSectionSize(_ROW_PX)
        self.details = MarkupLabel(wrap=True)
        self.details.hide()
        self.add = _button("Slides…", "Add slides")
        self.folder = _button("Folder…", "Add the slides in a folder")
        self.table = _button(
            "Table…", "Add the slides of a table (CSV), with their µm/px, region, model, donor"
        )
        self.open = _button("From viewer", "Add the slides that are open in the viewer")
        self.up = _button("▲", "Predict the selected slides earlier")
        self.down = _button("▼", "Predict the selected slides later")
        self.remove = _button(
            "Remove", "Remove the selected slides from the queue (Delete); results stay"
        )
        self._lay_out()
        self.add.clicked.connect(self._on_add)
        self.folder.clicked.connect(self._on_folder)
        self.table.clicked.connect(self._on_table)
        self.open.clicked.connect(self.add_open)
        self.up.clicked.connect(lambda: self.move_selected(-1))
        self.down.clicked.connect(lambda: self.move_selected(1))
        self.remove.clicked.connect(self.remove_selected)
        self.view.delete_pressed.connect(self.remove_selected)
        self.view.doubleClicked.connect(self._on_double_click)
        self._update_soon = qthrottled(self.update_rows, _MS_BETWEEN, parent=self)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._show_details)
        connections.add(self.queue.changed, self._on_changed)
        connections.add(self.queue.updated, self._update_soon)
        connections.when_opened(self._on_changed)

    def add_paths(self, paths: Sequence[Path]) -> None:
        """Add slides, folders or a table; problems and what was left out are notifications."""
        try:
            notices = self.queue.add_paths(paths)
        except InputError as error:
            show_error(str(error))
            return
        for notice in notices:
            show_info(notice)
        self.edited.emit()

    def add_open(self) -> None:
        """Add the slides that are open in the viewer."""
        try:
            self.queue.add_open(self._session.viewer.layers)
        except InputError as error:
            show_info(str(error))
            return
        self.edited.emit()

    def move_selected(self, by: int) -> None:
        """Move the selected slides up or down; they stay selected."""
        numbers = self.view.selected_rows()
        if numbers:
            self._select(self.queue.move(numbers, by))
            self.edited.emit()

    def remove_selected(self) -> None:
        """Take the selected slides out of the queue."""
        numbers = self.view.selected_rows()
        if numbers:
            self.queue.remove(numbers)
            self.edited.emit()

    def update_rows(self) -> None:
        """Show what has come of the slides."""
        self.model.show_rows(self.queue.rows)
        self._show_details()

    def _give_mpp(self, number: int, mpp: float | None) -> None:
        selected = self.view.selected_rows()
        self.queue.give_mpp(selected if number in selected else [number], mpp)
        self.edited.emit()

    def _on_changed(self) -> None:
        self.model.show_rows(self.queue.rows)
        self._show_details()

    def _show_details(self, *_: object) -> None:
        selected = self.view.selected_rows()
        row = self.queue.rows[selected[0]] if selected and self.queue.rows else None
        failure = "" if row is None else row.failure
        self.details.show_text(f"<span class='bad'>{for_qt(failure)}</span>" if failure else "")

    def _select(self, numbers: Sequence[int]) -> None:
        selection = self.view.selectionModel()
        assert selection is not None
        selection.clearSelection()
        flags = QItemSelectionModel.SelectionFlag
        for number in numbers:
            selection.select(self.model.index(number, 0), flags.Select | flags.Rows)

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() != MPP:
            self.opened.emit(self.queue.rows[index.row()])

    # --- dialogs ---

    def _on_add(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Slides to predict")
        if files:
            self.add_paths([Path(file) for file in files])

    def _on_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of slides")
        if folder:
            self.add_paths([Path(folder)])

    def _on_table(self) -> None:
        file, _ = QFileDialog.getOpenFileName(self, "Table of slides", "", "Tables (*.csv *.tsv)")
        if file:
            self.add_paths([Path(file)])

    def _lay_out(self) -> None:
        self.view.setMinimumHeight(_HEIGHT)
        buttons = QGridLayout()
        for column, button in enumerate((self.add, self.folder, self.table)):
            buttons.addWidget(button, 0, 2 * column, 1, 2)
        buttons.addWidget(self.open, 1, 0, 1, 2)
        buttons.addWidget(self.up, 1, 2)
        buttons.addWidget(self.down, 1, 3)
        buttons.addWidget(self.remove, 1, 4, 1, 2)
        for button in (self.up, self.down):
            button.setMinimumWidth(24)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.details)
        layout.addLayout(buttons)


class QueueModel(FrameModel):
    """Cells of the queue.

    Parameters
    ----------
    rows
        Shown first.
    give_mpp
        Called with the number of a row and the µm/px that was typed; None for the slide's own.
    """

    def __init__(
        self, rows: Sequence[QueuedSlide], give_mpp: Callable[[int, float | None], None]
    ) -> None:
        super().__init__(_HEADS)
        self._rows = list(rows)
        self._give_mpp = give_mpp
        self.show_rows(rows)

    def show_rows(self, rows: Sequence[QueuedSlide]) -> None:
        """Show these rows; what is selected stays where there are as many."""
        self._rows = list(rows)
        texts = pd.DataFrame([_texts(row) for row in rows], columns=list(_HEADS), dtype=object)
        (self.set_values if len(texts) == self.rowCount() > 0 else self.set_table)(texts)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """µm/px can be typed into, unless the slide is being predicted."""
        flags = super().flags(index)
        if index.column() == MPP and self._rows[index.row()].state in ("waiting", "failed"):
            return flags | Qt.ItemFlag.ItemIsEditable
        return flags

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, color and tooltip of a cell."""
        row, column = self._rows[index.row()], index.column()
        match role:
            case Qt.ItemDataRole.EditRole:
                return self.text(index.row(), column)
            case Qt.ItemDataRole.ToolTipRole if column == STATE and row.failure:
                return for_qt(row.failure)
            case Qt.ItemDataRole.ToolTipRole:
                about = (row.slide.path, "", "", row.slide.region or "", row.slide.model or "")
                return for_qt(str(about[column])) or list(_HEADS.values())[column].meaning
            case text_colors.TEXT_ROLE if column == STATE:
                return {"failed": "bad", "done": "good"}.get(row.state)
        return super().data(index, role)

    def setData(  # Qt's name
        self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole
    ) -> bool:
        """Take a µm/px that was typed."""
        text = str(value).strip().replace(",", ".")
        if role != Qt.ItemDataRole.EditRole or index.column() != MPP:
            return False
        try:
            mpp = float(text) if text else None
            if mpp is not None and not 0 < mpp < 1000:
                raise ValueError
        except ValueError:
            show_error(f"{text!r} is not a µm/px: give a number above 0, such as 0.5")
            return False
        self._give_mpp(index.row(), mpp)
        return True


def state_in_words(row: QueuedSlide) -> str:
    """What has come of a slide, in a few words."""
    if row.state == "running":
        return f"{row.done:,} of {row.total:,}"
    if row.state == "done":
        return "done before" if row.was_done else f"done, {row.total:,} tiles"
    if row.state == "waiting" and row.done:
        return f"waits at {row.done / row.total:.0%}"
    return row.state


def _texts(row: QueuedSlide) -> list[str]:
    slide = row.slide
    return [
        slide.name,
        state_in_words(row),
        "" if slide.mpp is None else f"{slide.mpp:.6g}",
        "" if slide.region is None else slide.region.name,
        "" if slide.model is None else Path(slide.model).name,
    ]


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
