"""Which tiles come first."""

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.inference.settings import Order
from napari_nh2st.tiles import TileGrid

_STRIP_TILES = 32
"""Width of the strips in which raster order runs, so that the decoded segments that wait for the
row of tiles below stay few, however wide the slide."""

_COARSEST = 8
"""Coarse to fine starts with every eighth row and column."""

_BLOCK_TILES = 4
"""Side of the blocks in which tiles are ordered where a prediction needs whole neighborhoods."""

_MOST_WAITING_TILES = 4096
"""Scattered blocks keep the tiles at their edges waiting for neighbors, encoded, in memory: of
more tiles than this all blocks come in one sweep."""


class Focus:
    """Where somebody looks: the rectangle whose tiles come first. May be moved while running.

    Thread-safe; the widget moves it, the schedule reads it.
    """

    def __init__(self, box: tuple[float, float, float, float] | None = None) -> None:
        self._lock = threading.Lock()
        self._box = box
        self._version = 0

    def move(self, box: tuple[float, float, float, float] | None) -> None:
        """Look at (y0, x0, y1, x1) in full-resolution pixels; None for nowhere."""
        with self._lock:
            if box != self._box:
                self._box = box
                self._version += 1

    def read(self) -> tuple[tuple[float, float, float, float] | None, int]:
        """The rectangle, and a number that changes when it does."""
        with self._lock:
            return self._box, self._version


class Schedule:
    """Hands out batches of tiles, each tile once, what is looked at first.

    Parameters
    ----------
    grid
        The tiles.
    tiles
        Which of them to hand out.
    batch_size
        Tiles in a batch; the last may be smaller.
    order
        Within what is looked at, and within the rest.
    whole_neighborhoods
        The prediction needs neighbors too: coarse to fine then orders compact blocks instead of
        tiles, since the neighborhoods of every eighth tile would not be complete.
    focus
        What is looked at.
    strip_tiles
        Width of the strips of raster order, for slides whose segments are wider than usual.
    """

    def __init__(
        self,
        grid: TileGrid,
        tiles: NDArray[np.int64],
        batch_size: int,
        order: Order,
        whole_neighborhoods: bool,
        focus: Focus | None = None,
        strip_tiles: int | None = None,
    ) -> None:
        self._strip_tiles = strip_tiles or _STRIP_TILES
        self._centers = grid.centers
        self._batch_size = batch_size
        self._focus = focus or Focus()
        # On a hexagonal array columns count half steps.
        columns_per_tile = 2 if grid.layout == "hexagonal" else 1
        self._row, self._column = grid.array[:, 0], grid.array[:, 1] // columns_per_tile
        self._coarse_to_fine = order == "coarse-to-fine"
        self._whole_neighborhoods = whole_neighborhoods
        self._rank = self._fixed_rank()
        self._left = tiles
        self._version: int | None = None

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        while len(self._left):
            box, version = self._focus.read()
            if version != self._version:
                self._left = self._left[np.lexsort((self._rank[self._left], self._unseen(box)))]
                self._version = version
            batch, self._left = self._left[: self._batch_size], self._left[self._batch_size :]
            yield batch

    def _fixed_rank(self) -> NDArray[np.int64]:
        """Place of each tile in the order that does not depend on the focus."""
        row, column = self._row, self._column
        keys: list[NDArray[np.int64]] = [column, row, column // self._strip_tiles]
        if self._coarse_to_fine:
            powers: tuple[int, ...] = (2, 4, _COARSEST)
            if self._whole_neighborhoods:
                row, column = row // _BLOCK_TILES, column // _BLOCK_TILES
                keys = [*keys[:2], column, row]
                powers = (2, 4) if len(row) <= _MOST_WAITING_TILES else ()
            stride = np.full(len(row), 1)
            for power in powers:
                stride[(row % power == 0) & (column % power == 0)] = power
            keys.append(-stride)
        rank = np.empty(len(row), np.int64)
        rank[np.lexsort(keys)] = np.arange(len(row))
        return rank

    def _unseen(self, box: tuple[float, float, float, float] | None) -> NDArray[np.float64]:
        """0 for tiles in view, growing with the distance from it for the others.

        In whole multiples of the view's own size, so that tiles alike far keep their fixed order.
        """
        if box is None:
            return np.zeros(len(self._left))
        low, high = np.array(box[:2]), np.array(box[2:])
        centers = self._centers[self._left]
        beyond = np.maximum(np.maximum(low - centers, centers - high), 0)
        size = max(float((high - low).max()), 1.0)
        return np.asarray(np.ceil(np.hypot(beyond[:, 0], beyond[:, 1]) / size))
