"""A DataFrame as Qt's tables show it: numbers rounded for reading, genes with their reliability."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt

from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.shown_text import for_qt, with_minus
from napari_nh2st.widgets import text_colors
from napari_nh2st.widgets.icons import dot_icon

_UNKNOWN = "–"
_DIGITS = 3
"""Digits of the largest number of a column; the others have as many decimals."""
_MOST_DECIMALS = 6
_LEAST_P = 0.001

Format = Callable[[Any], str]
"""Writes a value of a column."""


class ColumnHead(NamedTuple):
    """Label of a column, its tooltip, and how its values are written.

    Parameters
    ----------
    label
        As short as the column's numbers, if possible.
    meaning
        Tooltip of the label.
    format
        Writes a value; None for :func:`number_format`.
    """

    label: str
    meaning: str
    format: Format | None = None


_CORRELATION = "Pearson correlation (PCC) with measured expression"
RELIABILITY_HEAD = ColumnHead("reliability", f"{_CORRELATION} on held-out sections")


class FrameModel(QAbstractTableModel):
    """The rows and columns of a DataFrame, without its index.

    Numbers of a column have the same number of decimals. Where there are columns ``gene`` and
    ``reliability``, genes have a badge, and those that are known to be predicted badly are greyed.

    Parameters
    ----------
    heads
        By the name of the column; a column that is not there is labelled with its name.
    badge
        The column whose cells have the badge.
    parent
        Parent of the model.

    Attributes
    ----------
    table
        The rows, in the order shown.
    """

    def __init__(
        self,
        heads: Mapping[str, ColumnHead] | None = None,
        badge: str = "gene",
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.heads = {"reliability": RELIABILITY_HEAD, **(heads or {})}
        self.badge = badge
        self.table = pd.DataFrame()
        self._given = self.table
        self._places: NDArray[np.intp] = np.empty(0, np.intp)
        self._badges = Badges()
        self._formats: list[Format] = []
        self._cells: list[NDArray[Any]] = []  # a DataFrame takes ten times as long for one cell
        self._reliability: NDArray[np.float64] | None = None
        self._sorted_by: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)

    @property
    def badges(self) -> Badges:
        """Colors and words of the genes' reliability; a gene below the threshold is greyed."""
        return self._badges

    @badges.setter
    def badges(self, badges: Badges) -> None:
        self._badges = badges
        self._draw_again()

    def set_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted as the one before if it has the same columns."""
        same = list(table.columns) == list(self._given.columns)
        column, order = self._sorted_by if same else (-1, Qt.SortOrder.AscendingOrder)
        self.beginResetModel()
        self._take(table)
        self._sorted_by = (column, order)
        self._put_in_order()
        self.endResetModel()

    def set_values(self, table: pd.DataFrame) -> None:
        """Show other values of the same rows, in the order they were given; selections stay.

        Raises
        ------
        ValueError
            The table has another number of rows, or other columns.
        """
        if len(table) != len(self._given) or list(table.columns) != list(self._given.columns):
            raise ValueError("Other rows or columns are another table: set it.")
        self._take(table)
        self.sort(*self._sorted_by)
        self._draw_again()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, equal values as they were given, empty places last; -1 for no column.

        Selected rows stay selected.
        """
        self.layoutAboutToBeChanged.emit()
        before, former = self.persistentIndexList(), self._places
        self._sorted_by = (column, order)
        self._put_in_order()
        row_of = np.argsort(self._places)
        after = [self.index(int(row_of[former[index.row()]]), index.column()) for index in before]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def row_of(self, gene: str) -> int | None:
        """The row of a gene; None for a gene that is not in the table."""
        if "gene" not in self.table:
            return None
        rows = np.flatnonzero(self.table["gene"].to_numpy() == gene)
        return int(rows[0]) if len(rows) else None

    def text(self, row: int, column: int) -> str:
        """Text of a cell."""
        return self._formats[column](self._cells[column][row])

    def is_greyed(self, row: int) -> bool:
        """Whether a row is of a gene that is known to be predicted badly."""
        reliability = self.reliability(row)
        return reliability is not None and reliability < self.badges.reliable_from

    def reliability(self, row: int) -> float | None:
        """Held-out PCC of a row's gene: NaN where unknown, None where the table has none."""
        return None if self._reliability is None else float(self._reliability[row])

    # --- what Qt asks ---

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Rows."""
        return 0 if parent is not None and parent.isValid() else len(self.table)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Columns."""
        return 0 if parent is not None and parent.isValid() else self.table.shape[1]

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # Qt's name
        """Label of a column, and what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = str(self.table.columns[section])
        head = self.heads.get(name, ColumnHead(name.replace("_", " "), ""))
        if role == Qt.ItemDataRole.DisplayRole:
            return head.label
        if role == Qt.ItemDataRole.ToolTipRole:
            if name == "reliability" and self.badges.of:
                return for_qt(f"{_CORRELATION} on {self.badges.of}")
            return head.meaning or None
        if role == Qt.ItemDataRole.InitialSortOrderRole and self._highest_first(section):
            return Qt.SortOrder.DescendingOrder
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """Text, badge, color and tooltip of a cell."""
        row, column = index.row(), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self.text(row, column)
            case Qt.ItemDataRole.TextAlignmentRole if _is_number(self._cells[column][row]):
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            case Qt.ItemDataRole.DecorationRole if self.table.columns[column] == self.badge:
                reliability = self.reliability(row)
                if reliability is not None:
                    return dot_icon(self.badges.color(reliability))
            case text_colors.TEXT_ROLE if self.is_greyed(row):
                return "greyed"
            case Qt.ItemDataRole.ToolTipRole:
                reliability = self.reliability(row)
                if reliability is not None and "gene" in self.table:
                    gene = self.table["gene"].iat[row]
                    return for_qt(f"{gene}: {self.badges.reason(reliability)}")
        return None

    def _highest_first(self, column: int) -> bool:
        """Whether the first click on a column's label is for its highest numbers."""
        values = self.table.iloc[:, column]
        return pd.api.types.is_float_dtype(values) and values.name not in ("p", "q")

    def _take(self, table: pd.DataFrame) -> None:
        self._given = table.reset_index(drop=True)
        self._formats = [
            getattr(self.heads.get(str(name)), "format", None) or number_format(str(name), column)
            for name, column in table.items()
        ]

    def _put_in_order(self) -> None:
        """Sort the table, and keep where each of its rows was given."""
        column, order = self._sorted_by
        self._places = np.arange(len(self._given))
        if 0 <= column < self._given.shape[1]:
            values = self._given.iloc[:, column]
            if not pd.api.types.is_numeric_dtype(values):
                values = values.map(lambda value: str(value).casefold())
            ascending = order == Qt.SortOrder.AscendingOrder
            in_order = values.sort_values(ascending=ascending, kind="stable")
            self._places = in_order.index.to_numpy(np.intp)
        self.table = self._given.iloc[self._places].reset_index(drop=True)
        self._cells = [values.to_numpy() for _, values in self.table.items()]
        known = self.table.get("reliability")
        self._reliability = None if known is None else known.to_numpy(np.float64)

    def _draw_again(self) -> None:
        if len(self.table):
            last = self.index(len(self.table) - 1, self.columnCount() - 1)
            self.dataChanged.emit(self.index(0, 0), last)


