"""Genes in regions that are drawn on the slide, and between two of them."""

from typing import Any

import pandas as pd
from anndata import AnnData
from napari.qt.threading import create_worker
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.analysis.regions import region_statistics
from napari_nh2st.errors import InputError
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import NAMED_REGIONS_KEY
from napari_nh2st.layers.regions import (
    NAME_FEATURE,
    keep_names,
    name_region,
    polygons_in_pixels,
    region_names,
    with_area,
)
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable, with_reliability
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.regions.comparison import Polygons, RegionComparison, offer
from napari_nh2st.widgets.regions.layers import RegionLayers
from napari_nh2st.widgets.regions.region_list import RegionList
from napari_nh2st.widgets.scrolled import scroll_within

ALL_REGIONS = "all regions"
_MS_BETWEEN_UPDATES = 300
_TABLE_HEIGHT = 168
_HEADS = {
    "region": ColumnHead("region", "Name of the region"),
    "gene": ColumnHead("gene", "Double-click a gene to show it"),
    "mean": ColumnHead("mean", "Mean of the predicted values of the region's tiles"),
    "sd": ColumnHead("sd", "Standard deviation over the region's tiles"),
    "median": ColumnHead("median", "Median over the region's tiles"),
    "n_tiles": ColumnHead("tiles", "Predicted tiles of the region"),
}


