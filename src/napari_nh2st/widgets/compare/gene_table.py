"""The genes of a comparison, with search; the current row is the gene shown."""

from typing import Any

import numpy as np
import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QHeaderView, QLineEdit, QVBoxLayout, QWidget

from napari_nh2st.analysis import match_genes
from napari_nh2st.widgets.frame_model import ColumnHead, FrameModel
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel

_HEADS = {
    "gene": ColumnHead("gene", "Name of the gene in the model's panel"),
    "PCC": ColumnHead("PCC", "Correlation of predicted and measured over the spots"),
    "low": ColumnHead("95 %", "Interval of the PCC over resampled spots; sorted by its lower end"),
    "high": ColumnHead("high", "Upper end of the interval"),
    "reliability": ColumnHead(
        "held\nout", "Reliability: PCC on the sections held out when the model was made"
    ),
    "MSE/mean": ColumnHead(
        "MSE/\nmean",
        "Mean squared error over that of predicting the mean of the training: below 1 is better "
        "than the mean",
    ),
}

_ROWS_LOOKED_AT = 12
"""For the columns' widths: numbers are as wide everywhere."""

_AROUND_LABEL = 20
_AROUND_CELL = 10
"""Pixels beside a column's label, and beside what a cell says."""

_INTERVAL = list(_HEADS).index("low")
_WIDEST_INTERVAL = "−0.88–−0.88"
"""The first rows, of the best genes, have no minus signs."""


class ScoresModel(FrameModel):
    """Rows of a table of genes: two decimals, and an interval in one cell."""

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """What a cell shows."""
        name = str(self.table.columns[index.column()])
        if role != Qt.ItemDataRole.DisplayRole or name == "gene":
            return super().data(index, role)
        names = ("low", "high") if name == "low" else (name,)
        numbers = [float(self.table[name].iat[index.row()]) for name in names]
        return "–".join(map(_number, numbers)) if np.isfinite(numbers).all() else "–"


class ComparisonTable(QWidget):
    """A search line and a sortable table of genes.

    Attributes
    ----------
    search
        Rows whose gene does not contain it are hidden.
    note
        The nearest names, where no gene contains it.
    table
        With buttons to copy it and to save it as CSV, all rows and columns of it.
    gene_chosen
        Emitted with the gene of the row that becomes the current one.
    """

    gene_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search genes")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Show genes whose name contains this")
        self.note = PlainLabel()
        self.note.setWordWrap(True)
        self.note.hide()
        self.table = FrameTable("comparison", model=ScoresModel(_HEADS))
        view = self.table.view
        view.setToolTip(
            "Click a gene to show it, or step with the arrow keys; click a column to sort"
        )
        view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        view.setMinimumHeight(180)
        header = view.horizontalHeader()
        assert header is not None
        header.setStretchLastSection(False)  # the gene has the room that is left
        header.setResizeContentsPrecision(_ROWS_LOOKED_AT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.search)
        layout.addWidget(self.note)
        layout.addWidget(self.table)
        self.search.textChanged.connect(self._hide_others)
        self.table.model.layoutChanged.connect(self._on_sorted)
        selection = view.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)
        self._gene = ""
        self._quiet = False

    @property
    def gene(self) -> str:
        """The current row's; empty where there is none."""
        return self._gene

    def show_table(self, table: pd.DataFrame) -> None:
        """Show a table of genes; the current gene stays if it is in it."""
        self._quiet = True
        self.table.model.sort(-1, Qt.SortOrder.AscendingOrder)
        self.table.show_table(table, hidden=("high",))
        header = self.table.view.horizontalHeader()
        assert header is not None
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self._fit_columns(header)
        self._quiet = False
        self._hide_others()
        self.choose(self._gene)

    def choose(self, gene: str) -> None:
        """Make a gene's row the current one, without telling of it; nothing if there is none."""
        genes = self.table.table.get("gene", pd.Series(dtype=object))
        rows = np.flatnonzero(genes == gene)
        if len(rows):
            self._gene = gene
            self._quiet = True
            self.table.view.selectRow(int(rows[0]))
            self.table.view.scrollTo(self.table.view.filter.index(int(rows[0]), 0))
            self._quiet = False

    def _fit_columns(self, header: QHeaderView) -> None:
        """Numbers are as wide as they are, the gene has the rest: nothing is to be scrolled to."""
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        text = header.fontMetrics()
        for column, head in enumerate(_HEADS.values()):
            if column:
                # Qt's own width keeps room for the arrow of the sorted column beside each label.
                label = max(map(text.horizontalAdvance, head.label.split("\n"))) + _AROUND_LABEL
                cells = self.table.view.sizeHintForColumn(column)
                if column == _INTERVAL and self.table.table["low"].notna().any():
                    cells = max(cells, text.horizontalAdvance(_WIDEST_INTERVAL) + _AROUND_CELL)
                header.resizeSection(column, max(label, cells))

    def _hide_others(self) -> None:
        typed = self.search.text().strip()
        text = typed.casefold()
        genes = list(self.table.table.get("gene", ()))
        for row, gene in enumerate(genes):
            self.table.view.setRowHidden(row, text not in gene.casefold())
        note = ""
        if genes and not any(text in gene.casefold() for gene in genes):
            nearest = match_genes([typed], genes).unknown.get(typed, ())
            note = f"No gene has “{typed}” in its name." + (
                f" Nearest: {', '.join(nearest)}." if nearest else ""
            )
        self.note.setText(note)
        self.note.setVisible(bool(note))

    def _on_sorted(self) -> None:
        if not self._quiet:
            self._hide_others()
            self.choose(self._gene)

    def _on_row(self, current: QModelIndex, _before: QModelIndex) -> None:
        if self._quiet or not current.isValid():
            return
        gene = str(self.table.table["gene"].iat[current.row()])
        if gene != self._gene:
            self._gene = gene
            self.gene_chosen.emit(gene)


def _number(value: float) -> str:
    """With a true minus."""
    return f"{value:.2f}".replace("-", "−")
