"""The tiles of a running prediction: which are done, with what values, and which failed."""

from collections.abc import Iterable

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.inference.plan import Plan
from napari_nh2st.inference.run_results import Rows
from napari_nh2st.prediction.rows import fill_rows, rows_of
from napari_nh2st.prediction.schema import PREDICTED, STATUS, named_layers
from napari_nh2st.prediction.value_arrays import BLOCK_BYTES, leave_memory


class Run:
    """The tiles of a prediction as they get done.

    Parameters
    ----------
    plan
        What is to be done.
    prediction
        Filled as tiles come.
    """

    def __init__(self, plan: Plan, prediction: AnnData) -> None:
        self.prediction = prediction
        self.total = len(plan.grid)
        self.is_done = np.zeros(self.total, bool)
        self.failures: dict[int, str] = {}
        self._neighborhoods = plan.neighborhoods
        self._whole_slide = plan.whole_slide
        # In the store a tile goes by its place in the array. Tiles beyond the rows are those that
        # rows are predicted from.
        self._place = plan.tiles.places
        self._filled_bytes = 0
        self._failed_neighbors: set[int] = set()
        self._stored_neighbors: set[int] = set()

    @property
    def done(self) -> int:
        """How many rows are done."""
        return int(self.is_done.sum())

    @property
    def left(self) -> NDArray[np.int64]:
        """Rows that are not done."""
        return np.flatnonzero(~self.is_done)

    def leave_out(self, rows: NDArray[np.int64]) -> None:
        """Compute some rows alone: the others are another process's."""
        self.is_done[:] = True
        self.is_done[rows] = False

    def fill(
        self, tiles: NDArray[np.int64], rows: NDArray[np.float32], failures: dict[int, str]
    ) -> None:
        """Take in rows, and why tiles failed."""
        fill_rows(self.prediction, tiles, rows)
        self.is_done[tiles] = True
        self.failures |= failures
        self._filled_bytes += rows.nbytes
        if self._filled_bytes > BLOCK_BYTES:
            self._filled_bytes = 0
            for values in (self.prediction.X, *named_layers(self.prediction).values()):
                leave_memory(values)

    def own_failures(self, failures: dict[int, str]) -> dict[int, str]:
        """The rows among tiles that could not be read, which have no value for it.

        The others were wanted for their neighbors' sake: beyond the rows, or done before.
        """
        own = {t: why for t, why in failures.items() if t < self.total and not self.is_done[t]}
        self._failed_neighbors |= failures.keys() - own.keys()
        return own

    def as_stored(self, tiles: NDArray[np.int64], rows: NDArray[np.float32]) -> Rows:
        """Rows by the numbers that tiles have in the store.

        Neighbors that failed come with them: what was predicted without them is not taken
        over.
        """
        new = np.array(sorted(self._failed_neighbors - self._stored_neighbors), np.int64)
        self._stored_neighbors |= self._failed_neighbors
        nothing = np.full((len(new), rows.shape[1]), np.nan, np.float32)
        return self._place[np.concatenate([tiles, new])], np.concatenate([rows, nothing])

    def all_as_stored(self) -> Rows:
        """Rows of all that is done, by the numbers that tiles have in the store."""
        self._stored_neighbors = set()
        tiles = np.flatnonzero(self.is_done)
        return self.as_stored(tiles, rows_of(self.prediction, tiles))

    def take_over(self, parts: Iterable[Rows]) -> NDArray[np.int64]:
        """Fill in what was computed before; (m,) rows that are new by it.

        Parameters
        ----------
        parts
            By the numbers that tiles have in the store. What comes later of a tile counts.
        """
        before = self.is_done.copy()
        order = np.argsort(self._place)
        has_failed = np.zeros(len(order), bool)
        for places, rows in parts:
            at = np.searchsorted(self._place, places, sorter=order)
            tiles = order[np.minimum(at, len(order) - 1)]
            is_known = self._place[tiles] == places
            tiles, rows = tiles[is_known], rows[is_known]
            # The last of each, should a part have a tile twice.
            tiles, last = np.unique(tiles[::-1], return_index=True)
            rows = rows[::-1][last]
            has_failed[tiles] = ~np.isfinite(rows).all(1)
            is_new = tiles < self.total
            is_new[is_new] = ~before[tiles[is_new]]
            self.fill(tiles[is_new], rows[is_new], {})
        # A tile that failed may have been on a disk that was away: it is tried again, and with it
        # those that did without it as their neighbor.
        again = has_failed[: self.total].copy()
        if self._whole_slide:
            again |= has_failed.any()
        elif has_failed.any() and self._neighborhoods is not None:
            again |= has_failed[self._neighborhoods[0][: self.total]].any(1)
        again = np.flatnonzero(again & self.is_done & ~before)
        columns = rows_of(self.prediction, again[:0]).shape[1]
        fill_rows(self.prediction, again, np.full((len(again), columns), np.nan, np.float32))
        self.is_done[again] = False
        self.write_status()
        return np.flatnonzero(self.is_done & ~before)

    def write_status(self) -> None:
        """Say in ``obs["status"]`` what is done, and why what has no value has none."""
        status = self.prediction.obs[STATUS].to_numpy(object).copy()
        status[self.is_done] = PREDICTED
        for tile, reason in self.failures.items():
            status[tile] = reason
        self.prediction.obs[STATUS] = status
