"""Table that files can be dropped on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QPainter
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_nh2st.widgets.text_colors import TextDelegate


class DropTable(QTableView):
    """A table that files can be dropped on.

    Parameters
    ----------
    on_drop
        Called with the files, and the row that they were dropped on.
    how
        Stands in the table while there is no row: how to get some.
    tip
        Tooltip.

    Attributes
    ----------
    delete_pressed, undo_pressed
        Emitted when the keys for it are pressed.
    """

    delete_pressed = Signal()
    undo_pressed = Signal()

    def __init__(
        self, on_drop: Callable[[Sequence[Path], int | None], None], how: str, tip: str
    ) -> None:
        super().__init__()
        self._on_drop = on_drop
        self._how = how
        self.setItemDelegate(TextDelegate(self))
        self.setAcceptDrops(True)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        numbers: Any = self.verticalHeader()
        numbers.hide()
        self.setToolTip(tip)

    def selected_rows(self) -> list[int]:
        """Numbers of the selected rows."""
        selection = self.selectionModel()
        return [] if selection is None else sorted({i.row() for i in selection.selectedRows()})

    def paintEvent(self, event: Any) -> None:  # Qt's name
        """The rows, or while there is none, how to get some."""
        super().paintEvent(event)
        model, place = self.model(), self.viewport()
        if place is not None and (model is None or model.rowCount() == 0):
            painter = QPainter(place)
            painter.setOpacity(0.6)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(place.rect().adjusted(12, 0, -12, 0), int(flags), self._how)
            painter.end()

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Delete and undo."""
        if event.matches(QKeySequence.StandardKey.Delete):
            self.delete_pressed.emit()
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.undo_pressed.emit()
        else:
            super().keyPressEvent(event)

    def dragEnterEvent(self, event: Any) -> None:  # Qt's name
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:  # Qt's name
        """Take files anywhere, on rows and below them."""
        self.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:  # Qt's name
        """Add what was dropped, and keep it from the viewer, which would open it."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        index = self.indexAt(event.position().toPoint())
        event.acceptProposedAction()
        if paths:
            self._on_drop(paths, index.row() if index.isValid() else None)
