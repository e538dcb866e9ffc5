"""A level of a TIFF slide."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

from .colors import ToRGB, sample_over
from .level import WHITE, Level
from .tiff_page import StoredPage

_LOW_PIECE = 64
_GROUP_ROWS = 256


class TiffLevel(Level):
    """A level stored as tiles, or as strips.

    Several strips, or the very low tiles of an NDPI (often 8 rows), make one segment.

    Parameters
    ----------
    channels
        The pages that make up the pixels: one, or one for each channel, all of one layout.
    to_rgb
        Converts the samples of all channels.
    name
        Names the level in errors.
    background
        Value where the file stores nothing.
    """

    def __init__(
        self,
        channels: Sequence[StoredPage],
        to_rgb: ToRGB,
        name: str,
        background: int = WHITE,
    ) -> None:
        rows, columns = channels[0].piece_shape
        self._pieces_per_segment = 1
        if rows < _LOW_PIECE or not channels[0].is_tiled:
            self._pieces_per_segment = -(-_GROUP_ROWS // rows)
        super().__init__(channels[0].shape, (rows * self._pieces_per_segment, columns))
        self._channels = tuple(channels)
        self._to_rgb = to_rgb
        self._label = name
        self._background = background

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Decode one segment; see `Level.read_segment`."""
        _, _, height, width = self.segment_bounds(row, column)
        if self._pieces_per_segment == 1:
            rgb = self._read_piece(row, row, column)
            if rgb is not None and rgb.shape[0] >= height and rgb.shape[1] >= width:
                rgb = rgb[:height, :width]
                return rgb if rgb.flags.writeable else rgb.copy()
        out = np.full((height, width, 3), self._background, np.uint8)
        piece_rows = self._channels[0].piece_shape[0]
        first = row * self._pieces_per_segment
        for top in range(0, height, piece_rows):
            rgb = self._read_piece(row, first + top // piece_rows, column)
            if rgb is not None:
                target = out[top : top + rgb.shape[0], : rgb.shape[1]]
                target[:] = rgb[: target.shape[0], : target.shape[1]]
        return out

    @property
    def is_remote(self) -> bool:
        """See `Level.is_remote`."""
        return self._channels[0].is_remote

    def prefetch(self, segments: Iterable[tuple[int, int]]) -> None:
        """Fetch the bytes of several segments together; see `Level.prefetch`."""
        pieces = [
            (row, column)
            for segment_row, column in segments
            for row in range(
                segment_row * self._pieces_per_segment,
                min((segment_row + 1) * self._pieces_per_segment, self._channels[0].n_pieces[0]),
            )
        ]
        for page in self._channels:
            page.prefetch(pieces)

    def sample(self) -> NDArray[Any]:
        """Stored samples, (pixels, samples), of a few pieces over the level."""
        height, width = self.shape
        rows, columns = self._channels[0].piece_shape

        def inside(row: int, column: int) -> NDArray[Any] | None:
            # Whole tiles are stored: what lies beyond the edge says nothing of the slide.
            pixels = self._samples(row, column)
            return (
                pixels
                if pixels is None
                else pixels[: height - row * rows, : width - column * columns]
            )

        found = sample_over(inside, self._channels[0].n_pieces)
        if found is None:
            n_samples = sum(page.samples for page in self._channels)
            return np.zeros((1, n_samples), self._channels[0].dtype)
        return found

    def _read_piece(self, row: int, piece_row: int, column: int) -> NDArray[np.uint8] | None:
        try:
            pixels = self._samples(piece_row, column)
        except SegmentError as error:
            raise SegmentError(f"{self._label}, row {row}, column {column}: {error}") from error
        return None if pixels is None else self._to_rgb(pixels)

    def _samples(self, row: int, column: int) -> NDArray[Any] | None:
        """Samples of all channels of one piece, (rows, columns, samples)."""
        if len(self._channels) == 1:
            return self._channels[0].read_piece(row, column)
        pieces = [page.read_piece(row, column) for page in self._channels]
        stored = [piece for piece in pieces if piece is not None]
        if not stored:
            return None
        blank = np.zeros_like(stored[0])
        return np.concatenate([blank if piece is None else piece for piece in pieces], axis=-1)
