"""A level stored as a zarr array."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import RemoteError, SegmentError, first_line
from napari_nh2st.remote import SlidePath

from .colors import ToRGB, sample_over
from .level import Level
from .zarr_chunks import ChunkFiles

_MARGIN = 2
_LOST_SHARE = 0.1
_MOST_CHUNKS_COUNTED = 20_000
_MOST_COMPARED = 1 << 22
"""Pixels of a level that others are compared with."""

_LOSSY = 8
"""Differences up to this are those of a lossy codec."""


class Axes(NamedTuple):
    """Positions of the axes in an array; those that are neither are read at index 0."""

    y: int
    x: int
    channel: int | None
    n: int


class ZarrLevel(Level):
    """A level stored as a zarr array; a segment is one chunk in y and x.

    Parameters
    ----------
    array
        The array, with the axes given by `axes`.
    to_rgb
        Converts samples, (height, width, channels).
    n_channels
        How many channels are read.
    name
        Names the level in errors.
    folder
        The folder of the store that the array is in.
    """

    def __init__(
        self,
        array: Any,
        axes: Axes,
        to_rgb: ToRGB,
        n_channels: int,
        name: str,
        folder: SlidePath | None = None,
    ) -> None:
        super().__init__(
            (array.shape[axes.y], array.shape[axes.x]), (array.chunks[axes.y], array.chunks[axes.x])
        )
        self._array = array
        self._axes = axes
        self._to_rgb = to_rgb
        self._n_channels = n_channels
        self._label = name
        self._files = None if folder is None else ChunkFiles(array, folder)
        stored = getattr(array, "shards", None) or array.chunks
        self._steps = stored[axes.y], stored[axes.x]
        self._others: tuple[ZarrLevel, ...] = ()
        self._is_brightfield = False

    def look_for_lost_chunks(
        self, others: "Sequence[ZarrLevel]", compared: "ZarrLevel | None"
    ) -> str | None:
        """Take this level for one of a brightfield slide, of which nothing is left out.

        A chunk that is not stored counts as the fill value by zarr's rules, which lets writers
        leave out empty ones. It is reported as lost where the same chunk of another channel is
        there, or where another level shows something else at its place.

        Parameters
        ----------
        others
            The levels next to this one, the coarser first.
        compared
            Another level that is small enough to be read at once, if there is one.

        Returns
        -------
        str or None
            A notice where chunks are not stored, and no other level shows that they were empty.
        """
        self._others, self._is_brightfield = tuple(others), True
        if self._files is None or self._files.is_remote:
            return None
        if self._files.n_chunks > _MOST_CHUNKS_COUNTED:
            return None
        missing, n_chunks = self._files.missing(), self._files.n_chunks
        if len(missing) == n_chunks:
            return None
        if compared is not None and missing:
            missing = self._not_empty_in(compared, missing)
            why = f"although {compared._label} shows something there: they are lost"
        else:
            why = f"and shown {self._fill_in_words}: they were empty, or are lost"
        if not missing:
            return None
        return (
            f"{len(missing):,} of the {n_chunks:,} chunks of {self._label} are not stored, {why}."
        )

    @property
    def is_small(self) -> bool:
        """Whether it can be read at once, to compare others with it."""
        return self.shape[0] * self.shape[1] <= _MOST_COMPARED

    @property
    def _fill(self) -> NDArray[Any]:
        return np.asarray(self._array.fill_value if self._array.fill_value is not None else 0)

    @property
    def _fill_in_words(self) -> str:
        fill = self._fill.item()
        return {0: "black", 255: "white"}.get(fill, f"in the color {fill}")

    def _not_empty_in(
        self, other: "ZarrLevel", chunks: Sequence[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        """Those of the chunks in whose inner part another level shows no empty background."""
        drawn = np.zeros(other.shape, bool)
        for row in range(other.n_segments[0]):
            for column in range(other.n_segments[1]):
                top, left, height, width = other.segment_bounds(row, column)
                with suppress(SegmentError):
                    pixels = other._samples(row, column).astype(float)
                    there = np.abs(pixels - self._fill).max(-1) > _LOSSY
                    drawn[top : top + height, left : left + width] = there
        scales = [theirs / own for theirs, own in zip(other.shape, self.shape, strict=True)]
        found = []
        for index in chunks:
            inner = []
            for axis, scale, size in zip(
                (self._axes.y, self._axes.x), scales, self._steps, strict=True
            ):
                first, last = index[axis] * size * scale, (index[axis] + 1) * size * scale
                inner.append(slice(int(np.ceil(first)) + 1, max(int(last) - 1, 0)))
            if drawn[tuple(inner)].any():
                found.append(index)
        return found

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Read one chunk; see `Level.read_segment`."""
        return self._to_rgb(self._samples(row, column))

    @property
    def is_remote(self) -> bool:
        """See `Level.is_remote`."""
        return self._files is not None and self._files.is_remote

    def prefetch(self, segments: Iterable[tuple[int, int]]) -> None:
        """Ask a server for several chunks at a time; see `Level.prefetch`."""
        if self._files is not None:
            self._files.prefetch(
                file for segment in segments for file in self._files.of(self._where(*segment))
            )

    def sample(self) -> NDArray[Any]:
        """Stored samples, (pixels, channels), of a few chunks over the level."""
        found = sample_over(self._samples, self.n_segments)
        return np.zeros((1, self._n_channels), self._array.dtype) if found is None else found

    def _samples(self, row: int, column: int) -> NDArray[Any]:
        _, _, height, width = self.segment_bounds(row, column)
        axes = self._axes
        where = self._where(row, column)
        kept = {axes.y: 0, axes.x: 1}
        if axes.channel is not None:
            kept[axes.channel] = 2
        try:
            if not self._is_stored(where) and self._is_brightfield:
                self._check_empty(row, column)
            pixels = np.asarray(self._array[tuple(where)])
        except RemoteError:
            raise
        except Exception as error:  # every codec has its own kind of error
            reason = first_line(error)
            raise SegmentError(f"{self._label}, row {row}, column {column}: {reason}") from error
        order = sorted(range(pixels.ndim), key=lambda i: kept[sorted(kept)[i]])
        return pixels.transpose(order).reshape(height, width, -1)

    def _where(self, row: int, column: int) -> list[int | slice]:
        """Indices of a segment along the axes of the array."""
        top, left, height, width = self.segment_bounds(row, column)
        axes = self._axes
        where: list[int | slice] = [0] * axes.n
        where[axes.y], where[axes.x] = slice(top, top + height), slice(left, left + width)
        if axes.channel is not None:
            where[axes.channel] = slice(0, self._n_channels)
        return where

    def _is_stored(self, where: Sequence[int | slice]) -> bool:
        """Whether all chunk files of a segment are there; those of some of its channels, raises."""
        if self._files is None:
            return True
        files = self._files.of(where)
        missing = [file for file in files if not self._files.check(file)]
        if missing and len(missing) < len(files) and self._is_brightfield:
            raise SegmentError(f"the chunk {missing[0].name} is missing")
        return not missing

    def _check_empty(self, row: int, column: int) -> None:
        """Raise where another level has something in the place of a segment that is not stored."""
        top, left, height, width = self.segment_bounds(row, column)
        fill = self._fill
        for other in self._others:
            scale_y, scale_x = (b / a for a, b in zip(self.shape, other.shape, strict=True))
            first = (top * scale_y, left * scale_x)
            last = ((top + height) * scale_y, (left + width) * scale_x)
            seen = [
                pixels.reshape(-1, pixels.shape[-1])
                for pixels in other._stored_within(*first, *last)
            ]
            if seen and (np.concatenate(seen) != fill).any(-1).mean() > _LOST_SHARE:
                raise SegmentError("its chunk is missing")

    def _stored_within(
        self, top: float, left: float, bottom: float, right: float
    ) -> Iterator[NDArray[Any]]:
        """Samples of the stored segments in a rectangle, without its margin."""
        rows, columns = self.segment_shape
        y0, x0 = int(top) + _MARGIN, int(left) + _MARGIN
        y1 = min(int(bottom) - _MARGIN, self.shape[0])
        x1 = min(int(right) - _MARGIN, self.shape[1])
        if y0 >= y1 or x0 >= x1:
            return
        for row in range(y0 // rows, (y1 - 1) // rows + 1):
            for column in range(x0 // columns, (x1 - 1) // columns + 1):
                where = self._where(row, column)
                try:
                    if not self._is_stored(where):
                        continue
                    pixels = self._samples(row, column)
                except SegmentError:
                    continue
                seg_top, seg_left, _, _ = self.segment_bounds(row, column)
                yield pixels[
                    max(y0 - seg_top, 0) : y1 - seg_top, max(x0 - seg_left, 0) : x1 - seg_left
                ]
