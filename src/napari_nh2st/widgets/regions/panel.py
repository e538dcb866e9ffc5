"""Tab of the genes in regions that are drawn on the slide, and between two of them."""

from functools import partial
from typing import Any

import pandas as pd
from anndata import AnnData
from napari.layers import Shapes
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import QSignalThrottler

from napari_nh2st.analysis.regions import region_statistics
from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import NAMED_REGIONS_KEY
from napari_nh2st.layers.regions import (
    NAME_FEATURE,
    add_regions_on,
    holds_regions,
    keep_names,
    name_region,
    polygons_in_pixels,
    region_events,
    region_names,
    region_notices,
    with_area,
)
from napari_nh2st.prediction.reliability import Badges, with_reliability
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.layer_picker import LayerPicker
from napari_nh2st.widgets.name_table import NameTable, fixed_item
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.regions.comparison import Polygons, RegionComparison, offer
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
_REGION_HEADS = {"Region": "Name of the region", "Tiles": "Predicted tiles whose center lies in it"}
_REGIONS_SEEN = 5


class RegionsPanel(QWidget):
    """A table of regions × genes that follows what is drawn, and a comparison of two regions.

    Parameters
    ----------
    session
        Its current prediction is measured.
    connections
        Connections of the dock.

    Attributes
    ----------
    picker
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
    polygons
        The regions that were measured last.
    """

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self.session = session
        self._connections = connections
        self.polygons: Polygons = {}
        self._statistics = pd.DataFrame()
        self._layer: Shapes | None = None
        self._measuring = Background(self, throttle_ms=_MS_BETWEEN_UPDATES)
        self._changes = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._changes.setTimeout(_MS_BETWEEN_UPDATES)
        self._changes.triggered.connect(self.update_table)
        self.picker = LayerPicker(session.viewer, connections, holds_regions)
        self._make_controls()
        self._lay_out()
        self._show_measured({}, pd.DataFrame())
        self.picker.changed.connect(self._on_layer)
        self._on_layer(self.picker.value)
        connections.add(session.heatmap_changed, self._on_heatmap)
        connections.add(session.filled, self._soon)
        connections.when_opened(self._on_heatmap)

    def set_badges(self, badges: Badges) -> None:
        """Grey the genes below the threshold, and give all of them these badges."""
        self.table.badges = self.comparison.table.badges = badges

    # --- measuring ---

    def _on_heatmap(self) -> None:
        self.new_layer.setEnabled(self.session.heatmap is not None)
        self._soon()

    def _on_layer(self, layer: Shapes | None) -> None:
        for event in [] if self._layer is None else region_events(self._layer):
            self._connections.remove(event, self._soon)
        self._layer = layer
        for event in [] if layer is None else region_events(layer):
            self._connections.add(event, self._soon)
        self._soon()

    def _soon(self, _event: Any = None) -> None:
        """Measure within a moment, however often something changes meanwhile."""
        self._changes.throttle()

    def update_table(self) -> None:
        """Measure the regions as they are now, in a thread."""
        heatmap, layer = self.session.heatmap, self._layer
        if not self._connections.is_open:
            return
        if heatmap is None or layer is None:
            self._measuring.stop()
            self._show_measured({}, pd.DataFrame())
            return
        if layer.metadata.get(NAMED_REGIONS_KEY):
            keep_names(layer, region_names(layer))
            layer.feature_defaults = {NAME_FEATURE: ""}  # not the name of the selected shape
        polygons = polygons_in_pixels(layer, heatmap)
        self._measuring.start(
            region_statistics,
            heatmap.prediction,
            polygons,
            done=partial(self._on_measured, heatmap.prediction, layer, polygons),
            failed=self._on_error,
        )

    def _on_measured(
        self, prediction: AnnData, layer: Shapes, polygons: Polygons, statistics: pd.DataFrame
    ) -> None:
        # Layers are equal, not identical: to a plugin's widget napari gives them wrapped.
        if prediction is self.session.prediction and layer == self._layer:
            if len(statistics):
                statistics = with_reliability(statistics, prediction)
            self._show_measured(polygons, statistics)

    def _show_measured(self, polygons: Polygons, statistics: pd.DataFrame) -> None:
        self.polygons = polygons
        self._statistics = statistics
        counts = dict.fromkeys(polygons, 0)
        if len(statistics):
            counts |= statistics.groupby("region", sort=False)["n_tiles"].first().to_dict()
        self.region_list.show_rows(
            [(QTableWidgetItem(name), fixed_item(f"{count:,}")) for name, count in counts.items()]
        )
        offer(self.filter, [ALL_REGIONS, *polygons])
        self.comparison.show_regions(self.session.prediction, polygons)
        sentences = region_notices(self._layer, counts)
        self.notice.setText(sentences)
        self.notice.setVisible(bool(sentences))
        self._filter()
        for widget in (self.region_list, self.shown, self.table):
            widget.setVisible(bool(polygons))
        # What was compared stays to be read and saved after its regions went.
        self.comparison.setVisible(len(polygons) > 1 or len(self.comparison.table.table) > 0)

    def _on_error(self, error: Exception) -> None:
        known = isinstance(error, InputError)
        show_error(str(error) if known else f"The regions failed: {type(error).__name__}: {error}")

    # --- what the controls do ---

    def add_layer(self) -> None:
        """Add a layer and take up the polygon tool."""
        if self.session.heatmap is not None:
            self.picker.value = add_regions_on(self.session.viewer, self.session.heatmap)

    def _on_renamed(self, place: int, name: str) -> None:
        layer = self._layer
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

    # --- appearance ---

    def _make_controls(self) -> None:
        self.picker.setToolTip("Shapes layer whose polygons are the regions")
        self.new_layer = QPushButton("New region layer")
        self.new_layer.setToolTip("Add a Shapes layer and draw polygons: a click for each corner")
        self.new_layer.clicked.connect(self.add_layer)
        self.notice = PlainLabel(wrap=True, tip="Cautions about these regions")
        self.region_list = NameTable(_REGION_HEADS, _REGIONS_SEEN)
        self.region_list.renamed.connect(self._on_renamed)
        self.filter = QComboBox()
        self.filter.addItem(ALL_REGIONS)
        self.filter.setToolTip("Region to show in the table")
        self.filter.activated.connect(self._filter)
        self.table = FrameTable("regions", _HEADS)
        self.table.view.setMinimumHeight(_TABLE_HEIGHT)
        self.table.gene_chosen.connect(self.session.show_gene)
        self.comparison = RegionComparison()
        self.comparison.table.gene_chosen.connect(self.session.show_gene)
        self.comparison.failed.connect(self._on_error)

    def _lay_out(self) -> None:
        layers = QHBoxLayout()
        layers.addWidget(self.picker, 1)
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
