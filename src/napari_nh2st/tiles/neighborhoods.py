"""Neighborhoods: each tile with its nearest."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

_TILES_AT_ONCE = 20_000


def neighborhoods(
    centers: NDArray[np.float64], size: int = 9
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the nearest tiles of every tile, itself first.

    As in the released NH2ST with spots, tiles at the edge of the tissue take the nearest tiles,
    however far away. Of tiles equally far, those with the lower index come first.

    Parameters
    ----------
    centers
        (n, 2) in any unit of length that is the same on both axes.
    size
        Number of tiles in a neighborhood, including the tile itself.

    Returns
    -------
    index
        (n, size) int64. If there are fewer than ``size`` tiles in all, the remaining places hold
        the tile itself.
    mask
        (n, size) bool, False at those places.

    Examples
    --------
    >>> index, mask = neighborhoods(np.array([[0.0, 0], [0, 1], [0, 3]]), size=2)
    >>> index.tolist()
    [[0, 1], [1, 0], [2, 1]]
    """
    count = len(centers)
    found = min(size, count)
    # Beyond the wanted ones look far enough to see every tile that ties with the last of them:
    # on a regular array at most 8 share a distance this near, at an edge fewer.
    looked = min(count, found + 12)
    tree = KDTree(centers)
    nearest = tree.query(centers, k=[min(2, looked)])[0][:, 0]
    scale = nearest.mean() or 1.0
    index = np.repeat(np.arange(count)[:, None], size, axis=1)
    for first in range(0, count, _TILES_AT_ONCE):
        tiles = slice(first, min(first + _TILES_AT_ONCE, count))
        distance, near = tree.query(centers[tiles], k=np.arange(1, looked + 1))
        # Round, so that ties are ties; the tile itself is nearest even where centers coincide.
        rounded = np.round(distance / scale, 6)
        rounded[near == np.arange(tiles.start, tiles.stop)[:, None]] = -1
        order = np.lexsort((near, rounded), axis=-1)[:, :found]
        index[tiles, :found] = np.take_along_axis(near, order, axis=1)
    mask = np.zeros((count, size), bool)
    mask[:, :found] = True
    return index, mask


def array_spacing(centers: NDArray[np.float64]) -> float:
    """Pitch of the array that centers (n, 2) are on: the median distance to the nearest other.

    In their unit; 1 where there is a single one.
    """
    if len(centers) < 2:
        return 1.0
    distance, _ = KDTree(centers).query(centers, k=[2])
    return float(np.median(distance)) or 1.0


def neighborhoods_in_phases(
    centers: NDArray[np.float64], phases: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the nearest tiles of every tile among those of its own phase.

    Parameters
    ----------
    centers
        As for :func:`neighborhoods`.
    phases
        (n,) phase of each tile, see :func:`~napari_nh2st.tiles.grid.phases_of`.
    size
        As for :func:`neighborhoods`.

    Returns
    -------
    index, mask
        As from :func:`neighborhoods`, with `index` counting all tiles.
    """
    index = np.empty((len(centers), size), np.int64)
    mask = np.empty((len(centers), size), bool)
    for phase in np.unique(phases):
        tiles = np.flatnonzero(phases == phase)
        near, filled = neighborhoods(centers[tiles], size)
        index[tiles], mask[tiles] = tiles[near], filled
    return index, mask
