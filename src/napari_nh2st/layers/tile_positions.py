"""Positions of tiles in the viewer."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.prediction.schema import notes, slide_mpp


def tile_at(heatmap: Heatmap, position: ArrayLike, units: Any = None) -> int | None:
    """The tile at a place in the viewer.

    Parameters
    ----------
    heatmap
        Shows the tiles.
    position
        In world coordinates, as the viewer's mouse events give it; the last two are (y, x).
    units
        Of `position`, as ``viewer.layers.extent.units``; None for those of the heatmap's layer.

    Returns
    -------
    int or None
        Row of the prediction; None where there is no tile.
    """
    place = np.asarray(position, np.float64)[-2:]
    if units is not None:
        place = place * unit_factors(units, heatmap.layer.units)
    cell = np.asarray(heatmap.layer.world_to_data(place))
    # napari's pixel k reaches from k - 0.5 to k + 0.5.
    row, column = np.floor(cell + 0.5)
    return heatmap.raster.tile_at(int(row), int(column))


def in_full_resolution(heatmap: Heatmap, points: ArrayLike) -> NDArray[np.float64]:
    """Data coordinates (n, 2) of the heatmap's layer → full-resolution pixels (n, 2)."""
    raster = heatmap.raster
    return np.asarray(raster.center) + np.asarray(points, np.float64) * raster.step


def tile_side(heatmap: Heatmap) -> NDArray[np.float64]:
    """(2,) what the model sees of the slide at a tile: full-resolution pixels (y, x)."""
    about = notes(heatmap.prediction)
    return float(about["tile_px"]) * float(about["mpp"]) / slide_mpp(heatmap.prediction)


def unit_factors(units: Any, wanted: Any) -> NDArray[np.float64]:
    """(2,) what coordinates (y, x) are multiplied with to be in other units.

    1 between units that do not convert: napari lays pixels over µm number by number.
    """
    pairs = zip(units[-2:], wanted[-2:], strict=True)
    return np.array(
        [(1 * a).to(b).magnitude if a.is_compatible_with(b) else 1.0 for a, b in pairs], np.float64
    )
