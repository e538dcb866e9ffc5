"""A tile and its neighborhood drawn to scale on the slide, before anything runs."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_nh2st.layers.keys import MARKER_KEY, made_on
from napari_nh2st.slide import Slide

_NAME = "tile and neighborhood"


class ScalePreview:
    """A Shapes layer with one tile (thick) and its 3 × 3 neighborhood.

    Parameters
    ----------
    viewer
        Gets the layer.

    Attributes
    ----------
    layer
        The Shapes layer; None while nothing is drawn.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Shapes | None = None

    def show(self, slide_layer: Image, slide: Slide, tile_um: float, pitch_um: float) -> None:
        """Draw them in the middle of the view, in place of what was drawn before.

        Parameters
        ----------
        slide_layer, slide
            Where to draw; its µm/px is known.
        tile_um, pitch_um
            Side of a tile, and distance between tiles.
        """
        assert slide.mpp is not None
        center = slide_layer.world_to_data(self.viewer.scene.camera.center[-2:])[-2:]
        if not all(0 <= c < side for c, side in zip(center, slide.shape, strict=True)):
            center = [side / 2 for side in slide.shape]
        tile, pitch = (np.divide(um, slide.mpp) for um in (tile_um, pitch_um))
        steps = [(0, 0), *((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))]
        squares = [
            _in_world(slide_layer, np.asarray(center) + np.multiply(step, pitch), tile)
            for step in steps
        ]
        edge = float(np.ptp(squares[0][:, 0])) / 60
        self.hide()
        self.layer = self.viewer.add_shapes(
            squares,
            shape_type="polygon",
            edge_width=[edge * width for width in [3.0] + [1.0] * 8],
            edge_color=["yellow"] + ["cyan"] * 8,
            face_color="transparent",
            name=_NAME,
            metadata={MARKER_KEY: True} | made_on(slide_layer),
            units=slide_layer.units,
        )
        self.viewer.layers.selection.active = slide_layer

    def hide(self) -> None:
        """Remove what is drawn."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = None


def _in_world(slide_layer: Image, center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Corners of a square in world coordinates; napari's pixel k has its center at k."""
    corners = center + np.multiply([(-1, -1), (-1, 1), (1, 1), (1, -1)], size / 2) - 0.5
    return np.array([slide_layer.data_to_world(corner)[-2:] for corner in corners])
