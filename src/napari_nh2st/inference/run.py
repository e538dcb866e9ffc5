"""The tiles of a running prediction: which are done, with what values, and which failed."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.inference.plan import Plan
from napari_nh2st.inference.run_results import Rows
from napari_nh2st.prediction.rows import fill_rows, rows_of
from napari_nh2st.prediction.schema import PREDICTED, STATUS


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
        # In the store a tile goes by its place in the array, which is the same in every region.
        # Tiles beyond the rows are those that rows have as neighbors.
        array = plan.tiles.array
        self._place = array[:, 0] * plan.tiles.array_shape[1] + array[:, 1]
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

    def take_over(self, places: NDArray[np.int64], rows: NDArray[np.float32]) -> NDArray[np.int64]:
        """Fill in what was computed before; (m,) rows that are new by it."""
        tile_of = {int(place): tile for tile, place in enumerate(self._place)}
        tiles = np.array([tile_of.get(place, -1) for place in places.tolist()], np.int64)
        tiles, rows = tiles[tiles >= 0], rows[tiles >= 0]
        # A tile that failed may have been on a disk that was away: it is tried again, and with it
        # those that did without it as their neighbor.
        again = ~np.isfinite(rows).all(1)
        failed = tiles[again]
        again |= tiles >= self.total
        if len(failed) and self._neighborhoods is not None:
            again |= np.isin(self._neighborhoods[0][tiles], failed).any(1)
        again |= np.isin(tiles, np.flatnonzero(self.is_done))
        self.fill(tiles[~again], rows[~again], {})
        self.write_status()
        return tiles[~again]

    def write_status(self) -> None:
        """Say in ``obs["status"]`` what is done, and why what has no value has none."""
        status = self.prediction.obs[STATUS].to_numpy(object).copy()
        status[self.is_done] = PREDICTED
        for tile, reason in self.failures.items():
            status[tile] = reason
        self.prediction.obs[STATUS] = status
