"""Genes in regions that are drawn on the slide, and between two of them."""

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.analysis.regions import compare_regions, region_statistics
from napari_nh2st.errors import InputError
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.heatmap import Heatmap
from napari_nh2st.widgets.regions.layers import NAMED_KEY, RegionLayers
from napari_nh2st.widgets.regions.polygons import (
    NAME_FEATURE,
    keep_names,
    name_region,
    polygons_in_pixels,
    region_names,
    with_area,
)
from napari_nh2st.widgets.regions.region_list import RegionList
from napari_nh2st.widgets.small_table import SmallTable, with_reliability

ALL_REGIONS = "all regions"
NOT_INDEPENDENT = (
    "Neighboring tiles resemble each other and are not independent: p and q are smaller than they "
    "should be. They order the genes and are no evidence."
)
_MS_BETWEEN_UPDATES = 300
_COMPARED = [
    "gene", "effect", "q", "p", "difference", "mean_first", "mean_second", "n_first", "n_second"
]  # fmt: skip
"""Columns of the comparison, what matters most first."""

Polygons = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Two regions as they were when they were compared."""

    prediction: "weakref.ref[AnnData]"
    names: tuple[str, str]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def holds(self, prediction: AnnData | None, polygons: Polygons) -> bool:
        """Whether these regions are still there as they were."""
        pairs = zip(self.names, (self.first, self.second), strict=True)
        return prediction is self.prediction() and all(
            name in polygons and np.array_equal(polygons[name], corners) for name, corners in pairs
        )


class RegionsPanel(QWidget):
    """A table of regions × genes that follows what is drawn, and a comparison of two regions.

    Parameters
    ----------
    current
        Whose prediction it is about; its owner follows the viewer.
    parent
        Of the widget.

    Attributes
    ----------
    regions
        The Shapes layer that is used.
    new_layer
        Adds one.
    region_list
        The regions and their tiles.
    filter, table
        Mean and spread of genes, of all regions or one.
    first, second, compare, comparison
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
        self._comparing: Any = None
        self._compared: _Comparison | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MS_BETWEEN_UPDATES)
        self._timer.timeout.connect(self.update_table)
        self.regions = RegionLayers(current.viewer)
        self.regions.changed.connect(self._soon)
        self._make_controls()
        self._lay_out()
        self._enable()

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
        self._enable()

    def _soon(self) -> None:
        """Measure within a moment, however often something changes meanwhile."""
        if self._following and not self._timer.isActive():
            self._timer.start()

    def set_threshold(self, threshold: float) -> None:
        """Grey the genes whose reliability is below this."""
        self.table.reliable_from = threshold
        self.comparison.reliable_from = threshold

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
        if layer.metadata.get(NAMED_KEY):
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
        _offer(self.filter, [ALL_REGIONS, *polygons])
        _offer(self.first, list(polygons))
        _offer(self.second, list(polygons), other_than=self.first.currentText())
        self.notice.setText(self._notices(counts))
        self._filter()
        if self._compared is not None and not self._compared.holds(
            self.current.prediction, polygons
        ):
            self.compared.setText("The regions have changed since: compare again.")
        self._enable()

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

    # --- comparing ---

    def start_comparison(self) -> None:
        """Compare the two chosen regions in a thread; problems are shown as notifications."""
        prediction = self.current.prediction
        names = self.first.currentText(), self.second.currentText()
        if prediction is None or self._comparing is not None:
            return
        if names[0] == names[1] or not all(name in self.polygons for name in names):
            show_info("Choose two different regions to compare.")
            return
        reference = weakref.ref(prediction)
        comparison = _Comparison(reference, names, *(self.polygons[name] for name in names))
        worker = create_worker(
            compare_regions,
            prediction,
            comparison.first,
            comparison.second,
            _start_thread=False,
            _ignore_errors=True,
        )
        self._comparing = comparison
        worker.returned.connect(self._on_compared)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_comparison_finished)
        self._enable()
        worker.start()

    def _on_compared(self, table: pd.DataFrame) -> None:
        comparison, prediction = self._comparing, self.current.prediction
        if not self._following or prediction is None or comparison.prediction() is not prediction:
            return
        self._compared = comparison
        first, second = comparison.names
        holds = comparison.holds(prediction, self.polygons)
        self.compared.setText(
            f"First: {first}; second: {second}."
            if holds
            else "The regions have changed since: compare again."
        )
        self.comparison.show_table(with_reliability(table[_COMPARED], prediction))

    def _on_comparison_finished(self) -> None:
        self._comparing = None
        self._enable()

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
        self.table.show_table(table)

    def _show_gene(self, gene: str) -> None:
        if self._heatmap is not None:
            self._heatmap.show(gene)

    # --- appearance ---

    def _enable(self) -> None:
        self.new_layer.setEnabled(self._heatmap is not None)
        self.compare.setEnabled(len(self.polygons) > 1 and self._comparing is None)

    def _make_controls(self) -> None:
        self.new_layer = QPushButton("New region layer")
        self.new_layer.setToolTip("Add a Shapes layer and draw polygons: a click for each corner")
        self.new_layer.clicked.connect(self.add_layer)
        self.notice = QLabel()
        self.notice.setWordWrap(True)
        self.notice.setToolTip("What to mind about these regions")
        self.region_list = RegionList()
        self.region_list.setFixedHeight(116)
        self.region_list.renamed.connect(self._on_renamed)
        self.filter = QComboBox()
        self.filter.addItem(ALL_REGIONS)
        self.filter.setToolTip("Region to show in the table")
        self.filter.activated.connect(self._filter)
        self.table = SmallTable("regions")
        self.table.view.setMinimumHeight(190)
        self.table.gene_chosen.connect(self._show_gene)
        self.first, self.second = QComboBox(), QComboBox()
        self.first.setToolTip("Region whose genes are compared")
        self.second.setToolTip("Region that it is compared with")
        self.compare = QPushButton("Compare")
        self.compare.setToolTip("Genes that differ most between the two regions")
        self.compare.clicked.connect(self.start_comparison)
        self.compared = QLabel()
        self.compared.setWordWrap(True)
        self.warning = QLabel(NOT_INDEPENDENT)
        self.warning.setWordWrap(True)
        # A mid tone that reads on both of napari's themes.
        self.warning.setStyleSheet("color: #d98c2b")
        self.comparison = SmallTable("comparison")
        self.comparison.view.setMinimumHeight(190)
        self.comparison.gene_chosen.connect(self._show_gene)

    def _lay_out(self) -> None:
        layers = QHBoxLayout()
        layers.addWidget(self.regions.picker, 1)
        layers.addWidget(self.new_layer)
        shown = QFormLayout()
        shown.addRow("Show", self.filter)
        pair = QHBoxLayout()
        pair.addWidget(self.first, 1)
        pair.addWidget(self.second, 1)
        pair.addWidget(self.compare)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(layers)
        column.addWidget(self.notice)
        column.addWidget(self.region_list)
        column.addLayout(shown)
        column.addWidget(self.table)
        column.addLayout(pair)
        column.addWidget(self.compared)
        column.addWidget(self.comparison)
        column.addWidget(self.warning)
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)


def _offer(box: QComboBox, names: list[str], other_than: str | None = None) -> None:
    """Offer names, the chosen one kept if it is among them."""
    chosen = box.currentText()
    box.blockSignals(True)
    box.clear()
    box.addItems(names)
    if chosen in names:
        box.setCurrentText(chosen)
    elif other_than is not None:
        box.setCurrentText(next((name for name in names if name != other_than), ""))
    box.blockSignals(False)
