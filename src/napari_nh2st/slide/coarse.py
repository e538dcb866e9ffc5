"""Coarse levels of a slide that has no pyramid: made once, cached, read on demand."""

import errno
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from napari_nh2st.cache import cache_folder

from .colors import Once
from .level import DAMAGED_GREY, Level

_SEGMENT = 512
_COARSEST_SIDE = 1024
_COARSEST_SIDE_OF_PYRAMID = 4096
_KEPT_SEGMENTS = 64
_BAND_ROWS = 256
_THREADS = 4


class CoarseLevel(Level):
    """A level of half the size of another, by averaging 2 × 2 px.

    A segment is computed when it is first read and cached on disk; where the cache cannot be
    written, a few are kept in memory. Segments that cannot be read in the finer level are grey.

    Parameters
    ----------
    finer
        The level it is made from.
    folder
        Gives the folder its segments are cached in.
    """

    def __init__(self, finer: Level, folder: Callable[[], Path]) -> None:
        height, width = finer.shape
        super().__init__((-(-height // 2), -(-width // 2)), (_SEGMENT, _SEGMENT))
        self.finer = finer
        self._cache = Once(lambda: SegmentCache(folder, self.shape))

    @property
    def complete(self) -> bool:
        """Whether all of it was made."""
        return self._cache().complete

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Read one segment, made from the finer level if need be; see `Level.read_segment`."""
        cache = self._cache()
        cached = cache.get(row, column)
        if cached is not None:
            return cached
        # All that lie in the same strips of the finer level, so that those are decoded once.
        n_together = -(-self.finer.segment_shape[1] // (2 * _SEGMENT))
        first = column // n_together * n_together
        top, left, height, _ = self.segment_bounds(row, first)
        bottom = min(2 * (top + height), self.finer.shape[0])
        right = min(2 * (left + n_together * _SEGMENT), self.finer.shape[1])
        pixels = halved(
            self.finer.read(
                2 * top, 2 * left, bottom - 2 * top, right - 2 * left, damaged=DAMAGED_GREY
            )
        )
        segments = [pixels[:, x : x + _SEGMENT] for x in range(0, pixels.shape[1], _SEGMENT)]
        for offset, segment in enumerate(segments):
            cache.put(row, first + offset, segment)
        return segments[column - first].copy()

    def put_rows(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Cache one row of segments, (height, width of the level, 3)."""
        for column in range(self.n_segments[1]):
            left = column * _SEGMENT
            self._cache().put(row, column, pixels[:, left : left + _SEGMENT])

    def finish(self) -> None:
        """Note that all of it was made."""
        self._cache().finish()


class SegmentCache:
    """Segments of one coarse level in a zarr array, in memory where that cannot be written.

    Each segment is one chunk with a checksum. A segment counts as cached if its chunk is there
    and the checksum fits, so what a killed process left half-written is made again.
    """

    def __init__(self, folder: Callable[[], Path], shape: tuple[int, int]) -> None:
        self._shape = (*shape, 3)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._folder: Path | None = None
        self._array: Any = None
        self._finished = False
        self._writable = True
        try:
            self._folder = folder()
            self._array = self._existing(self._folder)
        except OSError:  # not for us to write, or what is there cannot be read: it is left
            self._writable = False

    @property
    def complete(self) -> bool:
        """Whether `finish` was called for all that is there."""
        return self._finished or (
            self._array is not None and self._array.attrs.get("complete") is True
        )

    def get(self, row: int, column: int) -> NDArray[np.uint8] | None:
        """The segment, None where it is not cached or is damaged."""
        with self._lock:
            if (row, column) in self._kept:
                self._kept.move_to_end((row, column))
                return self._kept[row, column]
        if self._array is None:
            return None
        try:
            if not self._chunk(row, column).is_file():
                return None
            return np.asarray(self._array[self._slices(row, column)])
        except Exception:  # damaged or not to be read, whatever says so: make it again
            return None

    def put(self, row: int, column: int, segment: NDArray[np.uint8]) -> None:
        """Cache one segment."""
        if self._folder is not None and self._writable:
            try:
                with self._lock:
                    if self._array is None:
                        self._array = self._created(self._folder)
                self._array[self._slices(row, column)] = segment
            except OSError:  # the disk is full, went away or may not be written
                self._writable = False
            else:
                return
        with self._lock:
            self._kept[row, column] = segment.copy()
            while len(self._kept) > _KEPT_SEGMENTS:
                self._kept.popitem(last=False)

    def finish(self) -> None:
        """Note that all segments were put."""
        n_segments = -(-self._shape[0] // _SEGMENT) * -(-self._shape[1] // _SEGMENT)
        if self._array is None or not self._writable:
            self._finished = len(self._kept) == n_segments
            return
        try:
            self._array.attrs["complete"] = True
        except OSError:
            self._finished = True

    def _existing(self, folder: Path) -> Any:
        if not (folder / "zarr.json").is_file():
            return None
        try:
            array = zarr.open_array(folder, mode="r+")
        except OSError as error:
            if error.errno in {None, errno.ENOENT}:
                return None
            raise
        except Exception:  # left by a process killed while making it
            return None
        fits = array.shape == self._shape and array.chunks == (_SEGMENT, _SEGMENT, 3)
        return array if fits else None

    def _created(self, folder: Path) -> Any:
        return zarr.create_array(
            folder,
            shape=self._shape,
            chunks=(_SEGMENT, _SEGMENT, 3),
            dtype=np.uint8,
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            config={"write_empty_chunks": True},
            overwrite=True,
        )

    def _chunk(self, row: int, column: int) -> Path:
        assert self._folder is not None
        return self._folder / "c" / str(row) / str(column) / "0"

    @staticmethod
    def _slices(row: int, column: int) -> tuple[slice, slice]:
        return (
            slice(row * _SEGMENT, (row + 1) * _SEGMENT),
            slice(column * _SEGMENT, (column + 1) * _SEGMENT),
        )


def derive_levels(native: Sequence[Level], cache_key: Callable[[], str]) -> tuple[CoarseLevel, ...]:
    """Coarse levels below the coarsest native one, until the slide fits a small picture.

    `cache_key` names the folder they are cached in; it is asked when the first of them is read.
    """
    limit = _COARSEST_SIDE if len(native) == 1 else _COARSEST_SIDE_OF_PYRAMID
    if max(native[-1].shape) <= limit:
        return ()
    levels: list[CoarseLevel] = []
    finer = native[-1]
    while max(finer.shape) > _COARSEST_SIDE:
        name = f"level_{len(native) + len(levels)}"
        level = CoarseLevel(finer, lambda name=name: cache_folder("levels") / cache_key() / name)  # type: ignore[misc]
        levels.append(level)
        finer = level
    return tuple(levels)


def build(
    levels: Sequence[CoarseLevel],
    progress: Callable[[int, int], None] | None,
    stop: threading.Event,
) -> None:
    """Make all of `levels` in one pass over what the first is made from.

    Reads bands of rows over the full width; holds one band of the source and up to one row of
    segments of each level.
    """
    source = levels[0].finer
    bands = [_Rows(level) for level in levels]
    rows, columns = (_even_multiple(size, _BAND_ROWS) for size in source.segment_shape)
    tops = range(0, source.shape[0], rows)
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, top in enumerate(tops, start=1):
            if stop.is_set():
                return
            height = min(rows, source.shape[0] - top)

            def read(left: int, top: int = top, height: int = height) -> NDArray[np.uint8]:
                width = min(columns, source.shape[1] - left)
                return halved(source.read(top, left, height, width, damaged=DAMAGED_GREY))

            band = np.concatenate(list(pool.map(read, range(0, source.shape[1], columns))), axis=1)
            _pass_on(bands, 0, band)
            if progress is not None:
                progress(done, len(tops))
    for level in levels:
        level.finish()


def _pass_on(bands: "Sequence[_Rows]", index: int, pixels: NDArray[np.uint8]) -> None:
    """Add rows to a level, and what that completes, halved, to the next coarser one."""
    for segment_row in bands[index].add(pixels):
        if index + 1 < len(bands):
            _pass_on(bands, index + 1, halved(segment_row))


class _Rows:
    """Collects a level's rows, which come from top to bottom, into rows of segments."""

    def __init__(self, level: CoarseLevel) -> None:
        self._level = level
        self._waiting: list[NDArray[np.uint8]] = []
        self._n_waiting = 0
        self._row = 0

    def add(self, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Take rows; cache and give each row of segments that is now complete."""
        self._waiting.append(pixels)
        self._n_waiting += len(pixels)
        while self._n_waiting >= (due := self._due()) > 0:
            joined = np.concatenate(self._waiting)
            segment_row, rest = joined[:due], joined[due:]
            self._waiting, self._n_waiting = [rest], len(rest)
            self._level.put_rows(self._row, segment_row)
            self._row += 1
            yield segment_row

    def _due(self) -> int:
        return min(_SEGMENT, self._level.shape[0] - self._row * _SEGMENT)


def halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average 2 × 2 px, (height, width, 3) to half of it; odd edges average what there is."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    total = pixels[0::2, 0::2].astype(np.uint16)
    total += pixels[0::2, 1::2]
    total += pixels[1::2, 0::2]
    total += pixels[1::2, 1::2]
    total += 2
    total >>= 2
    return total.astype(np.uint8)


def _even_multiple(size: int, at_least: int) -> int:
    """The smallest even multiple of `size` that is `at_least` so much."""
    step = size if size % 2 == 0 else 2 * size
    return step * -(-at_least // step)
