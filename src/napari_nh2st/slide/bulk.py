"""Many tiles of one level, each native segment decoded once."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError
from napari_nh2st.slide.level import WHITE, Level

_Segment = tuple[int, int]


@dataclass(frozen=True)
class TileBatch:
    """Some tiles of a level.

    Parameters
    ----------
    index
        (n,) which tiles.
    pixels
        (n, height, width, 3) uint8, white beyond the slide's edge and where a tile failed.
    failures
        Reason by position in ``index``, for tiles that touch a segment that cannot be read.
    """

    index: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    failures: dict[int, str]


class BulkReader:
    """Reads tiles of a level in any order, by any number of threads.

    It knows beforehand how many tiles touch each segment, so a decoded segment is kept until the
    last of them has been read, and no longer. The kept segments are bounded: beyond
    ``max_bytes`` those not used for the longest go, and are decoded again if needed.

    Parameters
    ----------
    level
        What to read.
    top_left
        (n, 2) int, (y, x) of each tile in pixels of the level; may lie beyond its edges.
    size
        (height, width) of a tile in pixels of the level.
    max_bytes
        Bound on the kept segments.
    """

    def __init__(
        self,
        level: Level,
        top_left: NDArray[np.int64],
        size: tuple[int, int],
        max_bytes: int = 128 * 2**20,
    ) -> None:
        self.level = level
        self.size = size
        self._top_left = top_left
        # Two rows of tiles touch up to four segments even where these are as wide as the slide.
        self._max_bytes = max(max_bytes, 4 * 3 * level.segment_shape[0] * level.segment_shape[1])
        low, high = np.clip(top_left, 0, level.shape), np.clip(top_left + size, 0, level.shape)
        # First and one past the last segment of each tile; empty for tiles wholly off the level.
        self._first = low // level.segment_shape
        self._stop = np.where(high > low, -(-high // level.segment_shape), self._first)
        self._uses = self._count_uses(level.n_segments)
        self._kept: OrderedDict[_Segment, Future[NDArray[np.uint8]]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def _count_uses(self, n_segments: tuple[int, int]) -> NDArray[np.int32]:
        # Sum of boxes by differences at their corners: no loop over tiles.
        corners = np.zeros((n_segments[0] + 1, n_segments[1] + 1), np.int32)
        (y0, x0), (y1, x1) = self._first.T, self._stop.T
        filled = (y1 > y0) & (x1 > x0)
        for y, x, sign in ((y0, x0, 1), (y1, x1, 1), (y0, x1, -1), (y1, x0, -1)):
            np.add.at(corners, (y[filled], x[filled]), sign)
        return corners.cumsum(0).cumsum(1)[:-1, :-1].astype(np.int32)

    def read(self, index: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> TileBatch:
        """Read some tiles.

        Parameters
        ----------
        index
            (n,) which of the tiles; over all calls, each tile is to be read once.
        out
            (n, height, width, 3) uint8 to read them into; new memory by default.
        """
        pixels = np.empty((len(index), *self.size, 3), np.uint8) if out is None else out
        top_left = self._top_left[index]
        beyond = (top_left < 0) | (top_left + self.size > self.level.shape)
        pixels[beyond.any(1)] = WHITE
        failures: dict[int, str] = {}
        pieces = list(self._pieces(index, top_left))
        if self.level.is_remote:
            with self._lock:
                missing = [key for key, _ in pieces if key not in self._kept]
            self.level.prefetch(missing)
        for key, copies in pieces:
            try:
                segment = self._take(key, len(copies))
            except SegmentError as error:
                failures |= dict.fromkeys((tile for tile, *_ in copies), str(error))
                continue
            for tile, y0, x0, y1, x1, top, left, bottom, right in copies:
                pixels[tile, y0:y1, x0:x1] = segment[top:bottom, left:right]
        pixels[list(failures)] = WHITE
        return TileBatch(index, pixels, failures)

    def _pieces(
        self, index: NDArray[np.int64], top_left: NDArray[np.int64]
    ) -> Iterator[tuple[_Segment, list[list[int]]]]:
        """The segments that tiles touch, each once, and what is copied of them.

        Places are found for all tiles together: what is done for each of them holds the lock of
        the interpreter, for which the threads wait.

        Yields
        ------
        segment, copies
            And for each tile that touches it: the tile's position in `index`; top, left, bottom
            and right of the copy in the tile, and those in the segment.
        """
        first, stop = self._first[index], self._stop[index]
        shape, segment_shape = np.array(self.level.shape), np.array(self.level.segment_shape)
        across = stop[:, 1] - first[:, 1]
        counts = (stop[:, 0] - first[:, 0]) * across
        tile = np.repeat(np.arange(len(index)), counts)
        nth = np.arange(len(tile)) - np.repeat(counts.cumsum() - counts, counts)
        segment = first[tile] + np.stack(np.divmod(nth, across[tile]), axis=1)
        order = np.lexsort((segment[:, 1], segment[:, 0]))
        tile, segment = tile[order], segment[order]
        corner = segment * segment_shape
        low = np.maximum(corner, top_left[tile])
        high = np.minimum(np.minimum(corner + segment_shape, shape), top_left[tile] + self.size)
        of_tile, of_segment = top_left[tile], corner
        copies = np.column_stack(
            [tile, low - of_tile, high - of_tile, low - of_segment, high - of_segment]
        ).tolist()
        starts = np.flatnonzero(np.append(True, (segment[1:] != segment[:-1]).any(1))[: len(tile)])
        ends = [*starts[1:].tolist(), len(tile)]
        for start, end in zip(starts.tolist(), ends, strict=False):
            row, column = segment[start].tolist()
            yield (row, column), copies[start:end]

    def _take(self, key: _Segment, uses: int) -> NDArray[np.uint8]:
        """A decoded segment for some tiles; the last that take it remove it from the kept ones."""
        mine: Future[NDArray[np.uint8]] | None = None
        with self._lock:
            self._uses[key] -= uses
            kept = self._kept.get(key)
            if kept is None:
                kept = mine = Future()
                self._kept[key] = mine
            else:
                self._kept.move_to_end(key)
        if mine is not None:
            try:
                segment = self.level.read_segment(*key)
            except SegmentError as error:
                mine.set_exception(error)
            except BaseException as error:
                mine.set_exception(error)
                raise
            else:
                mine.set_result(segment)
                with self._lock:
                    self._kept_bytes += segment.nbytes
        try:
            return kept.result()  # raises the SegmentError again for all whom it concerns
        finally:
            with self._lock:
                if self._uses[key] <= 0:
                    self._drop(key)
                elif self._kept_bytes > self._max_bytes:
                    self._drop_oldest()

    def _drop(self, key: _Segment) -> None:
        future = self._kept.get(key)
        if future is None or not future.done():
            return  # dropped before and being decoded again: who does that drops it
        del self._kept[key]
        if future.exception() is None:
            self._kept_bytes -= future.result().nbytes

    def _drop_oldest(self) -> None:
        done = [key for key, future in self._kept.items() if future.done()]
        for key in done:
            if self._kept_bytes <= self._max_bytes // 2:
                break
            self._drop(key)
