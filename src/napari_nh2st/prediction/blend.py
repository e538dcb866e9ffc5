"""Bilinear interpolation between the centers of tiles."""

import numpy as np
from numpy.typing import NDArray


class Blend:
    """Values at some places from those of the tiles around them.

    Parameters
    ----------
    array
        (n, 2) int, (row, column) of the tiles; on a hexagonal array columns count half steps.
    own
        (m,) tile whose cell a place lies in.
    places
        (m, 2) (row, column) in the steps of the array.
    hexagonal
        Whether the array is.
    """

    def __init__(
        self,
        array: NDArray[np.int64],
        own: NDArray[np.intp],
        places: NDArray[np.floating],
        hexagonal: bool,
    ) -> None:
        if hexagonal:  # along the axes down and half a step right, and right: then it is square
            odd = (array[0, 1] - array[0, 0]) % 2
            array, places = (
                np.stack([at[:, 0], (at[:, 1] - at[:, 0] - odd) / 2], 1) for at in (array, places)
            )
            array = array.astype(np.int64)
        least = array.min(0) - 1
        number = np.full(array.max(0) - least + 2, -1, np.int32)
        number[tuple((array - least).T)] = np.arange(len(array))
        first = np.floor(places).astype(np.int64)
        share = (places - first).astype(np.float32)
        corners = [(down, right) for down in (0, 1) for right in (0, 1)]
        tiles = np.stack([number[tuple((first + corner - least).T)] for corner in corners])
        weights = np.stack(
            [np.abs(1 - corner - share).prod(1) for corner in np.array(corners, np.float32)]
        )
        weights[tiles < 0] = 0
        self._own = own
        self._tiles = np.maximum(tiles, 0)
        self._weights = weights / weights.sum(0)

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n,) values of the tiles → (m,) values at the places.

        Tiles without a value do not count; in their own cells it is NaN.
        """
        known = np.isfinite(values)
        filled = np.where(known, values, 0).astype(np.float32)
        blended = self._sum(filled)
        if not known.all():
            blended /= np.maximum(self._sum(known.astype(np.float32)), np.float32(1e-6))
            blended[~known[self._own]] = np.nan
        return blended

    def _sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        total = np.zeros(self._tiles.shape[1], np.float32)
        for tiles, weights in zip(self._tiles, self._weights, strict=True):
            total += weights * values[tiles]
        return total
