"""Table of a cohort's results: means of genes and signatures in each slide and region."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.analysis import read_gmt
from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.table import ALL, Regions, SlideMeans, slide_means, table_of
from napari_nh2st.errors import InputError
from napari_nh2st.session import Session
from napari_nh2st.session.cohort_result import drawn_regions
from napari_nh2st.session.connections import Connections
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.predict.gene_field import GeneField

_HEADS = {
    "slide": ColumnHead("Slide", "Name of the slide's output; double-click opens slide and map"),
    "region": ColumnHead(
        "Region", "all: every predicted tile; else a polygon, from the region file or drawn"
    ),
    "n_tiles": ColumnHead(
        "Tiles", "Number of predicted tiles; the other columns are means over them"
    ),
}
_MS_BETWEEN = 1000
_SIGNATURES_HIGH_PX = 64

_Wanted = tuple[Path, CohortSlide, Regions]
_Key = tuple[object, ...]


class MeansTable(QWidget):
    """Means of genes and signatures over the slides that are done, as they become so.

    Parameters
    ----------
    session
        Has the queue, the slides that are open with what is drawn on them, and signatures.
    connections
        Of the dock.

    Attributes
    ----------
    genes, signatures, with_regions
        Which columns and rows there are.
    gmt
        Opens a file of signatures.
    note
        What is read, and what could not be.
    table
        The table.
    opened
        Emitted with the row of the queue whose result is to be shown.
    """

    opened = Signal(object)

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self._session = session
        self.queue = session.cohort
        self._sets: dict[str, tuple[str, ...]] = {}
        self._known: dict[_Key, SlideMeans | InputError] = {}
        self._reading = Background(self, throttle_ms=_MS_BETWEEN)
        self.genes = GeneField()
        self.genes.line.setPlaceholderText("all")
        self.genes.line.setToolTip("Genes that have a column, separated by commas; empty for all")
        self.signatures = QListWidget()
        self.signatures.setMaximumHeight(_SIGNATURES_HIGH_PX)
        self.signatures.setToolTip(
            "Signatures that have a column: those shown in the viewer, and those of the GMT "
            "file. Mean of their genes, standardized over the slides: 0 is the mean of the cohort"
        )
        self.gmt = QPushButton("GMT…")
        self.gmt.setToolTip("Open a file of gene sets, such as those of MSigDB")
        self.with_regions = QCheckBox("Regions, with a row each")
        self.with_regions.setToolTip(
            "Those of the region file in which a slide was predicted, and those drawn on a slide "
            "in the viewer"
        )
        self.with_regions.setChecked(True)
        self.note = PlainLabel(wrap=True, fits=True)
        self.table = FrameTable("cohort", _HEADS)
        self.table.view.setToolTip(
            "Click a column to sort; double-click a row to open slide and map; Ctrl+C copies"
        )
        self._lay_out()
        self.genes.changed.connect(self._show)
        self.with_regions.toggled.connect(self._show)
        self.signatures.itemChanged.connect(lambda _item: self._show())
        self.gmt.clicked.connect(self._ask)
        self.table.view.doubleClicked.connect(self._on_double_click)
        connections.add(self.queue.changed, self.refresh)
        connections.add(self.queue.updated, self.refresh)
        connections.add(session.signatures.changed, self._list_signatures)
        connections.when_opened(self._list_signatures)

    def showEvent(self, event: object) -> None:  # Qt's name
        """Read what has been done since."""
        super().showEvent(event)  # type: ignore[arg-type]
        self.refresh()

    def refresh(self) -> None:
        """Read the results that are new; only while the table can be seen."""
        if not self.isVisible():
            return
        new = {key: wanted for key, wanted in self._wanted().items() if key not in self._known}
        if new:
            self._reading.start(_read, new, done=self._take)
        self._show()

    def open_gmt(self, path: Path) -> None:
        """Offer the sets of a GMT file, all of them chosen."""
        try:
            self._sets = read_gmt(path)
        except InputError as error:
            show_error(str(error))
            return
        self._list_signatures()

    def _wanted(self) -> dict[_Key, _Wanted]:
        """Slides that are done, by what their means depend on."""
        found: dict[_Key, _Wanted] = {}
        for row in self.queue.rows:
            if row.state == "done" and row.output is not None:
                regions = drawn_regions(self._session, row.slide)
                about = tuple((name, corners.tobytes()) for name, corners in regions.items())
                found[row.output, row.slide.name, row.total, about] = row.output, row.slide, regions
        return found

    def _take(self, read: tuple[_Key, SlideMeans | InputError]) -> None:
        self._known[read[0]] = read[1]
        self._show()

    def _show(self) -> None:
        """Make the table of what has been read."""
        wanted = self._wanted()
        known = [self._known[key] for key in wanted if key in self._known]
        means = [each for each in known if isinstance(each, SlideMeans)]
        panel = list(dict.fromkeys(gene for each in means for gene in each.means.columns))
        self.genes.set_panel(panel)
        notes = [str(each) for each in known if isinstance(each, InputError)]
        left = len(wanted) - len(known)
        if left:
            notes.insert(0, f"{left} of {len(wanted)} results are still to be read …")
        table = pd.DataFrame()
        if means:
            try:
                table = table_of(means, self.genes.value(), self._chosen_signatures())
                notes += table.attrs["notices"]
            except InputError as error:
                notes.append(str(error))
        elif not wanted:
            notes.append("No slide is done yet.")
        if len(table) and not self.with_regions.isChecked():
            table = table[table["region"] == ALL].drop(columns="region")
        self.note.show_text(for_qt(" ".join(notes)))
        if not table.equals(self.table.table) or list(table) != list(self.table.table):
            self.table.show_table(table)

    # --- signatures ---

    def _offered(self) -> dict[str, tuple[str, ...]]:
        """Genes of signatures by name: those shown in the viewer, and those of the file."""
        shown = {
            item.signature.name: item.signature.genes for item in self._session.signatures.items
        }
        return shown | self._sets

    def _list_signatures(self) -> None:
        left_out = {
            item.text() for item in self._items() if item.checkState() == Qt.CheckState.Unchecked
        }
        with signals_blocked(self.signatures):
            self.signatures.clear()
            for name, genes in self._offered().items():
                item = QListWidgetItem(name)
                item.setToolTip(for_qt(", ".join(genes)))
                is_wanted = name not in left_out
                item.setCheckState(Qt.CheckState.Checked if is_wanted else Qt.CheckState.Unchecked)
                self.signatures.addItem(item)
        self.signatures.setVisible(self.signatures.count() > 0)
        self._show()

    def _items(self) -> Iterator[QListWidgetItem]:
        for number in range(self.signatures.count()):
            item = self.signatures.item(number)
            assert item is not None
            yield item

    def _chosen_signatures(self) -> dict[str, tuple[str, ...]]:
        chosen = {
            item.text() for item in self._items() if item.checkState() == Qt.CheckState.Checked
        }
        return {name: genes for name, genes in self._offered().items() if name in chosen}

    def _ask(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open gene sets", "", "Gene sets (*.gmt);;All files (*)"
        )
        if path:
            self.open_gmt(Path(path))

    def _on_double_click(self, index: object) -> None:
        selected = self.table.view.selected_rows
        if selected:
            name = str(self.table.table["slide"].iat[selected[0]])
            for row in self.queue.rows:
                if row.slide.name == name:
                    self.opened.emit(row)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Genes", self.genes)
        form.addRow("Signatures", self.gmt)
        form.addRow(self.signatures)
        form.addRow("", self.with_regions)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.note)
        layout.addWidget(self.table, 1)


def _read(wanted: dict[_Key, _Wanted]) -> Iterator[tuple[_Key, SlideMeans | InputError]]:
    """Means of slides, or why there are none."""
    for key, (output, slide, regions) in wanted.items():
        try:
            yield key, slide_means(output, slide, regions)
        except InputError as error:
            yield key, InputError(f"{slide.name} is left out: {error}")
