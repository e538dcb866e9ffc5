"""Legend of domains: colours and names, which are typed in place."""

from collections.abc import Sequence

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QWidget

from napari_nh2st.analysis.domain_colors import domain_color
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.reliability import (
    GREYED,
    THRESHOLD,
    badge_color,
    badge_list,
    is_reliable,
)

_HEADS = {
    "Domain": "Name and colour on the slide",
    "Tiles": "Predicted tiles of the domain",
    "%": "Share of the predicted tiles",
    "Top markers": "The genes that mark the domain best, each with the badge of its reliability",
}
_MARKERS = 3
"""Column of the markers."""
_ROW_HEIGHT, _ROWS_SEEN = 22, 8
_SWATCH_PX = 14
_DOT_PX, _MOST_DOTS = 9, 3


class DomainLegend(QTableWidget):
    """One row a domain: colour and name, tiles, share, top markers.

    Parameters
    ----------
    parent
        Parent widget.

    Attributes
    ----------
    reliable_from
        Markers of a lower reliability have the badge of the unreliable, from the next legend on.
    renamed
        Emitted with a domain's number, from 1, and the name that was typed.
    picked
        Emitted with the number of the domain whose row was chosen.
    """

    renamed = Signal(int, str)
    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADS), parent)
        self.reliable_from = THRESHOLD
        for column, (label, meaning) in enumerate(_HEADS.items()):
            head = QTableWidgetItem(label)
            head.setToolTip(meaning)
            self.setHorizontalHeaderItem(column, head)
        self.setToolTip("Double-click a name to change it; click a row for its marker genes")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.setIconSize(QSize(_MOST_DOTS * (_DOT_PX + 1), _SWATCH_PX))
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        columns.setStretchLastSection(True)
        self.itemChanged.connect(self._on_changed)
        self.currentCellChanged.connect(self._on_row)

    def clear_legend(self) -> None:
        """Show no domains."""
        self.show_legend(pd.DataFrame(columns=["domain", "tiles", "share", "markers"]), None)

    def show_legend(self, legend: pd.DataFrame, reliability: "pd.Series[float] | None") -> None:
        """Show domains; the row stays chosen.

        Parameters
        ----------
        legend
            From :meth:`~napari_nh2st.analysis.named_domains.NamedDomains.legend`.
        reliability
            By gene; None where it is not recorded.
        """
        row = max(0, self.currentRow())
        self.blockSignals(True)
        self.setRowCount(len(legend))
        for place, (name, tiles, share, markers) in enumerate(legend.itertuples(index=False)):
            self.setItem(place, 0, _named(str(name), domain_color(place + 1)))
            self.setItem(place, 1, _fixed(f"{tiles:,}"))
            self.setItem(place, 2, _fixed(f"{share:.1f}"))
            self.setItem(place, _MARKERS, self._marked(markers, reliability))
        self.resizeColumnsToContents()
        row = min(row, len(legend) - 1)
        self.setCurrentCell(row, 0)
        self.blockSignals(False)
        header = self.horizontalHeader()
        assert header is not None
        height = header.sizeHint().height() + _ROW_HEIGHT * min(len(legend), _ROWS_SEEN)
        self.setFixedHeight(height + 2 * self.frameWidth())
        self.picked.emit(row + 1)

    def _marked(
        self, genes: Sequence[str], reliability: "pd.Series[float] | None"
    ) -> QTableWidgetItem:
        """Genes, with their badges before them in the same order."""
        item = _fixed(", ".join(genes), to_the_right=False)
        if reliability is None or not genes:
            return item
        known = [float(reliability.get(gene, float("nan"))) for gene in genes]
        colors = [badge_color(pcc, self.reliable_from) for pcc in known]
        item.setIcon(_untinted(_dots(colors)))
        item.setToolTip(badge_list(zip(genes, known, strict=True), self.reliable_from))
        if not any(is_reliable(pcc, self.reliable_from) for pcc in known):
            item.setForeground(GREYED)
        return item

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == 0:
            self.renamed.emit(item.row() + 1, item.text())

    def _on_row(self, row: int, _column: int, former_row: int, _former_column: int) -> None:
        if row >= 0 and row != former_row:
            self.picked.emit(row + 1)


def _named(name: str, color: str) -> QTableWidgetItem:
    swatch = QPixmap(_SWATCH_PX, _SWATCH_PX)
    swatch.fill(QColor(color))
    item = QTableWidgetItem(name)
    item.setIcon(_untinted(swatch))
    return item


def _fixed(words: str, to_the_right: bool = True) -> QTableWidgetItem:
    item = QTableWidgetItem(words)
    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    item.setToolTip(for_qt(words))
    if to_the_right:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def _untinted(pixmap: QPixmap) -> QIcon:
    """An icon that Qt does not tint in the chosen row."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _dots(colors: Sequence[str]) -> QPixmap:
    """Round dots side by side."""
    pixmap = QPixmap((_DOT_PX + 1) * len(colors), _DOT_PX)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    for place, color in enumerate(colors):
        painter.setBrush(QColor(color))
        painter.drawEllipse(place * (_DOT_PX + 1), 0, _DOT_PX, _DOT_PX)
    painter.end()
    return pixmap
