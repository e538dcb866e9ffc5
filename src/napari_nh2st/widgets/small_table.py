"""A table to read: sorted by a click, copied, saved as CSV."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from psygnal import Signal
from qtpy.QtCore import QModelIndex, Qt
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
from napari_nh2st.widgets.frame_model import ColumnHead, FrameModel
from napari_nh2st.widgets.notifications import show_error, show_info

_ROWS_FOR_WIDTHS = 50
_AROUND_LABEL_PX, _ARROW_PX = 14, 16


class SmallTable(QWidget):
    """A DataFrame with buttons to copy it and to save it as CSV.

    A gene has the badge of its ``reliability``, where there is such a column; rows that are below
    :attr:`reliable_from` are greyed and say why.

    Parameters
    ----------
    name
        Proposed for the CSV file.
    heads
        What stands over columns, by their name, and what it means.
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

    def __init__(
        self,
        name: str,
        heads: Mapping[str, ColumnHead] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.name = name
        self.model = FrameModel(heads or {}, self)
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
        columns.setStretchLastSection(True)
        # The first rows tell the widths: reading all of a long table takes seconds.
        columns.setResizeContentsPrecision(_ROWS_FOR_WIDTHS)
        columns.sortIndicatorChanged.connect(self._on_sorted)
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

    def show_table(self, table: pd.DataFrame, hidden: Collection[str] = ()) -> None:
        """Show a table, sorted and scrolled as the one before if it has the same columns.

        Parameters
        ----------
        table
            All of it is copied and saved.
        hidden
            Columns that are not to be seen.
        """
        same, had_rows = list(table.columns) == list(self.table.columns), len(self.table) > 0
        bar = self.view.verticalScrollBar()
        assert bar is not None
        at = bar.value()
        self.model.set_table(table)
        if same and had_rows:
            bar.setValue(at)
        else:
            self._fit_columns()
        for place, name in enumerate(table.columns):
            self.view.setColumnHidden(place, name in hidden)
        if not same:
            self._columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        for button in (self.copy_button, self.csv_button):
            button.setEnabled(len(table) > 0)

    def _fit_columns(self) -> None:
        """As wide as labels and numbers: Qt would leave room for an arrow over every column."""
        for place in range(self.model.columnCount()):
            width = max(self._label_width(place), self.view.sizeHintForColumn(place))
            self.view.setColumnWidth(place, width)

    def _on_sorted(self, column: int) -> None:
        """Make room for the arrow."""
        if column >= 0:
            width = self._label_width(column) + _ARROW_PX
            self.view.setColumnWidth(column, max(width, self.view.columnWidth(column)))

    def _label_width(self, column: int) -> int:
        label = str(self.model.headerData(column, Qt.Orientation.Horizontal))
        return self._columns.fontMetrics().horizontalAdvance(label) + _AROUND_LABEL_PX

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
