"""Table of the genes of a comparison, with search; the current row is the gene shown."""

import numpy as np
import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_nh2st.analysis import match_genes
from napari_nh2st.shown_text import with_minus
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
        "Mean squared error divided by that of predicting the training's mean: below 1 is better "
        "than the mean",
    ),
}

_ROWS_LOOKED_AT = 12
"""For the columns' widths: numbers are as wide everywhere."""

_AROUND_CELL = 10
"""Pixels beside a cell's text."""

_COLUMN = {name: column for column, name in enumerate(_HEADS)}
_SHOWN = [column for name, column in _COLUMN.items() if name not in ("gene", "high")]


class ScoresModel(FrameModel):
    """Rows of a table of genes: two decimals, and an interval in one cell."""

    def text(self, row: int, column: int) -> str:
        """What a cell shows."""
        name = str(self.table.columns[column])
        if name == "gene":
            return super().text(row, column)
        names = ["low", "high"] if name == "low" else [name]
        numbers = self.table[names].iloc[row].to_numpy(np.float64)
        return (
            " to ".join(with_minus(f"{number:.2f}") for number in numbers)
            if np.isfinite(numbers).all()
            else "–"
        )


class GeneTable(QWidget):
    """A search line and a sortable table of genes.

    Attributes
    ----------
    search
        Rows whose gene does not contain it are hidden.
    note
        The nearest names, where no gene contains it.
    table
        With buttons to copy it and to save it as CSV, all rows and columns of it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search genes")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Show genes whose name contains this")
        self.note = PlainLabel(wrap=True)
        self.note.hide()
        self.table = FrameTable("comparison", model=ScoresModel(_HEADS))
        self.view = self.table.view
        self.view.setToolTip(
            "Click a gene to show it, or step with the arrow keys; click a column to sort"
        )
        self.view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.view.setMinimumHeight(180)
        self.view.columns.setResizeContentsPrecision(_ROWS_LOOKED_AT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.search)
        layout.addWidget(self.note)
        layout.addWidget(self.table)
        self.search.textChanged.connect(self._on_search)

    def show_table(self, table: pd.DataFrame, gene: str) -> None:
        """Show a table of genes, in the order given, and one of them as the current one."""
        with self.view.quietly():
            self.table.model.sort(-1)
            self.table.show_table(table, hidden=("high",))
            self.view.columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            self._fit_columns()
        self._on_search()
        self.view.go_to(gene)

    def _fit_columns(self) -> None:
        """Numbers are as wide as they are, the gene has the rest: nothing is to be scrolled to.

        The badge tells the reliability as well, and its tooltip the number.
        """
        text, widths = self.view.columns.fontMetrics(), {}
        for column in _SHOWN:
            widths[column] = max(self.view.label_width(column), self.view.sizeHintForColumn(column))
        if self.table.table["low"].notna().any():
            # The first rows, of the best genes, have no minus signs.
            negative = (self.table.table[["low", "high"]] < 0).any()
            widest = " to ".join("−0.88" if each else "0.88" for each in negative)
            needed = text.horizontalAdvance(widest) + _AROUND_CELL
            widths[_COLUMN["low"]] = max(widths[_COLUMN["low"]], needed)
        self.view.fit_beside_names(widths, spare=_COLUMN["reliability"])

    def _on_search(self) -> None:
        typed = self.search.text().strip()
        self.view.search(typed)
        genes = list(self.table.table.get("gene", ()))
        note = ""
        if genes and not self.view.shown_genes:
            nearest = match_genes([typed], genes).unknown.get(typed, ())
            note = f"No gene has “{typed}” in its name." + (
                f" Nearest: {', '.join(nearest)}." if nearest else ""
            )
        self.note.show_text(note)