class RegionsPanel(QWidget):
    """A table of regions × genes that follows what is drawn, and a comparison of two regions.

    Parameters
    ----------
    current
        Whose prediction it is about; its owner follows the viewer.
    parent
        Parent widget.

    Attributes
    ----------
    regions
        The Shapes layer that is used.
    new_layer
        Adds one.
    region_list
        The regions and their tiles.
    filter, table
        Mean and spread of genes, of all regions or one; hidden while there are no regions. What
        is copied and saved has the columns, too, for which there is no room.
    comparison
        Two regions, and the genes that differ most between them.
    notice
        What is to be said of the regions.
    """

    def __init__(self, current: CurrentPrediction, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.current = current
        self.viewer = current.viewer
        self.polygons: Polygons = {}
        self._heatmap: Heatmap | None = None
        self._prediction: AnnData | None = None
        self._statistics = pd.DataFrame()
        self._following = False
        self._measuring: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MS_BETWEEN_UPDATES)
        self._timer.timeout.connect(self.update_table)
        self.regions = RegionLayers(current.viewer)
        self.regions.changed.connect(self._soon)
        self._make_controls()
        self._lay_out()
        self._show_measured(None, {}, pd.DataFrame())

    # --- following ---

    def follow(self) -> None:
        """Follow the current prediction and what is drawn from now on."""
        if not self._following:
            self._following = True
            self.current.changed.connect(self._on_changed)
            self.regions.follow()
        self._on_changed()

    def close_down(self) -> None:
        """Let go of the viewer."""
        if self._following:
            self._following = False
            self.current.changed.disconnect(self._on_changed)
        self._take(None)
        self.comparison.let_go()
        self.regions.close_down()
        self._timer.stop()

    def _on_changed(self) -> None:
        self._take(self.current.heatmap)

    def _take(self, heatmap: Heatmap | None) -> None:
        prediction = None if heatmap is None else heatmap.prediction
        if self._heatmap is not heatmap or self._prediction is not prediction:
            if self._heatmap is not None:
                self._heatmap.filled.disconnect(self._soon)
            if heatmap is not None:
                heatmap.filled.connect(self._soon)
            self._heatmap, self._prediction = heatmap, prediction
            self._soon()
        self.new_layer.setEnabled(heatmap is not None)

    def _soon(self) -> None:
        """Measure within a moment, however often something changes meanwhile."""
        if self._following and not self._timer.isActive():
            self._timer.start()

    def set_threshold(self, threshold: float) -> None:
        """Grey the genes whose reliability is below this."""
        self.table.reliable_from = threshold
        self.comparison.table.reliable_from = threshold

    # --- measuring ---

    def update_table(self) -> None:
        """Measure the regions as they are now, in a thread."""
        if self._measuring is not None:
            self._soon()
            return
        heatmap, layer = self._heatmap, self.regions.layer
        if heatmap is None or layer is None:
            self._show_measured(heatmap, {}, pd.DataFrame())
            return
        if layer.metadata.get(NAMED_REGIONS_KEY):
            keep_names(layer, region_names(layer))
            layer.feature_defaults = {NAME_FEATURE: ""}  # not the name of the selected shape
        polygons = polygons_in_pixels(layer, heatmap)
        worker = create_worker(
            region_statistics,
            heatmap.prediction,
            polygons,
            _start_thread=False,
            _ignore_errors=True,
        )
        self._measuring = heatmap.prediction, layer, polygons
        worker.returned.connect(self._on_measured)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        worker.start()

    def _on_measured(self, statistics: pd.DataFrame) -> None:
        prediction, layer, polygons = self._measuring
        # Layers are equal, not identical: to a plugin's widget napari gives them wrapped.
        if prediction is self._prediction and layer == self.regions.layer:
            self._show_measured(self._heatmap, polygons, statistics)

    def _on_finished(self) -> None:
        self._measuring = None

    def _show_measured(
        self, heatmap: Heatmap | None, polygons: Polygons, statistics: pd.DataFrame
    ) -> None:
        self.polygons = polygons
        self._statistics = statistics
        counts = dict.fromkeys(polygons, 0)
        if len(statistics):
            counts |= statistics.groupby("region", sort=False)["n_tiles"].first().to_dict()
        if heatmap is not None and len(statistics):
            self._statistics = with_reliability(statistics, heatmap.prediction)
        self.region_list.show_regions({name: int(count) for name, count in counts.items()})
        offer(self.filter, [ALL_REGIONS, *polygons])
        self.comparison.show_regions(self._prediction, polygons)
        sentences = self._notices(counts)
        self.notice.setText(sentences)
        self.notice.setVisible(bool(sentences))
        self._filter()
        for widget in (self.region_list, self.shown, self.table):
            widget.setVisible(bool(polygons))
        # What was compared stays to be read and saved after its regions went.
        self.comparison.setVisible(len(polygons) > 1 or len(self.comparison.table.table) > 0)

    def _notices(self, counts: dict[str, int]) -> str:
        layer = self.regions.layer
        if layer is None:
            return "Make a region layer and draw polygons, or choose a Shapes layer."
        sentences = []
        n_lines = len(layer.data) - len(with_area(layer))
        if n_lines:
            one = n_lines == 1
            shapes = (
                "1 line has no area and is no region"
                if one
                else (f"{n_lines} lines have no area and are no regions")
            )
            sentences.append(f"{shapes}.")
        outside = [name for name, count in counts.items() if not count]
        if outside:
            verb = "lies" if len(outside) == 1 else "lie"
            sentences.append(f"No predicted tile {verb} in {', '.join(outside)}.")
        return " ".join(sentences)

    def _on_error(self, error: Exception) -> None:
        known = isinstance(error, InputError)
        show_error(str(error) if known else f"The regions failed: {type(error).__name__}: {error}")

    # --- what the controls do ---

    def add_layer(self) -> None:
        """Add a layer and take up the polygon tool."""
        if self._heatmap is not None:
            self.regions.add(self._heatmap)

    def _on_renamed(self, place: int, name: str) -> None:
        layer = self.regions.layer
        if layer is not None and place < len(with_area(layer)):
            name_region(layer, place, name.strip())
            self.update_table()

    def _filter(self) -> None:
        region = self.filter.currentText()
        table = self._statistics
        if region != ALL_REGIONS and len(table):
            table = table[table["region"] == region].reset_index(drop=True)
        one = region != ALL_REGIONS or len(self.polygons) == 1
        # The list above tells how many tiles a region has, the picker which one it is; of several
        # regions the median would not fit beside the names.
        self.table.show_table(table, hidden=("region" if one else "median", "n_tiles"))

    def _show_gene(self, gene: str) -> None:
        self.current.show_gene(gene)

    # --- appearance ---

    def _make_controls(self) -> None:
        self.new_layer = QPushButton("New region layer")
        self.new_layer.setToolTip("Add a Shapes layer and draw polygons: a click for each corner")
        self.new_layer.clicked.connect(self.add_layer)
        self.notice = PlainLabel()
        self.notice.setWordWrap(True)
        self.notice.setToolTip("What to mind about these regions")
        self.region_list = RegionList()
        self.region_list.renamed.connect(self._on_renamed)
        self.filter = QComboBox()
        self.filter.addItem(ALL_REGIONS)
        self.filter.setToolTip("Region to show in the table")
        self.filter.activated.connect(self._filter)
        self.table = FrameTable("regions", _HEADS)
        self.table.view.setMinimumHeight(_TABLE_HEIGHT)
        self.table.gene_chosen.connect(self._show_gene)
        self.comparison = RegionComparison()
        self.comparison.table.gene_chosen.connect(self._show_gene)
        self.comparison.failed.connect(self._on_error)

    def _lay_out(self) -> None:
        layers = QHBoxLayout()
        layers.addWidget(self.regions.picker, 1)
        layers.addWidget(self.new_layer)
        self.shown = QWidget()
        shown = QFormLayout(self.shown)
        shown.setContentsMargins(0, 0, 0, 0)
        shown.addRow("Show", self.filter)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(layers)
        column.addWidget(self.notice)
        column.addWidget(self.region_list)
        column.addWidget(self.shown)
        column.addWidget(self.table, 1)
        column.addWidget(self.comparison, 1)
        column.addStretch()
        scroll_within(self, content)
