"""Table of a DataFrame: sorted by a click, searched, stepped through, copied, saved as CSV."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import QItemSelectionModel, QModelIndex, Qt
from qtpy.QtGui import QKeySequence, QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.export.table import write_table
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.widgets.frame_model import ColumnHead, FrameFilter, FrameModel
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.text_colors import TextDelegate

_ROWS_FOR_WIDTHS = 50
_AROUND_LABEL_PX, _ARROW_PX = 14, 16

_LONG_NAME, _AROUND_NAME_PX = "HLA-DRB1", 14
"""A name as long as those of most genes, which is to be read whole in any dock."""

_BADGE_PX = 16

_LETTERS_READ = 12
"""Of a longer name the middle may be left out, as of Ensembl's, which differ at their ends."""


class FrameView(QTableView):
    """Shows the rows of a model; where they are genes, the current row may be the gene shown.

    Parameters
    ----------
    model
        The rows.

    Attributes
    ----------
    frame, filter
        The model, and what leaves rows of it out.
    gene_entered
        Emitted with the gene of the row that the user has made the current one.
    gene_chosen
        Emitted with the gene of a row that was double-clicked.
    """

    gene_entered = Signal(str)
    gene_chosen = Signal(str)

    def __init__(self, model: FrameModel) -> None:
        super().__init__()
        self.frame = model
        self.filter = FrameFilter(model, self)
        self._quiet = False
        self._spare: int | None = None
        self._wide_enough = 0
        self.setItemDelegate(TextDelegate(self))
        self.setModel(self.filter)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        rows, columns, selection = (
            self.verticalHeader(),
            self.horizontalHeader(),
            self.selectionModel(),
        )
        assert rows is not None
        assert columns is not None
        assert selection is not None
        rows.hide()
        rows.setDefaultSectionSize(22)
        columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        # The first rows tell the widths: reading all of a long table takes seconds.
        columns.setResizeContentsPrecision(_ROWS_FOR_WIDTHS)
        columns.sortIndicatorChanged.connect(self._on_sorted)
        self.columns, self._selection = columns, selection
        self.setSortingEnabled(True)
        selection.currentRowChanged.connect(self._on_current)
        self.doubleClicked.connect(self._on_double_click)

    # --- rows and genes ---

    @property
    def selected_rows(self) -> list[int]:
        """Rows of the model's table that are selected, from top to bottom."""
        shown = sorted(self._selection.selectedRows(), key=lambda index: index.row())
        return [self.filter.mapToSource(index).row() for index in shown]

    @property
    def selected_genes(self) -> list[str]:
        """The genes that are selected, from top to bottom."""
        return [str(gene) for gene in self.frame.table["gene"].iloc[self.selected_rows]]

    @property
    def shown_genes(self) -> list[str]:
        """The genes that are not left out, from top to bottom."""
        rows = range(self.filter.rowCount())
        return [self._gene(self.filter.index(row, 0)) for row in rows]

    @property
    def current_gene(self) -> str | None:
        """The gene of the current row."""
        return self._gene(self.currentIndex()) if self.currentIndex().isValid() else None

    def go_to(self, gene: str) -> None:
        """Make a gene's row the current one, without emitting; none if it is not shown."""
        row = self.frame.row_of(gene)
        index = self.filter.mapFromSource(self.frame.index(-1 if row is None else row, 0))
        with self.quietly():
            if not index.isValid():
                self._selection.clear()
            elif index.row() != self.currentIndex().row():
                self._go_to_index(index)

    def step(self, rows: int) -> None:
        """Go so many rows down from the current one, or to the first if there is none."""
        here, last = self.currentIndex(), self.filter.rowCount() - 1
        row = min(max(here.row() + rows, 0), last) if here.isValid() else 0
        if last >= 0:
            self._go_to_index(self.filter.index(row, 0))

    def search(self, text: str) -> None:
        """Show only the genes whose name contains a text, in any case."""
        part = text.strip()
        with self.quietly():
            self.filter.show_only(
                (lambda table: table["gene"].str.contains(part, case=False, regex=False))
                if part
                else None
            )

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Qt makes another row the current one when that is left out: nobody chose it."""
        former, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = former

    def _gene(self, index: QModelIndex) -> str:
        return str(self.frame.table["gene"].iat[self.filter.mapToSource(index).row()])

    def _go_to_index(self, index: QModelIndex) -> None:
        # The view's own setCurrentIndex selects by the keys that are held: Ctrl+Down would add.
        flags = QItemSelectionModel.SelectionFlag
        self._selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self.scrollTo(index)

    def _on_current(self, current: QModelIndex, _former: QModelIndex) -> None:
        if current.isValid() and not self._quiet and "gene" in self.frame.table:
            self.gene_entered.emit(self._gene(current))

    def _on_double_click(self, index: QModelIndex) -> None:
        if "gene" in self.frame.table:
            self.gene_chosen.emit(self._gene(index))

    # --- appearance ---

    def fit_columns(self) -> None:
        """Fit columns to labels and numbers: Qt would leave room for an arrow over each."""
        for column in range(self.frame.columnCount()):
            width = max(self.label_width(column), self.sizeHintForColumn(column))
            self.setColumnWidth(column, width)

    def widen_columns(self) -> None:
        """Widen the columns whose values would be cut."""
        for column in range(self.frame.columnCount()):
            needed = self.sizeHintForColumn(column)
            if needed > self.columnWidth(column):
                self.setColumnWidth(column, needed)

    def fit_beside_names(self, widths: Mapping[int, int], spare: int | None = None) -> None:
        """Numbers are as wide as they are; the names in the first column have the rest.

        The view gets no narrower than the names of most genes need.

        Parameters
        ----------
        widths
            Pixels of the other columns that are shown.
        spare
            One of them that is hidden while longer names would be cut beside it.
        """
        self.columns.setStretchLastSection(False)
        self.columns.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column, width in widths.items():
            self.setColumnWidth(column, width)
        bar, text = self.verticalScrollBar(), self.fontMetrics()
        beside = 0 if bar is None else bar.sizeHint().width() + 2 * self.frameWidth()
        badge = _BADGE_PX
        beside += _AROUND_NAME_PX + (badge if self.frame.badge == "gene" else 0)
        beside += sum(widths.values())
        names = self.frame.table.get("gene", ())
        longest = max(
            (text.horizontalAdvance(str(name)[:_LETTERS_READ]) for name in names), default=0
        )
        self._spare, self._wide_enough = spare, beside + longest
        dropped = 0 if spare is None else widths[spare]
        self.setMinimumWidth(beside - dropped + text.horizontalAdvance(_LONG_NAME))
        self._show_spare()

    def _show_spare(self) -> None:
        if self._spare is not None:
            self.setColumnHidden(self._spare, self.width() < self._wide_enough)

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # Qt's name
        """Show the column that may be spared where there is room for it."""
        super().resizeEvent(event)
        self._show_spare()

    def label_width(self, column: int, is_sorted: bool = False) -> int:
        """Pixels that the label of a column needs, with the arrow of the sorted one."""
        label = str(self.frame.headerData(column, Qt.Orientation.Horizontal))
        text = self.columns.fontMetrics()
        width = max(map(text.horizontalAdvance, label.split("\n"))) + _AROUND_LABEL_PX
        return width + _ARROW_PX if is_sorted else width

    def _on_sorted(self, column: int) -> None:
        """Make room for the arrow."""
        if column >= 0:
            width = self.label_width(column, is_sorted=True)
            self.setColumnWidth(column, max(width, self.columnWidth(column)))


class FrameTable(QWidget):
    """A DataFrame with buttons to copy it and to save it as CSV.

    A gene has the badge of its ``reliability``, where there is such a column; rows that are below
    the threshold of the :attr:`badges` are greyed and say why.

    Parameters
    ----------
    name
        Proposed for the CSV file.
    heads
        Labels of the columns, by their name.
    model
        Another model than a plain :class:`FrameModel` of these heads.

    Attributes
    ----------
    view, model
        The table.
    copy_button, csv_button
        Copy the selected rows, or all; save all rows.
    gene_chosen, gene_entered
        As of :class:`FrameView`.
    """

    gene_chosen = Signal(str)
    gene_entered = Signal(str)

    def __init__(
        self,
        name: str,
        heads: Mapping[str, ColumnHead] | None = None,
        model: FrameModel | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.model = model or FrameModel(heads)
        self.view = FrameView(self.model)
        self.model.setParent(self)
        self.view.columns.setStretchLastSection(True)
        self.view.setToolTip(
            "Click a column to sort; double-click a gene to show it; Ctrl+C copies"
        )
        self.view.gene_chosen.connect(self.gene_chosen.emit)
        self.view.gene_entered.connect(self.gene_entered.emit)
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
        """All rows, in the order shown."""
        return self.model.table

    @property
    def badges(self) -> Badges:
        """Colors and words of the genes' reliability."""
        return self.model.badges

    @badges.setter
    def badges(self, badges: Badges) -> None:
        self.model.badges = badges

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
            self.view.widen_columns()
        else:
            self.view.fit_columns()
        for place, name in enumerate(table.columns):
            self.view.setColumnHidden(place, name in hidden)
        if not same:
            self.view.columns.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        for button in (self.copy_button, self.csv_button):
            button.setEnabled(len(table) > 0)

    def copy(self) -> None:
        """Copy the selected rows, or all if none is, with the header, separated by tabs."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        rows = self.view.selected_rows
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
