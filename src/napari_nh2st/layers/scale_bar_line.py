"""A line that the user draws over the scale bar printed on a slide."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from napari.layers.base import ActionType
from psygnal import Signal

from napari_nh2st.layers.keys import MARKER_KEY, made_on
from napari_nh2st.layers.tile_image import placement_of

_NAME = "draw a line over the scale bar"
_LEAST_PX = 10.0
"""Length of a line on the screen: less is a click, of which napari makes a short line."""


class ScaleBarLine:
    """A Shapes layer in which one line is drawn; then it is taken away.

    Parameters
    ----------
    viewer
        Gets the layer.

    Attributes
    ----------
    layer
        None while no line is asked for.
    drawn
        Emitted with the length of the line in the slide's full-resolution pixels.
    """

    drawn = Signal(float)

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Shapes | None = None
        self._slide_layer: Image | None = None

    def ask(self, slide_layer: Image) -> None:
        """Let the user draw a line on a slide; with the mouse in the canvas, from end to end."""
        self.clear()
        extent = np.ptp(np.asarray(slide_layer.extent.data)[:, -2:], axis=0)
        self._slide_layer = slide_layer
        self.layer = self.viewer.add_shapes(
            ndim=2,
            name=_NAME,
            edge_color="magenta",
            edge_width=float(extent.max()) / 400,
            metadata={MARKER_KEY: True} | made_on(slide_layer),
            **placement_of(slide_layer),
        )
        self.layer.mode = "add_line"
        self.viewer.layers.selection.active = self.layer
        self.layer.events.data.connect(self._on_data)

    def clear(self) -> None:
        """Take the layer away, and select the slide again."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            layer.events.data.disconnect(self._on_data)
            self.viewer.layers.remove(layer)
            if self._slide_layer in self.viewer.layers:
                self.viewer.layers.selection.active = self._slide_layer
        self._slide_layer = None

    def _on_data(self, event: Any) -> None:
        """The mouse was let go; while it draws, napari moves one end."""
        layer = self.layer
        if layer is None or event.action != ActionType.ADDED:
            return
        ends = np.asarray(layer.data[-1])[[0, -1], -2:]
        in_world = np.diff([layer.data_to_world(end) for end in ends], axis=0)
        if np.linalg.norm(in_world) * self.viewer.scene.camera.zoom >= _LEAST_PX:
            self.drawn.emit(float(np.linalg.norm(ends[1] - ends[0])))
