"""Encoded rows of a whole slide, kept until its context is complete."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.inference.transfer import to_device
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.tiles import TileGrid

NOT_FINITE = "the network's output for it is not finite, or beyond half precision"
"""Why a tile has no row, which would spoil the values of the whole slide."""

EncodedRows = tuple[NDArray[np.int64], NDArray[np.float16]]
"""Tiles (m,) by their places in the array, and their encoded rows (m, d)."""


class SlideRows:
    """What a network encodes of all tiles of a slide, in half precision, in the host's memory.

    100,000 tiles of 512 numbers take 102 MB. A grid finer than the model's pitch is as many grids
    of that pitch as it has phases; each of them is a slide of its own to the network, which so
    sees tiles as far from each other as in its training.

    Parameters
    ----------
    tiles
        All of the tissue.
    mpp
        µm/px of the slide, (y, x).

    Attributes
    ----------
    has_row, has_failed
        (n,) which tiles are encoded, and which could not be read.
    """

    def __init__(self, tiles: TileGrid, mpp: tuple[float, float]) -> None:
        self._tiles = tiles
        self._positions = (tiles.centers * np.asarray(mpp) / tiles.pitch_um).astype(np.float32)
        self._place = tiles.places
        self._rows: NDArray[np.float16] | None = None
        self.has_row = np.zeros(len(tiles), bool)
        self.has_failed = np.zeros(len(tiles), bool)

    @property
    def n_rows(self) -> int:
        """How many tiles are encoded."""
        return int(self.has_row.sum())

    @property
    def missing(self) -> NDArray[np.int64]:
        """(m,) tiles that are neither encoded nor known to have failed."""
        return np.flatnonzero(~self.has_row & ~self.has_failed)

    def add(self, tiles: NDArray[np.int64], rows: NDArray[np.float16]) -> None:
        """Take in the rows (m, d) of some tiles."""
        if self._rows is None:
            self._rows = np.zeros((len(self._tiles), rows.shape[1]), np.float16)
        self._rows[tiles] = rows
        self.has_row[tiles] = True

    def fail(self, tiles: NDArray[np.int64]) -> None:
        """Go on without some tiles."""
        self.has_failed[tiles] = True

    def take_over(self, parts: Iterable[EncodedRows]) -> None:
        """Take in what earlier runs encoded."""
        order = np.argsort(self._place)
        for places, rows in parts:
            at = np.searchsorted(self._place, places, sorter=order)
            tiles = order[np.minimum(at, len(order) - 1)]
            is_known = self._place[tiles] == places
            if is_known.any():
                self.add(tiles[is_known], rows[is_known])

    def as_stored(self, tiles: NDArray[np.int64]) -> EncodedRows:
        """Rows of some tiles, by their places in the array."""
        assert self._rows is not None
        return self._place[tiles], self._rows[tiles]

    def all_as_stored(self) -> EncodedRows:
        """Rows of all tiles that are encoded, by their places in the array."""
        if self._rows is None:
            return np.empty(0, np.int64), np.empty((0, 0), np.float16)
        return self.as_stored(np.flatnonzero(self.has_row))

    def combined(
        self, predictor: Predictor, device: torch.device, wanted: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Predictions of wanted tiles, phase after phase.

        Parameters
        ----------
        predictor
            With the reach ``"slide"``, on `device`.
        wanted
            (m,) tiles; those that failed have no prediction.

        Yields
        ------
        tiles, predictions
            (k,) and (k, columns).
        """
        is_wanted = np.zeros(len(self._tiles), bool)
        is_wanted[wanted] = True
        phases = self._tiles.phases
        # In the order of the array, whatever the region: a graph is cut by the order of its nodes.
        every = np.argsort(self._place, kind="stable")
        every = every[self.has_row[every]]
        for phase in np.unique(phases[wanted]):
            members = every[phases[every] == phase]
            chosen = is_wanted[members]
            if not chosen.any():
                continue
            assert self._rows is not None
            rows = to_device(self._rows[members], device)
            predicted = predictor.combine_slide(rows, to_device(self._positions[members], device))
            yield members[chosen], predicted.cpu().numpy()[chosen]
