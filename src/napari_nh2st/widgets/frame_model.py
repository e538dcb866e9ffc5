"""A DataFrame as Qt's tables want it: rounded for reading, genes with their reliability."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtWidgets import QWidget

from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.reliability import (
    GREYED,
    THRESHOLD,
    badge_color,
    dot_icon,
    reliability_reason,
)

_UNKNOWN = "–"
_DIGITS = 3
"""Of the largest number of a column; the others have as many decimals."""
_MOST_DECIMALS = 6
_LEAST_P = 0.001


class ColumnHead(NamedTuple):
    """What stands over a column.

    Parameters
    ----------
    label
        As short as the column's numbers, if possible.
    meaning
        Its tooltip.
    """

    label: str
    meaning: str


RELIABILITY_HEAD = ColumnHead(
    "reliability", "Pearson correlation (PCC) with measured expression on held-out sections"
)


class FrameModel(QAbstractTableModel):
    """A DataFrame, without its index.

    Numbers of a column have the same number of decimals. Where there are columns ``gene`` and
    ``reliability``, genes have a badge, and those that are known to be predicted badly are greyed.

    Parameters
    ----------
    heads
        Of columns, by their name; a column that is not there is called by its name.
    parent
        Of the model.
    """

    def __init__(self, heads: Mapping[str, ColumnHead], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.heads = {"reliability": RELIABILITY_HEAD, **heads}
        self.table = pd.DataFrame()
        self.reliable_from = THRESHOLD
        self._given = self.table
        self._words: list[Callable[[Any], str]] = []
        self._sorted_by: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)

    def set_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted as the one before if it has the same columns."""
        same = list(table.columns) == list(self._given.columns)
        column, order = self._sorted_by if same else (-1, Qt.SortOrder.AscendingOrder)
        self.beginResetModel()
        self._given = table
        self._words = [number_words(str(name), column) for name, column in table.items()]
        self._sorted_by = (column, order)
        self.table = self._in_order()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, empty places last; -1 for the order given."""
        self.layoutAboutToBeChanged.emit()
        self._sorted_by = (column, order)
        self.table = self._in_order()
        self.layoutChanged.emit()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Rows."""
        return 0 if parent is not None and parent.isValid() else len(self.table)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # Qt's name
        """Columns."""
        return 0 if parent is not None and parent.isValid() else self.table.shape[1]

    def headerData(self, section: int, orientation: Any, role: int = 0) -> Any:  # Qt's name
        """What a column is called, and what it means."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = str(self.table.columns[section])
        head = self.heads.get(name, ColumnHead(name.replace("_", " "), ""))
        if role == Qt.ItemDataRole.DisplayRole:
            return head.label
        if role == Qt.ItemDataRole.ToolTipRole:
            return head.meaning or None
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """What a cell shows."""
        row, column = index.row(), index.column()
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._words[column](self.table.iat[row, column])
            case Qt.ItemDataRole.TextAlignmentRole if _is_number(self.table.iat[row, column]):
                return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            case Qt.ItemDataRole.DecorationRole if self.table.columns[column] == "gene":
                reliability = self._reliability(row)
                if reliability is not None:
                    return dot_icon(badge_color(reliability, self.reliable_from))
            case Qt.ItemDataRole.ForegroundRole if self.is_unreliable(row):
                return GREYED
            case Qt.ItemDataRole.ToolTipRole:
                reliability = self._reliability(row)
                if reliability is not None and "gene" in self.table:
                    gene = self.table["gene"].iat[row]
                    reason = reliability_reason(reliability, self.reliable_from)
                    return for_qt(f"{gene}: {reason}")
        return None

    def is_unreliable(self, row: int) -> bool:
        """Whether a row is of a gene that is known to be predicted badly."""
        reliability = self._reliability(row)
        return reliability is not None and reliability < self.reliable_from

    def _reliability(self, row: int) -> float | None:
        """NaN where it is not known, None where the table does not tell."""
        if "reliability" not in self.table:
            return None
        return float(self.table["reliability"].iat[row])

    def _in_order(self) -> pd.DataFrame:
        column, order = self._sorted_by
        if not 0 <= column < self._given.shape[1]:
            return self._given
        return self._given.sort_values(
            self._given.columns[column],
            ascending=order == Qt.SortOrder.AscendingOrder,
            kind="stable",
            ignore_index=True,
        )


def number_words(name: str, column: "pd.Series[Any]") -> Callable[[Any], str]:
    """How the values of a column are written.

    Parameters
    ----------
    name
        Of the column; ``p`` and ``q`` are probabilities, of which only the size matters.
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

    def words(value: float) -> str:
        if not np.isfinite(value):
            return _UNKNOWN
        return _with_minus(f"{round(float(value), decimals) + 0.0:,.{decimals}f}")  # no -0.00

    return words


def _probability(value: float) -> str:
    if not np.isfinite(value):
        return _UNKNOWN
    return f"<{_LEAST_P}" if value < _LEAST_P else f"{float(value):.1g}"


def _as_it_is(value: Any) -> str:
    if isinstance(value, int | np.integer):
        return _with_minus(f"{value:,}")
    return str(value)


def _with_minus(words: str) -> str:
    return words.replace("-", "\N{MINUS SIGN}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
