"""A prediction's genes as a table: sorted, searched, stepped through.

Three classes of Qt's model and view: :class:`GeneTableModel` holds the numbers,
:class:`GeneFilter` leaves genes out and sorts, :class:`GeneTable` shows them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.reliability import (
    GREYED,
    THRESHOLD,
    badge_color,
    dot_icon,
    is_reliable,
    reliability_number,
    reliability_reason,
)

GENE, RELIABILITY, MEAN, MORAN = range(4)
"""Columns."""

SORT_ROLE = Qt.ItemDataRole.UserRole + 1
"""Role of an entry's plain value: a name, or a number that may be NaN."""

_HEADERS = ("Gene", "Reliability", "Mean", "Moran's I")
_TOOLTIPS = (
    "Name in the model's panel",
    "Pearson correlation (PCC) with measured expression on held-out sections",
    "Mean of the predicted values over the tiles",
    "Spatial autocorrelation of the predicted map: near 1 smooth, near 0 random",
)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_TOP = QModelIndex()


class GeneTableModel(QAbstractTableModel):
    """Genes with their reliability, mean and Moran's I."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.genes: tuple[str, ...] = ()
        self.threshold = THRESHOLD
        self._rows: dict[str, int] = {}
        self._numbers: NDArray[np.float64] = np.empty((0, 3))
        self._ranks: dict[tuple[int, bool], list[int]] = {}

    def set_genes(self, genes: Sequence[str], reliability: Sequence[float]) -> None:
        """Show other genes, whose mean and Moran's I are not known yet."""
        self.beginResetModel()
        self.genes = tuple(genes)
        self._rows = {gene: row for row, gene in enumerate(self.genes)}
        self._numbers = np.full((len(self.genes), 3), np.nan)
        self._numbers[:, 0] = reliability
        self._ranks.clear()
        self.endResetModel()

    def set_statistics(self, table: pd.DataFrame) -> None:
        """Show ``mean`` and ``morans_i`` of the genes that the table is of."""
        self._numbers[:, 1:] = table.loc[list(self.genes), ["mean", "morans_i"]]
        self._ranks.clear()
        self._announce(MEAN, MORAN)

    def set_threshold(self, threshold: float) -> None:
        """Grey the genes below it."""
        self.threshold = threshold
        self._announce(GENE, MORAN)

    def row_of(self, gene: str) -> int | None:
        """A gene's row; None for a gene that is not in the table."""
        return self._rows.get(gene)

    def reliability(self, row: int) -> float:
        """Held-out PCC of a row's gene; NaN where unknown."""
        return float(self._numbers[row, 0])

    def is_reliable(self, row: int) -> bool:
        """Whether a row's gene reaches the threshold."""
        return is_reliable(self.reliability(row), self.threshold)

    def ranks(self, column: int, ascending: bool) -> list[int]:
        """Places of the rows in the order of a column, for Qt, which reads a descending one back.

        Genes with the same value are in the order of their names, and NaN is last, either way.
        """
        key = column, ascending
        if key not in self._ranks:
            names = np.array([gene.casefold() for gene in self.genes], object)
            by_name = np.argsort(np.argsort(names))
            sign = 1 if ascending else -1
            values = np.zeros(len(names)) if column == GENE else self._numbers[:, column - 1]
            # NaN is last to NumPy.
            forth = np.lexsort((by_name if column != GENE else sign * by_name, sign * values))
            order = forth if ascending else forth[::-1]
            places = np.empty(len(order), np.int64)
            places[order] = np.arange(len(order))
            self._ranks[key] = places.tolist()
        return self._ranks[key]

    # --- Qt's names ---

    def rowCount(self, parent: QModelIndex = _TOP) -> int:
        """Genes."""
        return 0 if parent.isValid() else len(self.genes)

    def columnCount(self, parent: QModelIndex = _TOP) -> int:
        """Name and three numbers."""
        return 0 if parent.isValid() else len(_HEADERS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """What a column is called, and what it means."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return _HEADERS[section]
            if role == Qt.ItemDataRole.ToolTipRole:
                return _TOOLTIPS[section]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What stands in a cell, and how it looks."""
        row, column = index.row(), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._text(row, column)
            case _ if role == SORT_ROLE:
                return self._value(row, column)
            case Qt.ItemDataRole.DecorationRole if column == RELIABILITY:
                return dot_icon(badge_color(self.reliability(row), self.threshold))
            case Qt.ItemDataRole.ForegroundRole if not self.is_reliable(row):
                return GREYED
            case Qt.ItemDataRole.ToolTipRole:
                reason = reliability_reason(self.reliability(row), self.threshold)
                return for_qt(f"{self.genes[row]}: {reason}")
            case Qt.ItemDataRole.TextAlignmentRole if column in (MEAN, MORAN):
                return _RIGHT
        return None

    def _value(self, row: int, column: int) -> str | float:
        return self.genes[row] if column == GENE else float(self._numbers[row, column - 1])

    def _text(self, row: int, column: int) -> str:
        value = self._value(row, column)
        if isinstance(value, str):
            return value
        if column == RELIABILITY:
            return reliability_number(value)
        return "…" if np.isnan(value) else f"{value:.3g}" if column == MEAN else f"{value:.2f}"

    def _announce(self, first: int, last: int) -> None:
        if self.genes:
            ends = self.index(0, first), self.index(len(self.genes) - 1, last)
            self.dataChanged.emit(*ends)


class GeneFilter(QSortFilterProxyModel):
    """Leaves out the genes that are not looked for; what is unknown is sorted last."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._listed: frozenset[str] | None = None
        self._only_reliable = False
        self.setSortRole(SORT_ROLE)

    def search(self, text: str, listed: frozenset[str] | None = None) -> None:
        """Show genes whose name contains a text, or those that are listed.

        Parameters
        ----------
        text
            Part of a name, in any case; empty for all.
        listed
            Genes to show in any event; with them, an empty text adds none.
        """
        self._text, self._listed = text.casefold(), listed
        self.invalidateFilter()

    def set_only_reliable(self, only: bool) -> None:
        """Leave out genes below the model's threshold, and those of unknown reliability."""
        self._only_reliable = only
        self.invalidateFilter()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # Qt's name
        """Whether a gene is shown."""
        model = self.sourceModel()
        assert isinstance(model, GeneTableModel)
        if self._only_reliable and not model.is_reliable(row):
            return False
        gene = model.genes[row]
        if self._listed is None:
            return self._text in gene.casefold()
        return gene in self._listed or (bool(self._text) and self._text in gene.casefold())

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:  # Qt's name
        """Order of values, then of names; whatever the order, NaN comes last."""
        model = self.sourceModel()
        assert isinstance(model, GeneTableModel)
        ascending = self.sortOrder() == Qt.SortOrder.AscendingOrder
        ranks = model.ranks(left.column(), ascending)
        return ranks[left.row()] < ranks[right.row()]


class GeneTable(QTableView):
    """Shows genes; the current row is the gene that is shown in the viewer.

    Attributes
    ----------
    chosen
        Emitted with a gene when the user goes to its row.
    pin_wanted
        Emitted with a gene that was double-clicked.
    """

    chosen = Signal(str)
    pin_wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.genes = GeneTableModel(self)
        self.filter = GeneFilter(self)
        self.filter.setSourceModel(self.genes)
        self._quiet = False
        self.setModel(self.filter)
        selection = self.selectionModel()
        assert selection is not None
        self._selection = selection
        self.setToolTip("Genes: choose one to show it, several for a composite")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        rows, columns = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        columns.setResizeContentsPrecision(0)  # of the rows in view
        columns.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        columns.setSectionResizeMode(GENE, QHeaderView.ResizeMode.Stretch)
        columns.setHighlightSections(False)
        self.sort_by_reliability()
        self._selection.currentRowChanged.connect(self._on_current)
        self.doubleClicked.connect(lambda index: self.pin_wanted.emit(self._gene(index)))

    # --- what is shown ---

    def set_genes(self, genes: Sequence[str], reliability: Sequence[float]) -> None:
        """Show other genes."""
        with self._quietly():
            self.genes.set_genes(genes, reliability)

    def search(self, text: str, listed: frozenset[str] | None = None) -> None:
        """See :meth:`GeneFilter.search`."""
        with self._quietly():
            self.filter.search(text, listed)

    def set_only_reliable(self, only: bool) -> None:
        """See :meth:`GeneFilter.set_only_reliable`."""
        with self._quietly():
            self.filter.set_only_reliable(only)

    def set_threshold(self, threshold: float) -> None:
        """See :meth:`GeneTableModel.set_threshold`."""
        with self._quietly():
            self.genes.set_threshold(threshold)
            self.filter.invalidateFilter()

    def sort_by_reliability(self) -> None:
        """Most reliable genes first."""
        self.sortByColumn(RELIABILITY, Qt.SortOrder.DescendingOrder)

    @property
    def shown_genes(self) -> list[str]:
        """The genes that are not left out, from top to bottom."""
        rows = range(self.filter.rowCount())
        return [self._gene(self.filter.index(row, GENE)) for row in rows]

    # --- where the user is ---

    @property
    def selected_genes(self) -> list[str]:
        """The selected rows' genes, from top to bottom."""
        rows = self._selection.selectedRows(GENE)
        return [self._gene(index) for index in sorted(rows, key=lambda index: index.row())]

    def go_to(self, gene: str) -> None:
        """Make a gene's row the current one, without choosing it; none if it is left out."""
        row = self.genes.row_of(gene)
        index = self.filter.mapFromSource(self.genes.index(-1 if row is None else row, GENE))
        with self._quietly():
            if not index.isValid():
                self._selection.clear()
            elif index.row() != self.currentIndex().row():
                self._go_to_index(index)

    def step(self, rows: int) -> None:
        """Choose the gene so many rows below the current one, or the first if there is none."""
        here = self.currentIndex()
        last = self.filter.rowCount() - 1
        row = min(max(here.row() + rows, 0), last) if here.isValid() else 0
        if last >= 0:
            self._go_to_index(self.filter.index(row, GENE))

    def _go_to_index(self, index: QModelIndex) -> None:
        # The view's own setCurrentIndex selects by the keys that are held: Ctrl+Down would add.
        flags = QItemSelectionModel.SelectionFlag
        self._selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self.scrollTo(index)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Qt makes another row the current one when that is left out: nobody chose it."""
        former, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = former

    def _on_current(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid() and not self._quiet:
            self.chosen.emit(self._gene(current))

    @staticmethod
    def _gene(index: QModelIndex) -> str:
        return str(index.siblingAtColumn(GENE).data(SORT_ROLE))
