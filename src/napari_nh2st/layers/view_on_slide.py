"""The part of a slide that is in view."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

_CORNERS = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) / 2


def view_on_slide(viewer: ViewerModel, slide_layer: Image) -> NDArray[np.float64] | None:
    """Corners of what the canvas shows of a slide, or of its first place in a grid.

    By the camera and the canvas: napari widens ``layer.corner_pixels`` to the borders of chunks.

    Parameters
    ----------
    viewer
        Has the layer.
    slide_layer
        Shows the slide, with whatever transform.

    Returns
    -------
    ndarray or None
        (4, 2) (y, x) in full-resolution pixels, also outside the slide, and of a layer that is
        turned not along its edges. All of the slide in 3D, where no plane is seen. None where no
        part of the slide is in view.
    """
    shape = np.array((slide_layer.data[0] if slide_layer.multiscale else slide_layer.data).shape)
    height_width = shape[slide_layer.ndim - 2 : slide_layer.ndim]
    if viewer.dims.ndisplay == 3:
        whole: NDArray[np.float64] = (_CORNERS + 0.5) * height_width
        return whole
    camera = viewer.scene.camera
    size = np.array(viewer.canvas.viewbox_size(viewer.layers)) / camera.zoom
    other = (0.0,) * (slide_layer.ndim - 2)
    world = np.array(camera.center[-2:]) + _CORNERS * size
    # napari's pixel k has its center at k, a slide's at k + 0.5.
    corners = np.array([slide_layer.world_to_data((*other, *each))[-2:] for each in world]) + 0.5
    is_beside = (corners.max(0) <= 0) | (corners.min(0) >= height_width)
    return None if is_beside.any() else corners
