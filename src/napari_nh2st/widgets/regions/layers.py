"""The Shapes layer that has the regions, and a new one to draw them in."""

from typing import Any

import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from psygnal import Signal
from qtpy.QtWidgets import QComboBox

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import MARKER_KEY, NAMED_REGIONS_KEY, made_on
from napari_nh2st.layers.regions import NAME_FEATURE
from napari_nh2st.layers.slide_below import slide_below
from napari_nh2st.layers.tile_image import placement_of
from napari_nh2st.prediction.schema import notes

EDGE = 0.12
"""Width of an outline in tiles."""

_COLOR = "#e8c400"
_TEXT_COLOR = "black"
"""Stained tissue is light, and heatmaps let it shine through."""


class RegionLayers:
    """A picker of the viewer's Shapes layers that says when the chosen one changes.

    Parameters
    ----------
    viewer
        Its layers are offered, from :meth:`follow` to :meth:`close_down`.

    Attributes
    ----------
    picker
        Offers the layers.
    changed
        Emitted when it is another layer, or when its shapes, names or place changed.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.picker = QComboBox()
        self.picker.setToolTip("Shapes layer whose polygons are the regions")
        self.picker.activated.connect(self._on_picked)
        self.layer: Shapes | None = None
        self._layers: list[Shapes] = []
        self._following = False

    def follow(self) -> None:
        """Offer the viewer's Shapes layers from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.inserted.connect(self._update)
            self.viewer.layers.events.removed.connect(self._update)
            self.viewer.layers.events.renamed.connect(self._show_names)
        self._update()

    def close_down(self) -> None:
        """Let go of the viewer and of the layer."""
        if self._following:
            self._following = False
            self.viewer.layers.events.inserted.disconnect(self._update)
            self.viewer.layers.events.removed.disconnect(self._update)
            self.viewer.layers.events.renamed.disconnect(self._show_names)
        self._choose(None)

    def add(self, heatmap: Heatmap) -> Shapes:
        """Add a layer in the slide's pixels, choose it, and take up the polygon tool."""
        slide_layer = slide_below(self.viewer, heatmap.layer)
        if slide_layer is not None:
            edge = EDGE * min(heatmap.raster.step)
            layer = add_region_layer(self.viewer, slide_layer, edge)
        else:
            edge = EDGE * float(notes(heatmap.prediction)["pitch_um"])
            layer = _new_layer(self.viewer, edge, {}, {"units": heatmap.layer.units})
        self._choose(layer)
        return layer

    def _choose(self, layer: Shapes | None) -> None:
        if layer != self.layer:  # not its identity: napari gives the same layer wrapped
            for event in _events(self.layer):
                event.disconnect(self._on_edited)
            self.layer = layer
            for event in _events(layer):
                event.connect(self._on_edited)
            self.changed.emit()
        if layer in self._layers:
            self.picker.setCurrentIndex(self._layers.index(layer))

    def _update(self, _event: Any = None) -> None:
        self._layers = [
            layer
            for layer in self.viewer.layers
            if isinstance(layer, Shapes) and not layer.metadata.get(MARKER_KEY)
        ]
        self.picker.clear()
        self.picker.addItems([layer.name for layer in self._layers])
        last = self._layers[-1] if self._layers else None
        self._choose(self.layer if self.layer in self._layers else last)

    def _show_names(self, _event: Any = None) -> None:
        for row, layer in enumerate(self._layers):
            self.picker.setItemText(row, layer.name)

    def _on_picked(self, index: int) -> None:
        if 0 <= index < len(self._layers):
            self._choose(self._layers[index])

    def _on_edited(self, _event: Any = None) -> None:
        self.changed.emit()


def _events(layer: Shapes | None) -> list[Any]:
    """The layer's events after which its regions may be others."""
    if layer is None:
        return []
    names = ("data", "features", "scale", "translate", "rotate", "shear", "affine", "units")
    return [getattr(layer.events, name) for name in names]


def add_region_layer(viewer: ViewerModel, slide_layer: Image, edge_px: float) -> Shapes:
    """Add a layer in a slide's pixels, select it, and take up the polygon tool.

    Parameters
    ----------
    viewer
        Gets the layer.
    slide_layer
        Shows the slide: the layer gets its place and units.
    edge_px
        Width of outlines in full-resolution pixels.

    Returns
    -------
    Shapes
        Empty; the Genes dock names its regions as they are drawn.
    """
    return _new_layer(viewer, edge_px, made_on(slide_layer), placement_of(slide_layer))


def _new_layer(
    viewer: ViewerModel, edge: float, metadata: dict[str, str], placement: dict[str, Any]
) -> Shapes:
    layer = viewer.add_shapes(
        name="regions",
        ndim=2,
        edge_color=_COLOR,
        face_color="transparent",
        opacity=1.0,
        edge_width=edge,
        features=pd.DataFrame({NAME_FEATURE: pd.Series([], dtype=object)}),
        feature_defaults={NAME_FEATURE: ""},
        text={"string": "{" + NAME_FEATURE + "}", "color": _TEXT_COLOR, "size": 12},
        metadata={NAMED_REGIONS_KEY: True} | metadata,
        **placement,
    )
    layer.current_edge_width = edge
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon"
    return layer
