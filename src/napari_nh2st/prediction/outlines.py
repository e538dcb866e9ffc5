"""The squares of a prediction's tiles, as polygons."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import is_on_grid, notes, slide_mpp
from napari_nh2st.spots.libraries import only_library
from napari_nh2st.spots.positions import positions


def tile_outlines(prediction: AnnData) -> NDArray[np.float64]:
    """One rectangle per tile or spot.

    A tile's own square; where tiles overlap, its share of the grid, so that no two outlines do.
    At a spot, the square around it. On slides whose µm/px differ along y and x, a square of
    tissue is no square of pixels.

    Parameters
    ----------
    prediction
        At tiles or spots.

    Returns
    -------
    ndarray
        (n, 5, 2) closed rings, (x, y) in full-resolution pixels.

    Raises
    ------
    InputError
        The size of the spots is not recorded.
    """
    half = tile_sides(prediction)[::-1] / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
    return positions(prediction)[:, None] + corners * half


def tile_sides(prediction: AnnData) -> NDArray[np.float64]:
    """(2,) height and width of the outlines in full-resolution pixels.

    Raises
    ------
    InputError
        The size of the spots is not recorded.
    """
    if not is_on_grid(prediction):
        return np.full(2, spot_diameter(prediction))
    about = notes(prediction)
    tile = about["tile_px"] * about["mpp"] / slide_mpp(prediction)
    # Neighbors of a hexagonal array are two columns apart.
    columns = 2 if about["layout"] == "hexagonal" else 1
    sides: NDArray[np.float64] = np.minimum(tile, about["step_px_fullres"] * np.array([1, columns]))
    return sides


def spot_diameter(data: AnnData) -> float:
    """Diameter of a spot in full-resolution pixels, as Space Ranger and scanpy note it.

    Raises
    ------
    InputError
        It is not recorded.
    """
    diameter = only_library(data.uns).get("scalefactors", {}).get("spot_diameter_fullres")
    if diameter is not None:
        return float(diameter)
    raise InputError(
        "The size of the spots is not recorded: uns['spatial'] has no spot_diameter_fullres."
    )
