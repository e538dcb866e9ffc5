"""Legend of the domains: colors, names to be typed, and top markers."""

from collections.abc import Sequence

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QTableWidgetItem

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.widgets.name_table import NameTable, fixed_item
from napari_nh2st.widgets.text_colors import TEXT_ROLE, TextDelegate

_HEADS = {
    "Domain": "Name and color on the slide",
    "Tiles": "Predicted tiles of the domain",
    "%": "Share of the predicted tiles",
    "Stable %": "Share of the domain's tiles that stay in it with every one of the model's heads",
    "Top markers": "The genes that mark the domain best, each with the badge of its reliability",
}
_STABLE = list(_HEADS).index("Stable %")
_ROWS_SEEN = 8
_SWATCH_PX = 14
_DOT_PX, _MOST_DOTS = 9, 3


class DomainLegend(NameTable):
    """One row a domain: color and name, tiles, share, stability where known, top markers.

    Attributes
    ----------
    badges
        Colors and words of the markers' reliability, from the next legend on.
    picked
        Emitted with the number of the domain, from 1, whose row was chosen.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__(_HEADS, _ROWS_SEEN)
        self.badges = Badges()
        self.setToolTip("Double-click a name to change it; click a row for its marker genes")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setWordWrap(False)
        self.setItemDelegate(TextDelegate(self))
        self.setIconSize(QSize(_MOST_DOTS * (_DOT_PX + 1), _SWATCH_PX))
        self.currentCellChanged.connect(self._on_row)

    def clear_legend(self) -> None:
        """Show no domains."""
        self.show_rows([])
        self.picked.emit(0)

    def show_legend(self, domains: NamedDomains, reliability: "pd.Series[float] | None") -> None:
        """Show domains; the row stays chosen.

        Parameters
        ----------
        domains
            With their names and colors.
        reliability
            By gene; None where it is not recorded.
        """
        self.show_rows(
            [
                (
                    _named(str(row["domain"]), color),
                    fixed_item(f"{row['tiles']:,}"),
                    fixed_item(f"{row['share']:.1f}"),
                    fixed_item(f"{row['stable']:.0f}" if "stable" in row else ""),
                    self._marked(row["markers"], reliability),
                )
                for color, row in zip(
                    domains.colors, domains.legend().to_dict("records"), strict=True
                )
            ]
        )
        self.setColumnHidden(_STABLE, domains.stable is None)
        self.resizeColumnsToContents()
        self.picked.emit(self.currentRow() + 1)

    def _marked(
        self, genes: Sequence[str], reliability: "pd.Series[float] | None"
    ) -> QTableWidgetItem:
        """Genes, with their badges before them in the same order."""
        item = fixed_item(", ".join(genes), to_the_right=False)
        if reliability is None or not genes:
            return item
        known = [float(reliability.get(gene, float("nan"))) for gene in genes]
        colors = [self.badges.color(pcc) for pcc in known]
        item.setIcon(_untinted(_dots(colors)))
        item.setToolTip(self.badges.listed(zip(genes, known, strict=True)))
        if not any(self.badges.is_reliable(pcc) for pcc in known):
            item.setData(TEXT_ROLE, "greyed")
        return item

    def _on_row(self, row: int, _column: int, former_row: int, _former_column: int) -> None:
        if row >= 0 and row != former_row:
            self.picked.emit(row + 1)


def _named(name: str, color: str) -> QTableWidgetItem:
    swatch = QPixmap(_SWATCH_PX, _SWATCH_PX)
    swatch.fill(QColor(color))
    item = QTableWidgetItem(name)
    item.setIcon(_untinted(swatch))
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
