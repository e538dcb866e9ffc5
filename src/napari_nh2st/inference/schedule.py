"""Order of the tiles.

Coarse to fine takes the refinements of a fine grid one after the other, so that the map is complete
at one step, and partly at the next, at any time.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.inference.settings import Order
from napari_nh2st.tiles import TileGrid
from napari_nh2st.tiles.grid import refinements_of

_STRIP_TILES = 32
"""Width, in pitches, of the strips in which raster order runs, so that the decoded segments that
wait for the row of tiles below stay few, however wide the slide."""

_COARSEST = 8
"""Coarse to fine starts with every eighth row and column."""

_BLOCK_TILES = 4
"""Side, in pitches, of the blocks in which tiles are ordered where a prediction needs whole
neighborhoods, and where a grid is refined."""

_MOST_WAITING_TILES = 4096
"""Scattered blocks keep the tiles at their edges waiting for neighbors, encoded, in memory: where
more tiles than this are in view, and out of view, blocks come in one sweep."""


class Focus:
    """The rectangle where the user is looking: its tiles come first. It may move during a run.

    Thread-safe; the widget moves it, the schedule reads it.
    """

    def __init__(self, box: tuple[float, float, float, float] | None = None) -> None:
        self._lock = threading.Lock()
        self._box = box
        self._version = 0

    def move(self, box: tuple[float, float, float, float] | None) -> None:
        """Move to (y0, x0, y1, x1) in full-resolution pixels; None for nowhere."""
        with self._lock:
            if box != self._box:
                self._box = box
                self._version += 1

    def read(self) -> tuple[tuple[float, float, float, float] | None, int]:
        """The rectangle, and a number that changes whenever it does."""
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
        tiles, since the neighborhoods of every eighth tile would not be complete. Those in view
        are spread evenly, unless they are very many; the others come in one sweep. A fine grid is
        always ordered by blocks, each refinement for itself.
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
        self._divisions = grid.divisions
        self._refinement = np.zeros(len(grid), np.int64)
        if order == "coarse-to-fine":
            self._refinement = refinements_of(grid.phases, grid.divisions)
        self._in_blocks = order == "coarse-to-fine" and (whole_neighborhoods or grid.divisions > 1)
        if self._in_blocks:
            self._rank, self._spread_rank = self._sweep_of_blocks(), self._spread_blocks()
        else:
            self._rank = self._single_tiles(order)
        self._left = tiles
        self._version: int | None = None

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        while len(self._left):
            box, version = self._focus.read()
            if version != self._version:
                self._left = self._left[np.lexsort(self._keys(box))]
                self._version = version
            batch, self._left = self._left[: self._batch_size], self._left[self._batch_size :]
            yield batch

    def _keys(self, box: tuple[float, float, float, float] | None) -> tuple[NDArray[Any], ...]:
        """Tiles that are left, the most important last."""
        unseen = self._unseen(box)
        rank, refinement = self._rank[self._left], self._refinement[self._left]
        if self._in_blocks:
            counts = np.bincount(refinement[unseen == 0], minlength=refinement.max() + 1)
            spread = (unseen == 0) & (counts <= _MOST_WAITING_TILES)[refinement]
            rank = np.where(spread, self._spread_rank[self._left], rank)
        return rank, unseen, refinement

    def _single_tiles(self, order: Order) -> NDArray[np.int64]:
        """Place of each tile in an order of tiles."""
        row, column = self._row, self._column
        keys: list[NDArray[np.int64]] = [
            column,
            row,
            column // (self._strip_tiles * self._divisions),
        ]
        if order == "coarse-to-fine":
            stride = np.full(len(row), 1)
            for power in (2, 4, _COARSEST):
                stride[(row % power == 0) & (column % power == 0)] = power
            keys.append(-stride)
        return _places(keys)

    def _sweep_of_blocks(self) -> NDArray[np.int64]:
        """Place of each tile where one block comes after the other, row by row."""
        return _places([self._column, self._row, *self._blocks()])

    def _spread_blocks(self) -> NDArray[np.int64]:
        """Place of each tile where blocks come as evenly over the slide as they can.

        The order is that of Bayer's matrix (1973): the blocks that have come are spread evenly at
        any time, and the first ones are the corners of squares of eight by eight blocks.
        """
        column, row = self._blocks()
        place = np.zeros(len(row), np.int64)
        for bit in range(_COARSEST.bit_length() - 1):
            down, right = row >> bit & 1, column >> bit & 1
            place = 4 * place + 2 * (down ^ right) + down
        return _places([self._column, self._row, column, row, place])

    def _blocks(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Column and row of each tile's block."""
        side = _BLOCK_TILES * self._divisions
        return self._column // side, self._row // side

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


def _places(keys: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Place of each in the order of keys, the last the most important."""
    places = np.empty(len(keys[0]), np.int64)
    places[np.lexsort(keys)] = np.arange(len(keys[0]))
    return places
