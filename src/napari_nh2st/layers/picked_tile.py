"""Frames around what the model sees of a tile, and around its neighborhood."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import MARKER_KEY, made_over
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.layers.tile_positions import tile_side
from napari_nh2st.prediction.lattice import divisions

LAYER_NAME = "picked tile"

_COLOR = "#17b6c9"
_EDGE, _THIN_EDGE = 0.09, 0.04
"""Widths in pitches."""
_UNIT = np.array([[0.0, 0], [0, 1], [1, 1], [1, 0]])
"""Corners of a square (y, x), in turn."""


class PickedTile:
    """One Shapes layer: what the model sees of the tile, then thinner the neighborhood's tiles.

    Parameters
    ----------
    viewer
        Gets the layer when there is something to mark.

    Attributes
    ----------
    layer
        None while nothing is marked.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Shapes | None = None

    def mark(self, heatmap: Heatmap, tiles: NDArray[np.int64]) -> None:
        """Frame what the model sees of the first tile, and each tile as the heatmap draws it.

        Parameters
        ----------
        heatmap
            The tiles lie where it shows them.
        tiles
            (n,) rows of its prediction.
        """
        frames = [_field_of_view(heatmap, int(tiles[0])), *_cells(heatmap, tiles)]
        pitch = divisions(heatmap.prediction) * heatmap.raster.height  # in the layer's pixels
        widths = [pitch * _EDGE] + [pitch * _THIN_EDGE] * (len(frames) - 1)
        if self.layer is None or self.layer not in self.viewer.layers:
            self._add(frames, widths, heatmap.layer)
            return
        self.layer.data = frames
        self.layer.edge_width = widths
        self.layer.edge_color = _COLOR
        self.layer.face_color = "transparent"
        place(self.layer, placement_of(heatmap.layer))

    def clear(self) -> None:
        """Remove the layer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _add(self, frames: Any, widths: list[float], heatmap_layer: Image) -> None:
        with kept_selection(self.viewer):
            self.layer = self.viewer.add_shapes(
                frames,
                shape_type="rectangle",
                edge_color=_COLOR,
                edge_width=widths,
                face_color="transparent",
                name=LAYER_NAME,
                metadata={MARKER_KEY: True} | made_over(heatmap_layer),
                **placement_of(heatmap_layer),
            )


def _field_of_view(heatmap: Heatmap, tile: int) -> NDArray[np.float64]:
    """Corners (4, 2) of what the model sees of a tile, in the heatmap's data coordinates.

    It is larger than the tile as drawn where the tiles overlap.
    """
    raster = heatmap.raster
    center = np.array([raster.rows[tile], raster.columns[tile]])
    center = center + np.array([raster.height - 1, raster.width - 1]) / 2
    return np.asarray(center + (_UNIT - 0.5) * tile_side(heatmap) / raster.step)


def _cells(heatmap: Heatmap, tiles: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Corners (4, 2) of each tile as the heatmap draws it, in its data coordinates."""
    raster = heatmap.raster
    # napari's pixel k reaches from k - 0.5 to k + 0.5.
    cell = _UNIT * (raster.height, raster.width) - 0.5
    return [np.add(cell, (raster.rows[tile], raster.columns[tile])) for tile in tiles]
