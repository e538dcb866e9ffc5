"""Mark of one measured spot on the slide."""

from collections.abc import Iterable

import numpy as np
from napari.components import ViewerModel
from napari.layers import Points

_COLOR = "#ffd400"
_WIDTH = 0.35
"""Of a spot's diameter."""


def mark_spot(layers: Iterable[Points], row: int | None) -> None:
    """Ring a spot in layers of a section, and no other; None for none.

    The ring is the point's own border, which lies right also side by side, and is moved with it.
    """
    for layer in layers:
        widths = np.zeros(len(layer.data))
        if row is not None and row < len(widths):
            widths[row] = _WIDTH
        if not np.array_equal(layer.border_width, widths):
            layer.border_color = _COLOR
            layer.border_width = widths


def go_to_spot(viewer: ViewerModel, layer: Points, row: int) -> None:
    """Bring a spot of a layer into the middle of the canvas; the zoom stays."""
    camera = viewer.scene.camera
    place = layer.data_to_world(layer.data[row])[-2:]
    camera.center = (*camera.center[:-2], *place)
