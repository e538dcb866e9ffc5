"""Table of things whose names, in the first column, can be typed."""

from collections.abc import Mapping, Sequence

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTableWidget, QTableWidgetItem
from superqt.utils import signals_blocked

from napari_nh2st.shown_text import for_qt

_ROW_HEIGHT = 22


class NameTable(QTableWidget):
    """A few rows, as high as they are: the tables below need the place.

    Parameters
    ----------
    heads
        Label of each column and what it means.
    rows_seen
        So many rows are seen at once.

    Attributes
    ----------
    renamed
        Emitted with the number of a row, from 0, and the name that was typed.
    """

    renamed = Signal(int, str)

    def __init__(self, heads: Mapping[str, str], rows_seen: int) -> None:
        super().__init__(0, len(heads))
        self._rows_seen = rows_seen
        for column, (label, meaning) in enumerate(heads.items()):
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

    def show_rows(self, rows: Sequence[Sequence[QTableWidgetItem]]) -> None:
        """Show these rows, and no others; the current row stays as far as there is one."""
        current = max(0, self.currentRow())
        with signals_blocked(self):
            self.setRowCount(len(rows))
            for row, items in enumerate(rows):
                for column, item in enumerate(items):
                    self.setItem(row, column, item)
            self.setCurrentCell(min(current, len(rows) - 1), 0)
        header = self.horizontalHeader()
        assert header is not None
        height = header.sizeHint().height() + _ROW_HEIGHT * min(max(len(rows), 1), self._rows_seen)
        self.setFixedHeight(height + 2 * self.frameWidth())

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.renamed.emit(item.row(), item.text())


def fixed_item(text: str, *, to_the_right: bool = True) -> QTableWidgetItem:
    """An item that cannot be edited, whose text is its tooltip as well."""
    item = QTableWidgetItem(text)
    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    item.setToolTip(for_qt(text))
    if to_the_right:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
