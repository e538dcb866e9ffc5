"""A table to read: sorted by a click, copied, saved as CSV."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.utils.notifications import show_error, show_info
from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.export.table import write_table
from napari_nh2st.widgets.reliability import GREYED, THRESHOLD, reliability_reason

_EMPTY = "–"

_ROWS_FOR_WIDTHS = 50


class FrameModel(QAbstractTableModel):
    """A DataFrame as Qt's tables want it; its index is not shown.

    Parameters
    ----------
    parent
        Of the model.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = pd.DataFrame()
        self.reliable_from = THRESHOLD
        self._given = self.table
        self._sorted_by: tuple[int, Qt.SortOrder] = (-1, Qt.SortOrder.AscendingOrder)

    def set_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted as the one before if it has the same columns."""
        same = list(table.columns) == list(self._given.columns)
        column, order = self._sorted_by if same else (-1, Qt.SortOrder.AscendingOrder)
        self.beginResetModel()
        self._given = table
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
        """A column's name."""
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return str(self.table.columns[section]).replace("_", " ")
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        """What a cell shows."""
        value = self.table.iat[index.row(), index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _words(value)
        if role == Qt.ItemDataRole.TextAlignmentRole and _is_number(value):
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.ForegroundRole and self.is_unreliable(index.row()):
            return GREYED
        if role == Qt.ItemDataRole.ToolTipRole and self.is_unreliable(index.row()):
            reliability = self.table["reliability"].iat[index.row()]
            return reliability_reason(reliability, self.reliable_from)
        return None

    def is_unreliable(self, row: int) -> bool:
        """Whether a row is of a gene that is known to be predicted badly."""
        if "reliability" not in self.table:
            return False
        return bool(self.table["reliability"].iat[row] < self.reliable_from)

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


class SmallTable(QWidget):
    """A DataFrame with buttons to copy it and to save it as CSV.

    Rows whose ``reliability`` is below :attr:`reliable_from` are greyed and say why.

    Parameters
    ----------
    name
        Proposed for the CSV file.
    parent
        Of the widget.

    Attributes
    ----------
    view
        The table.
    copy_button, csv_button
        Copy the selected rows, or all; save all rows.
    gene_chosen
        Emitted with the gene of a row that was double-clicked.
    """

    gene_chosen = Signal(str)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self.model = FrameModel(self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setToolTip(
            "Click a column to sort; double-click a gene to show it; Ctrl+C copies"
        )
        rows, columns = self.view.verticalHeader(), self.view.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self._columns = columns
        self.view.setSortingEnabled(True)
        self.view.setWordWrap(False)
        self.view.doubleClicked.connect(self._on_double_click)
        copy = self.view.addAction("Copy")
        save = self.view.addAction("Save CSV…")
        assert copy is not None
        assert save is not None
        copy.setShortcut(QKeySequence.StandardKey.Copy)
        copy.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        copy.triggered.connect(self.copy)
        save.triggered.connect(self._ask)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.copy_button = QPushButton("Copy")
        self.copy_button.setToolTip("Copy the selected rows, or all, for a spreadsheet (Ctrl+C)")
        self.copy_button.clicked.connect(self.copy)
        self.csv_button = QPushButton("Save CSV…")
        self.csv_button.setToolTip("Write all rows as CSV")
        self.csv_button.clicked.connect(self._ask)
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.csv_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        layout.addLayout(buttons)
        self.show_table(pd.DataFrame())

    @property
    def table(self) -> pd.DataFrame:
        """What is shown, in the order shown."""
        return self.model.table

    @property
    def reliable_from(self) -> float:
        """Reliability below which a gene is greyed."""
        return self.model.reliable_from

    @reliable_from.setter
    def reliable_from(self, least: float) -> None:
        self.model.reliable_from = least
        self.model.layoutChanged.emit()  # drawn again

    def show_table(self, table: pd.DataFrame) -> None:
        """Show a table, sorted and scrolled as the one before if it has the same columns."""
        same, had_rows = list(table.columns) == list(self.table.columns), len(self.table) > 0
        bar = self.view.verticalScrollBar()
        assert bar is not None
        at = bar.value()
        self.model.set_table(table)
        if same and had_rows:
            bar.setValue(at)
        else:
            # The first rows tell the widths: reading all of a long table takes seconds.
            header = self.view.horizontalHeader()
            assert header is not None
            header.setResizeContentsPrecision(_ROWS_FOR_WIDTHS)
            self.view.resizeColumnsToContents()
        if not same:
            self._columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        for button in (self.copy_button, self.csv_button):
            button.setEnabled(len(table) > 0)

    def copy(self) -> None:
        """Copy the selected rows, or all if none is, with the header, separated by tabs."""
        selection, clipboard = self.view.selectionModel(), QApplication.clipboard()
        assert selection is not None
        assert clipboard is not None
        rows = sorted({index.row() for index in selection.selectedRows()})
        table = self.table.iloc[rows] if rows else self.table
        clipboard.setText(table.to_csv(sep="\t", index=False))

    def save_csv(self, path: Path) -> None:
        """Write all rows in the order shown; how it ended is a notification."""
        if not len(self.table):
            show_error("The table is empty: there is nothing to save yet.")
            return
        try:
            write_table(self.table.set_index(self.table.columns[0]), path, overwrite=True)
        except InputError as error:
            show_error(str(error))
        else:
            show_info(f"Wrote {path}")

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Save the table")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("CSV (*.csv)")
        dialog.setDefaultSuffix("csv")  # added before it asks about an existing file
        dialog.selectFile(f"{self.name}.csv")
        if dialog.exec():
            self.save_csv(Path(dialog.selectedFiles()[0]))

    def _on_double_click(self, index: QModelIndex) -> None:
        if "gene" in self.table:
            self.gene_chosen.emit(str(self.table["gene"].iat[index.row()]))


def with_reliability(table: pd.DataFrame, prediction: AnnData) -> pd.DataFrame:
    """A table with a column ``gene``, and after it the ``reliability`` where it is known."""
    if "reliability" not in prediction.var or "gene" not in table:
        return table
    reliability = prediction.var["reliability"].reindex(table["gene"]).to_numpy(np.float64)
    before = list(table.columns[: table.columns.get_loc("gene") + 1])
    after = list(table.columns[len(before) :])
    return table.assign(reliability=reliability)[[*before, "reliability", *after]]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def _words(value: Any) -> str:
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.3g}" if np.isfinite(value) else _EMPTY
    return str(value)