class FrameFilter(QSortFilterProxyModel):
    """Leaves rows of a :class:`FrameModel` out; the model sorts itself, in one go.

    Parameters
    ----------
    model
        The rows.
    """

    def __init__(self, model: FrameModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._shows: Callable[[pd.DataFrame], Any] | None = None
        self._shown: NDArray[np.bool_] = np.empty(0, bool)
        self._of: pd.DataFrame | None = None
        self.setSourceModel(model)

    def show_only(self, shows: Callable[[pd.DataFrame], Any] | None) -> None:
        """Show the rows for which this is true.

        Parameters
        ----------
        shows
            A table → (n,) booleans, one for each of its rows; None shows all.
        """
        # Qt 6.10 brought the pair; of invalidateFilter, newer ones warn.
        is_paired = hasattr(self, "endFilterChange")
        if is_paired:
            self.beginFilterChange()
        self._shows, self._of = shows, None
        if is_paired:
            self.endFilterChange()
        else:
            self.invalidateFilter()

    def filterAcceptsRow(self, row: int, parent: QModelIndex) -> bool:  # Qt's name
        """Whether a row is shown."""
        if self._shows is None:
            return True
        if self._of is not self._model.table:
            self._of = self._model.table
            self._shown = np.asarray(self._shows(self._of), bool)
        return bool(self._shown[row])

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Have the model sort itself: Qt would compare row by row."""
        self._model.sort(column, order)


def number_format(name: str, column: "pd.Series[Any]") -> Format:
    """Format of the values of a column.

    Parameters
    ----------
    name
        Name of the column; ``p`` and ``q`` are probabilities, of which only the size matters.
    column
        Its values: the largest decides how many decimals all of them have.
    """
    if name in ("p", "q"):
        return _probability
    if not pd.api.types.is_float_dtype(column):
        return _as_it_is
    known = np.abs(column[np.isfinite(column)])
    largest = float(known.max()) if len(known) else 0.0
    decimals = 2
    if name != "reliability" and largest > 0:
        decimals = _DIGITS - 1 - int(np.floor(np.log10(largest)))
        decimals = min(max(decimals, 0), _MOST_DECIMALS)

    def write(value: float) -> str:
        if not np.isfinite(value):
            return _UNKNOWN
        return with_minus(f"{round(float(value), decimals) + 0.0:,.{decimals}f}")  # no -0.00

    return write


def _probability(value: float) -> str:
    if not np.isfinite(value):
        return _UNKNOWN
    return f"<{_LEAST_P}" if value < _LEAST_P else f"{float(value):.1g}"


def _as_it_is(value: Any) -> str:
    if isinstance(value, int | np.integer):
        return with_minus(f"{value:,}")
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
