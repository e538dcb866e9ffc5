"""Table of a prediction's genes: sorted, searched, stepped through."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView

from napari_nh2st.prediction.reliability import Badges, reliability_number
from napari_nh2st.shown_text import with_minus
from napari_nh2st.widgets.frame_model import ColumnHead, FrameModel
from napari_nh2st.widgets.frame_table import FrameView

GENE, RELIABILITY, MEAN, MORAN, STABLE = range(5)
"""Columns."""

_COLUMNS = ("gene", "reliability", "mean", "morans_i", "stable")
_HEADS = {
    "gene": ColumnHead("Gene", "Name in the model's panel"),
    "reliability": ColumnHead(
        "Reliability",
        "Pearson correlation (PCC) with measured expression on held-out sections",
        reliability_number,
    ),
    "mean": ColumnHead(
        "Mean",
        "Mean of the predicted values over the tiles",
        lambda value: "…" if np.isnan(value) else with_minus(f"{value:.2f}"),
    ),
    "morans_i": ColumnHead(
        "Moran's I",
        "Spatial autocorrelation of the predicted map: near 1 smooth, near 0 random",
        lambda value: "…" if np.isnan(value) else with_minus(f"{value:.2f}"),
    ),
    "stable": ColumnHead(
        "Folds",
        "In how many folds of the model's cross-validation the gene reached the threshold of "
        "reliability, on the sections left out",
        lambda value: "" if np.isnan(value) else f"{value:.0f}",
    ),
}


class GeneTableModel(FrameModel):
    """Genes with their reliability, mean and Moran's I; what is not known to be good is greyed."""

    def is_greyed(self, row: int) -> bool:
        """Whether a row's gene is below the threshold, or of unknown reliability."""
        reliability = self.reliability(row)
        return reliability is None or not self.badges.is_reliable(reliability)


class GeneTable(FrameView):
    """Shows genes; the current row is the gene that is shown in the viewer.

    Attributes
    ----------
    genes
        The genes, in the order that they were given.
    """

    def __init__(self) -> None:
        super().__init__(GeneTableModel(_HEADS, "reliability"))
        self.frame.setParent(self)
        self.genes: tuple[str, ...] = ()
        self._given = pd.DataFrame(columns=_COLUMNS)
        self._text = ""
        self._listed: frozenset[str] | None = None
        self._only_reliable = self._only_stable = False
        self._by_fold: pd.DataFrame | None = None
        self.setToolTip("Genes: choose one to show it, several for a composite")
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setShowGrid(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        self.setTabKeyNavigation(False)
        rows = self.verticalHeader()
        assert rows is not None
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.set_genes((), ())
        self.setColumnHidden(STABLE, True)
        self.columns.setHighlightSections(False)
        self.sort_by_reliability()

    def set_genes(self, genes: Sequence[str], reliability: Sequence[float]) -> None:
        """Show other genes, whose mean and Moran's I are not known yet."""
        self.genes = tuple(map(str, genes))
        frame = pd.DataFrame(dict.fromkeys(_COLUMNS, np.nan), index=range(len(self.genes)))
        frame["gene"] = pd.Series(self.genes, dtype=object)
        frame["reliability"] = np.asarray(reliability, np.float64)
        # Genes with the same value are in the order of their names.
        self._given = frame.sort_values("gene", key=lambda names: names.str.casefold())
        with self.quietly():
            self.frame.set_table(self._given)
        self._fit_columns()

    def set_held_out(self, by_fold: pd.DataFrame | None) -> None:
        """Take the correlation (genes, folds) on what each fold left out; None for not known."""
        self._by_fold = by_fold
        self.setColumnHidden(STABLE, by_fold is None)
        self._count_folds()

    def set_only_stable(self, only: bool) -> None:
        """Leave out genes that fall below the threshold in a fold, where folds are known."""
        self._only_stable = only
        self._filter()

    def _count_folds(self) -> None:
        """Show in how many folds each gene reaches the threshold."""
        counts = pd.Series(np.nan, self.genes)
        if self._by_fold is not None:
            reached = self._by_fold >= self.frame.badges.reliable_from
            counts = reached.sum(axis=1).astype(float)
        stable = counts.reindex(self._given["gene"]).to_numpy(np.float64)
        self._given = self._given.assign(stable=stable)
        with self.quietly():
            self.frame.set_values(self._given)
        self._fit_columns()

    def set_reliability(self, reliability: pd.Series) -> None:
        """Show another ``reliability`` of the same genes."""
        known = reliability.reindex(self._given["gene"]).to_numpy(np.float64)
        self._given = self._given.assign(reliability=known)
        with self.quietly():
            self.frame.set_values(self._given)
        self._filter()

    def set_statistics(self, table: pd.DataFrame) -> None:
        """Show ``mean`` and ``morans_i`` of the genes that the table is of."""
        numbers = table.loc[self._given["gene"], ["mean", "morans_i"]].to_numpy(np.float64)
        self._given = self._given.assign(mean=numbers[:, 0], morans_i=numbers[:, 1])
        with self.quietly():
            self.frame.set_values(self._given)
        self._fit_columns()

    def search(self, text: str, listed: frozenset[str] | None = None) -> None:
        """Show genes whose name contains a text, or those that are listed.

        Parameters
        ----------
        text
            Part of a name, in any case; empty for all.
        listed
            Genes to show in any event; with them, an empty text adds none.
        """
        self._text, self._listed = text, listed
        self._filter()

    def set_only_reliable(self, only: bool) -> None:
        """Leave out genes below the model's threshold, and those of unknown reliability."""
        self._only_reliable = only
        self._filter()

    def set_badges(self, badges: Badges) -> None:
        """Grey the genes below the threshold, and give all of them these badges."""
        self.frame.badges = badges
        self._count_folds()
        self._filter()

    def _fit_columns(self) -> None:
        """Numbers are as wide as they are, and only the sorted column has room for an arrow."""
        widths = {}
        for column in range(GENE + 1, self.frame.columnCount()):
            if self.isColumnHidden(column):
                continue
            is_sorted = self.columns.sortIndicatorSection() == column
            label = self.label_width(column, is_sorted)
            widths[column] = max(label, self.sizeHintForColumn(column))
        self.fit_beside_names(widths)

    def _on_sorted(self, column: int) -> None:
        """Only the sorted column has room for an arrow."""
        self._fit_columns()

    def sort_by_reliability(self) -> None:
        """Most reliable genes first."""
        self.sortByColumn(RELIABILITY, Qt.SortOrder.DescendingOrder)

    def _filter(self) -> None:
        with self.quietly():
            self.filter.show_only(self._shows)

    def _shows(self, table: pd.DataFrame) -> pd.Series:
        """Which rows are looked for."""
        shown = table["gene"].str.contains(self._text, case=False, regex=False).astype(bool)
        if self._listed is not None:
            shown = table["gene"].isin(self._listed) | (shown & bool(self._text))
        if self._only_reliable:
            shown &= table["reliability"] >= self.frame.badges.reliable_from
        if self._only_stable and self._by_fold is not None:
            shown &= table["stable"] == self._by_fold.shape[1]
        return shown
