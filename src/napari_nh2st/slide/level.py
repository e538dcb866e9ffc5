"""One resolution of a slide, read segment by segment."""

import itertools
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

WHITE = 255
DAMAGED_GREY = 128
"""What a viewer sees where a segment cannot be read."""

_from_array: Any = da.from_array  # dask has types, but not here
_VIEWER_CHUNK = 1024
_VIEWER_CHUNK_AREA = 2048 * 2048


class Level(ABC):
    """One resolution of a slide. All methods may be called from several threads at once.

    Parameters
    ----------
    shape
        Height and width of the level in its own pixels.
    segment_shape
        Rows and columns of one native segment, the part that is decoded at once. Segments lie on
        a regular grid from the upper left corner; those at the lower and right edges are cut off.
    """

    def __init__(self, shape: tuple[int, int], segment_shape: tuple[int, int]) -> None:
        self.shape = shape
        self.segment_shape = (min(segment_shape[0], shape[0]), min(segment_shape[1], shape[1]))
        self._name = f"slide-level-{uuid.uuid4().hex}"

    def __repr__(self) -> str:
        (height, width), (rows, columns) = self.shape, self.segment_shape
        return f"<{type(self).__name__} {height} × {width}, segments of {rows} × {columns}>"

    @property
    def is_remote(self) -> bool:
        """Whether segments come from a server; `prefetch` then gets several at once, faster."""
        return False

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences on problems met while reading that the user should know of."""
        return ()

    @property
    def n_segments(self) -> tuple[int, int]:
        """Number of rows and columns of segments."""
        return (
            -(-self.shape[0] // self.segment_shape[0]),
            -(-self.shape[1] // self.segment_shape[1]),
        )

    @abstractmethod
    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Decode one native segment.

        Returns
        -------
        numpy.ndarray
            uint8, (height, width, 3), RGB, cut off at the edge of the level.

        Raises
        ------
        SegmentError
            The segment cannot be read; the message gives the reason.
        """

    def prefetch(self, segments: Iterable[tuple[int, int]]) -> None:  # noqa: B027
        """Fetch the data of some segments, (row, column), of a remote level, to decode them later.

        Raises
        ------
        RemoteError
            The server does not deliver it.
        """

    def segment_bounds(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Top, left, height and width of one segment in pixels of this level."""
        n_rows, n_columns = self.n_segments
        if not (0 <= row < n_rows and 0 <= column < n_columns):
            raise IndexError(f"no segment ({row}, {column}) among {n_rows} × {n_columns}")
        top, left = row * self.segment_shape[0], column * self.segment_shape[1]
        height = min(self.segment_shape[0], self.shape[0] - top)
        width = min(self.segment_shape[1], self.shape[1] - left)
        return top, left, height, width

    def read(
        self,
        y: int,
        x: int,
        height: int,
        width: int,
        fill: int = WHITE,
        *,
        damaged: int | None = None,
    ) -> NDArray[np.uint8]:
        """Read a rectangle, which may reach beyond the level.

        Parameters
        ----------
        y, x
            Upper left corner in pixels of this level; may be negative.
        height, width
            Size in pixels of this level.
        fill
            Value outside the level.
        damaged
            Value for the pixels of a segment that cannot be read; None raises instead.

        Returns
        -------
        numpy.ndarray
            uint8, (height, width, 3), RGB.

        Raises
        ------
        SegmentError
            A segment cannot be read and `damaged` is None.
        """
        out = np.full((height, width, 3), fill, np.uint8)
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + height, self.shape[0]), min(x + width, self.shape[1])
        if y0 >= y1 or x0 >= x1:
            return out
        rows, columns = self.segment_shape
        touched = (
            range(y0 // rows, (y1 - 1) // rows + 1),
            range(x0 // columns, (x1 - 1) // columns + 1),
        )
        if self.is_remote:
            self.prefetch(itertools.product(*touched))
        for row, column in itertools.product(*touched):
            top, left, segment_height, segment_width = self.segment_bounds(row, column)
            sy0, sy1 = max(top, y0), min(top + segment_height, y1)
            sx0, sx1 = max(left, x0), min(left + segment_width, x1)
            target = out[sy0 - y : sy1 - y, sx0 - x : sx1 - x]
            try:
                segment = self.read_segment(row, column)
            except SegmentError:
                if damaged is None:
                    raise
                target[:] = damaged
                continue
            target[:] = segment[sy0 - top : sy1 - top, sx0 - left : sx1 - left]
        return out

    @property
    def viewer_chunk(self) -> tuple[int, int]:
        """Rows and columns of a viewer's chunk: whole segments."""
        rows, columns = self.segment_shape
        tall, wide = -(-_VIEWER_CHUNK // rows), -(-_VIEWER_CHUNK // columns)
        while tall > 1 and tall * rows * min(wide * columns, self.shape[1]) > _VIEWER_CHUNK_AREA:
            tall -= 1
        return tall * rows, wide * columns

    def to_dask(self) -> Any:
        """The level as a lazy dask array, uint8, (height, width, 3), RGB.

        Chunks are whole multiples of segments, about 1024 to 2048 px. A segment that cannot be
        read shows as mid grey. The graph stays symbolic: its cost does not grow with the number
        of segments.
        """
        return _from_array(
            ArrayView(self),
            chunks=(*self.viewer_chunk, 3),
            name=self._name,
            asarray=False,
            meta=np.empty((0, 0, 0), np.uint8),
        )


def is_downsample(full: tuple[int, int], previous: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Whether a level of this shape is level 0 made smaller, and smaller than the one before."""
    if not (0 < shape[0] < previous[0] and 0 < shape[1] < previous[1]):
        return False
    expected = full[0] * shape[1] / full[1]
    return abs(expected - shape[0]) <= max(2, 0.02 * shape[0])


class ArrayView:
    """What dask slices: a level that looks like an array and never raises for damage.

    Parameters
    ----------
    level
        The level.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, level: Level) -> None:
        self._level = level
        self.shape = (*level.shape, 3)

    def read(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Pixels of a rectangle, grey where they are damaged; see `Level.read`."""
        return self._level.read(y, x, height, width, damaged=DAMAGED_GREY)

    def __getitem__(self, key: tuple[int | slice, int | slice, int | slice]) -> NDArray[np.uint8]:
        # dask hands over what the viewer asked for: slices, and whole numbers for single pixels.
        picked = [
            range(*part.indices(size)) if isinstance(part, slice) else range(part, part + 1)
            for part, size in zip(key[:2], self._level.shape, strict=True)
        ]
        low = [min(indices, default=0) for indices in picked]
        high = [max(indices, default=-1) + 1 for indices in picked]
        block = self.read(low[0], low[1], high[0] - low[0], high[1] - low[1])
        within = (
            slice(None) if indices.step == 1 else np.asarray(indices, np.intp) - start
            for indices, start in zip(picked, low, strict=True)
        )
        rows, columns = within
        block = block[rows][:, columns]
        single = tuple(slice(None) if isinstance(part, slice) else 0 for part in key[:2])
        return np.asarray(block[(*single, key[2])])
