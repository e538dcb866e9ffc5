"""The regions there are, how many tiles each has, and their names to be typed."""

from collections.abc import Mapping

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTableWidget, QTableWidgetItem, QWidget

_HEADS = {"Region": "Name of the region", "Tiles": "Predicted tiles whose center lies in it"}
_ROW_HEIGHT = 22
_ROWS_SEEN = 5


class RegionList(QTableWidget):
    """One row a region: its name and its predicted tiles.

    Parameters
    ----------
    parent
        Parent widget.

    Attributes
    ----------
    renamed
        Emitted with the place of a region and the name that was typed.
    """

    renamed = Signal(int, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 2, parent)
        for column, (label, meaning) in enumerate(_HEADS.items()):
            head = QTableWidgetItem(label)
            head.setToolTip(meaning)
            self.setHorizontalHeaderItem(column, head)
        self.setToolTip("Double-click a name to change it")
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        columns.setStretchLastSection(True)
        self.itemChanged.connect(self._on_changed)

    def show_regions(self, tiles: Mapping[str, int]) -> None:
        """Show regions by name with their number of tiles."""
        self.blockSignals(True)
        self.setRowCount(len(tiles))
        for row, (name, count) in enumerate(tiles.items()):
            self.setItem(row, 0, QTableWidgetItem(name))
            number = QTableWidgetItem(f"{count:,}")
            number.setFlags(number.flags() & ~Qt.ItemFlag.ItemIsEditable)
            number.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.setItem(row, 1, number)
        self.blockSignals(False)
        # As high as its rows, up to a few: the tables below need the place.
        header = self.horizontalHeader()
        assert header is not None
        rows = min(max(len(tiles), 1), _ROWS_SEEN)
        self.setFixedHeight(header.sizeHint().height() + _ROW_HEIGHT * rows + 2 * self.frameWidth())

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.renamed.emit(item.row(), item.text())
