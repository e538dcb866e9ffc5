"""Coarser values for tiles that are still to come, so that a map sharpens like an image."""

from functools import cached_property

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.prediction.lattice import divisions, phases, step_um
from napari_nh2st.prediction.schema import PENDING, STATUS, slide_mpp
from napari_nh2st.spots.positions import centers
from napari_nh2st.tiles.grid import refinements_of

_REACH = 0.75
"""Coarser steps to the nearest coarser tile, at most: half the diagonal of a square is 0.71."""


class Sharpening:
    """Stands in for values of a fine grid from those of the coarser grids in it.

    Parameters
    ----------
    prediction
        At tiles; ``obs["status"]`` says which are still to come.
    """

    def __init__(self, prediction: AnnData) -> None:
        self._prediction = prediction

    @classmethod
    def of(cls, prediction: AnnData) -> "Sharpening | None":
        """That of a prediction; None where its grid has no coarser one in it."""
        return cls(prediction) if divisions(prediction) > 1 else None

    def fill(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Put the nearest coarser value in the place of those that are still to come.

        Parameters
        ----------
        values
            (n,) of the tiles, NaN where there is none.

        Returns
        -------
        ndarray
            (n,), NaN where a tile could not be read, and where no coarser one is near.
        """
        missing = np.isnan(values)
        status = self._prediction.obs.get(STATUS)  # other tools leave columns out
        if status is None:
            return values
        if missing.any():
            missing &= status.to_numpy(object) == PENDING
        if not missing.any() or missing.all():  # there is nothing to fill, or to fill it with
            return values
        filled = values.copy()
        for tiles, coarser in self._refinements:
            empty = missing[tiles]
            filled[tiles[empty]] = filled[coarser[empty]]
        return filled

    @cached_property
    def _refinements(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Of each refinement in turn, its tiles that have a coarser one near, and which."""
        prediction, parts = self._prediction, divisions(self._prediction)
        refinement = refinements_of(phases(prediction), parts)
        at = centers(prediction) * slide_mpp(prediction)
        found = []
        for number in range(1, int(refinement.max(initial=0)) + 1):
            tiles = np.flatnonzero(refinement == number)
            coarser = np.flatnonzero(refinement < number)
            if not (len(tiles) and len(coarser)):
                continue
            spacing = step_um(prediction) * _stride_before(number, parts)
            distance, near = KDTree(at[coarser]).query(at[tiles])
            is_near = distance <= _REACH * spacing
            found.append((tiles[is_near], coarser[near[is_near]]))
        return found


def _stride_before(refinement: int, parts: int) -> int:
    """Steps between the tiles of the grid that a refinement divides."""
    for _ in range(refinement - 1):
        parts //= next(n for n in range(2, parts + 1) if parts % n == 0)
    return parts
