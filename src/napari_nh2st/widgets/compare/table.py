"""The genes of a comparison, with search; the current row is the gene shown."""

import numpy as np
import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_nh2st.widgets.small_table import SmallTable

_COLUMNS = {
    "gene": "Gene",
    "PCC": "Correlation of predicted and measured over the spots",
    "low": "Lower end of the 95 % interval of the PCC, over resampled spots",
    "high": "Upper end of the 95 % interval of the PCC, over resampled spots",
    "reliability": "PCC on the sections held out when the model was made",
    "MSE/mean": (
        "Mean squared error over that of predicting the mean of the training: below 1 is better "
        "than the mean"
    ),
}

_ROWS_LOOKED_AT = 12
"""For the columns' widths: numbers are as wide everywhere."""


def comparison_columns(
    genes: list[str], reliability: pd.Series, scores: pd.DataFrame | None
) -> pd.DataFrame:
    """The table to show.

    Parameters
    ----------
    genes
        Shown while there are no scores.
    reliability
        By gene; NaN or left out where it is not known.
    scores
        From :func:`~napari_nh2st.training.metrics.gene_scores`; None before a comparison.

    Returns
    -------
    DataFrame
        By PCC, the highest first; before a comparison by reliability.
    """
    names = genes if scores is None else scores["gene"].tolist()
    table = pd.DataFrame(np.nan, index=range(len(names)), columns=list(_COLUMNS)).astype(
        {"gene": object}
    )
    table["gene"] = names
    table["reliability"] = reliability.reindex(names).to_numpy(np.float64)
    if scores is not None:
        for column, score in (("PCC", "pcc"), ("low", "pcc_low"), ("high", "pcc_high")):
            table[column] = scores[score].to_numpy(np.float64)
        baseline = scores["mse_baseline"].where(scores["mse_baseline"] > 0)
        table["MSE/mean"] = (scores["mse"] / baseline).to_numpy(np.float64)
    by = "reliability" if scores is None else "PCC"
    return table.sort_values(by, ascending=False, kind="stable", ignore_index=True)


class ComparisonTable(QWidget):
    """A search line and a sortable table of genes.

    Attributes
    ----------
    search
        Rows whose gene does not contain it are hidden.
    table
        With buttons to copy it and to save it as CSV, all rows of it.
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
        self.table = SmallTable("comparison")
        self.table.view.setToolTip(
            "Click a gene to show it, or step with the arrow keys; click a column to sort\n\n"
            + "\n".join(f"{name}: {what}" for name, what in _COLUMNS.items())
        )
        self.table.view.setMinimumHeight(180)
        header = self.table.view.horizontalHeader()
        assert header is not None
        header.setResizeContentsPrecision(_ROWS_LOOKED_AT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.search)
        layout.addWidget(self.table)
        self.search.textChanged.connect(self._hide_others)
        self.table.model.layoutChanged.connect(self._on_sorted)
        selection = self.table.view.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)
        self._gene = ""
        self._quiet = False

    @property
    def gene(self) -> str:
        """The current row's; empty where there is none."""
        return self._gene

    def show_table(self, table: pd.DataFrame) -> None:
        """Show a table of :func:`comparison_columns`; the current gene stays if it is in it."""
        self._quiet = True
        self.table.model.sort(-1, Qt.SortOrder.AscendingOrder)
        self.table.show_table(table)
        header = self.table.view.horizontalHeader()
        assert header is not None
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
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
            self.table.view.scrollTo(self.table.model.index(int(rows[0]), 0))
            self._quiet = False

    def _hide_others(self) -> None:
        text = self.search.text().strip().casefold()
        for row, gene in enumerate(self.table.table.get("gene", ())):
            self.table.view.setRowHidden(row, text not in gene.casefold())

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
