"""Many tiles of one level, each native segment decoded once."""

import threading
from collections import OrderedDict
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
        failures = {}
        for position, tile in enumerate(index):
            try:
                self._fill(pixels[position], int(tile))
            except SegmentError as error:
                pixels[position] = WHITE
                failures[position] = str(error)
        return TileBatch(index, pixels, failures)

    def _fill(self, tile_pixels: NDArray[np.uint8], tile: int) -> None:
        top, left = (int(v) for v in self._top_left[tile])
        height, width = self.size
        if (
            top < 0
            or left < 0
            or top + height > self.level.shape[0]
            or left + width > self.level.shape[1]
        ):
            tile_pixels[:] = WHITE
        segment_height, segment_width = self.level.segment_shape
        failure: SegmentError | None = None
        for row in range(self._first[tile, 0], self._stop[tile, 0]):
            for column in range(self._first[tile, 1], self._stop[tile, 1]):
                try:
                    segment = self._take((row, column))
                except SegmentError as error:
                    failure = error  # go on: the uses of the other segments have to be counted
                    continue
                y, x = row * segment_height - top, column * segment_width - left
                y0, x0 = max(y, 0), max(x, 0)
                y1 = min(y + segment.shape[0], height)
                x1 = min(x + segment.shape[1], width)
                tile_pixels[y0:y1, x0:x1] = segment[y0 - y : y1 - y, x0 - x : x1 - x]
        if failure is not None:
            raise failure

    def _take(self, key: _Segment) -> NDArray[np.uint8]:
        """A decoded segment; the last tile that takes it removes it from the kept ones."""
        mine: Future[NDArray[np.uint8]] | None = None
        with self._lock:
            self._uses[key] -= 1
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
            return kept.result()  # raises the SegmentError again for each tile that it concerns
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
