"""Which colour is which domain; names are typed in place."""

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

from napari_nh2st.widgets.domains.colors import domain_color

_HEADER = ("Domain", "Tiles", "%", "Top markers")
_SWATCH_PX = 14


class DomainLegend(QTableWidget):
    """One row a domain: colour and name, tiles, share, top markers.

    Parameters
    ----------
    parent
        Of the widget.

    Attributes
    ----------
    renamed
        Emitted with a domain's number, from 1, and the name that was typed.
    picked
        Emitted with the number of the domain whose row was chosen.
    """

    renamed = Signal(int, str)
    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADER), parent)
        self.setHorizontalHeaderLabels(_HEADER)
        self.setToolTip("Double-click a name to change it; click a row for its marker genes")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        columns.setStretchLastSection(True)
        self.itemChanged.connect(self._on_changed)
        self.currentCellChanged.connect(self._on_row)

    def show_legend(self, legend: pd.DataFrame) -> None:
        """Show the table that :meth:`~NamedDomains.legend` gives; the row stays chosen."""
        row = max(0, self.currentRow())
        self.blockSignals(True)
        self.setRowCount(len(legend))
        for place, (name, tiles, share, markers) in enumerate(legend.itertuples(index=False)):
            swatch = QPixmap(_SWATCH_PX, _SWATCH_PX)
            swatch.fill(QColor(domain_color(place + 1)))
            first = QTableWidgetItem(str(name))
            icon = QIcon(swatch)
            icon.addPixmap(swatch, QIcon.Mode.Selected)  # Qt would tint it in the chosen row
            first.setIcon(icon)
            self.setItem(place, 0, first)
            for column, words in enumerate((f"{tiles:,}", f"{share:.1f}", str(markers)), start=1):
                item = QTableWidgetItem(words)
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                item.setToolTip(words)
                if column < len(_HEADER) - 1:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self.setItem(place, column, item)
        self.resizeColumnsToContents()
        row = min(row, len(legend) - 1)
        self.setCurrentCell(row, 0)
        self.blockSignals(False)
        self.picked.emit(row + 1)

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.renamed.emit(item.row() + 1, item.text())

    def _on_row(self, row: int, _column: int, former_row: int, _former_column: int) -> None:
        if row >= 0 and row != former_row:
            self.picked.emit(row + 1)
