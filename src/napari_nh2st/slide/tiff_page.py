"""The stored pieces (tiles or strips) of TIFF pages, and those in impossible places."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError, first_line

from .codestreams import JPEG_2000, jpeg_2000_size
from .colors import Once, spread
from .file_bytes import RemoteBytes, SlideBytes
from .jpeg import Suspicion
from .limits import check_decoded_size
from .piece_decoder import IMAGE_CODECS, JPEG, PieceDecoder
from .ycbcr import YCbCr

_APERIO_YCBCR = 33003
_DECODES_TO_RGB = JPEG | (IMAGE_CODECS - JPEG_2000)
_RAW_ROWS = 256
_COMPARED_PIECES = 8
_MISPLACED = "its place in the file is damaged"

_PADDING = 4096


class StoredPage:
    """One TIFF page as a grid of pieces in its own sample type.

    Parameters
    ----------
    page
        The page, or a frame with the layout of its key frame.
    file
        The file the page is in.
    shift
        Bytes from the page's data to the wanted plane, for writers that describe a stack of
        contiguous planes by one page.

    Attributes
    ----------
    shape, samples
        Height, width and samples per pixel.
    dtype, bits
        Type of a sample and how many of its bits are used.
    piece_shape, n_pieces
        Rows and columns of a piece, and of the grid of pieces.
    places
        (n, 2) int64, offset and bytes of each stored piece.
    misplaced
        (n,) bool, the pieces that cannot lie where the file says; set by who knows all pages.
    doubt
        What looks damaged and may not be; ``""`` for nothing.

    Raises
    ------
    SegmentError
        What all its pieces need is damaged.
    ValueError, NotImplementedError
        It cannot be decoded at all.
    """

    def __init__(
        self, page: tifffile.TiffPage | tifffile.TiffFrame, file: SlideBytes, shift: int = 0
    ) -> None:
        layout = page.keyframe
        if layout is None:
            raise ValueError("is a page without its key frame")
        separate, depth, height, width, contiguous = layout.shaped
        if depth != 1 or layout.dtype is None or height < 1 or width < 1:
            raise ValueError("is a volume or has no pixels")
        self.shape = (height, width)
        self.samples = separate * contiguous
        self.dtype = np.dtype(layout.dtype)
        self.bits = int(layout.bitspersample)
        self.is_tiled = bool(layout.is_tiled)
        self._file = file
        self._planes = separate
        self._offsets = np.asarray(page.dataoffsets, np.int64)
        self._counts = np.asarray(page.databytecounts, np.int64)
        if not len(self._offsets) or not len(self._counts):
            raise ValueError("is a page without a list of its tiles or strips")
        self._raw_type = np.dtype(layout.parent.byteorder + self.dtype.char)
        self._is_raw = bool(layout.is_final) and self.dtype != np.bool_ and self._holds_all()
        if self._is_raw:
            self._offsets = self._offsets[:1] + shift
            self._counts = np.array([self._n_bytes])
            self.piece_shape = (min(_RAW_ROWS, height), width)
            self.is_tiled = False
        elif self.is_tiled:
            self.piece_shape = (layout.tilelength, layout.tilewidth)
        else:
            self.piece_shape = (min(layout.rowsperstrip, height), width)
        self.n_pieces = (-(-height // self.piece_shape[0]), -(-width // self.piece_shape[1]))
        self._is_jpeg_2000 = layout.compression in JPEG_2000
        self._is_ycbcr = self.samples == 3 and (
            layout.compression == _APERIO_YCBCR
            or (layout.photometric == 6 and layout.compression not in _DECODES_TO_RGB)
        )
        self._ycbcr = YCbCr.of(layout) or YCbCr()
        self.doubt = ""
        if not self._is_raw:
            self._check_size()
            self._decoder = PieceDecoder(page, layout, self.piece_shape, separate)
            self.doubt = self._decoder.doubt
            self._writer_does_so = Once(self._is_habit)
        n = min(len(self._offsets), len(self._counts))
        self.places = np.stack([self._offsets[:n], self._counts[:n]], axis=-1)
        self.misplaced = np.zeros(n, np.bool_)

    @property
    def end(self) -> int:
        """Offset of the first byte behind the page's pixels in the file."""
        n = min(len(self._offsets), len(self._counts))
        ends = np.where(self._counts[:n] > 0, self._offsets[:n] + self._counts[:n], 0)
        return int(ends.max(initial=0))

    @property
    def _n_bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.samples * self.dtype.itemsize

    def _holds_all(self) -> bool:
        """Whether the byte counts say that all pixels are there (a sparse page has zeros)."""
        return self._offsets[0] > 0 and bool((self._counts > 0).all())

    def read_piece(self, row: int, column: int) -> NDArray[Any] | None:
        """Decode one piece to (rows, columns, samples); None where the file has none.

        Raises
        ------
        SegmentError
            With the reason, not the place.
        """
        if self._is_raw:
            return self._read_rows(row)
        planes = []
        for plane in range(self._planes):
            pixels = self._decoded((plane * self.n_pieces[0] + row) * self.n_pieces[1] + column)
            if pixels is None:
                return None
            planes.append(pixels)
        return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)

    @property
    def is_remote(self) -> bool:
        """Whether the file is at a URL."""
        return isinstance(self._file, RemoteBytes)

    def prefetch(self, pieces: Iterable[tuple[int, int]]) -> None:
        """Fetch the bytes of pieces, (row, column), together where they are at a URL."""
        if isinstance(self._file, RemoteBytes):
            self._file.prefetch(place for piece in pieces for place in self._places_of(*piece))

    def _places_of(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        """Offset and bytes of a piece, of each plane."""
        for plane in range(self._planes):
            if self._is_raw:
                yield self._place_of_rows(row, plane)
                continue
            index = (plane * self.n_pieces[0] + row) * self.n_pieces[1] + column
            if index < len(self.places):
                yield int(self._offsets[index]), int(self._counts[index])

    def _place_of_rows(self, row: int, plane: int) -> tuple[int, int]:
        """Offset and bytes of rows of a page that is stored in one run."""
        height, width = self.shape
        top = row * self.piece_shape[0]
        rows = min(self.piece_shape[0], height - top)
        row_bytes = width * (self.samples // self._planes) * self.dtype.itemsize
        return int(self._offsets[0]) + (plane * height + top) * row_bytes, rows * row_bytes

    def _read_rows(self, row: int) -> NDArray[Any]:
        """Rows of a page stored without compression in one run of bytes."""
        if self.misplaced.any():
            raise SegmentError(_MISPLACED)
        planes = []
        for plane in range(self._planes):
            data = self._read(*self._place_of_rows(row, plane))
            pixels = np.frombuffer(data, self._raw_type)
            pixels = pixels.reshape(-1, self.shape[1], self.samples // self._planes)
            planes.append(pixels.astype(self.dtype, copy=False))
        rgb = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)
        return self._ycbcr.to_rgb(rgb) if self._is_ycbcr else rgb

    def _decoded(self, index: int) -> NDArray[Any] | None:
        if index >= len(self._offsets) or index >= len(self._counts):
            return None
        offset, count = int(self._offsets[index]), int(self._counts[index])
        if self.misplaced[index]:
            raise SegmentError(_MISPLACED)
        if count == 0 or offset == 0:
            return None
        data = self._read(offset, count)
        try:
            try:
                piece = self._decoder.decode_checked(data, index)
            except Suspicion:
                if not self._writer_does_so():
                    raise
                piece = self._decoder.decode(data, index)
        except SegmentError:
            raise
        except Exception as error:  # every decoder has its own kind of error
            raise SegmentError(first_line(error)) from error
        if self._is_ycbcr and not (self._is_jpeg_2000 and _chroma_is_subsampled(data)):
            piece = self._ycbcr.to_rgb(piece)
        return piece

    def _is_habit(self) -> bool:
        """Whether most pieces look damaged, so that it is their writer's way.

        Some pad their data, or leave out its end.
        """
        usable = np.flatnonzero((self._counts[: len(self.misplaced)] > 0) & ~self.misplaced)
        if len(usable) < 3:
            return False
        places = spread(len(usable), _COMPARED_PIECES)
        suspicious = 0
        for index in usable[places]:
            data = self._read(int(self._offsets[index]), int(self._counts[index]))
            try:
                self._decoder.decode_checked(data, int(index))
            except Suspicion:
                suspicious += 1
            except Exception:  # damaged without doubt, which says nothing of the writer
                continue
        return 2 * suspicious > len(places)

    def _check_size(self) -> None:
        """Raise where one piece would fill the memory."""
        rows, columns = self.piece_shape
        n_bytes = rows * columns * self.samples * self.dtype.itemsize
        kind = "tile" if self.is_tiled else "strip"
        what = f"a {kind} of {rows:,} × {columns:,} px"
        check_decoded_size(self._file.path, what, n_bytes, of_many=self.n_pieces != (1, 1))

    def _read(self, offset: int, count: int) -> bytes:
        try:
            data = self._file.read(offset, count)
        except OSError as error:
            raise SegmentError(first_line(error)) from error
        if len(data) < count:
            raise SegmentError(f"the file has {len(data)} of its {count} bytes")
        return data


def _chroma_is_subsampled(codestream: bytes) -> bool:
    """Whether a JPEG 2000 image of three components has smaller chroma.

    Then the decoder has enlarged the chroma and converted to RGB by itself; else it hands out
    YCbCr as it is stored.
    """
    size = jpeg_2000_size(codestream)
    sampling = size[40:49]  # (depth, XRsiz, YRsiz) per component
    return len(sampling) == 9 and (sampling[4] > 1 or sampling[5] > 1)


def mark_misplaced(pages: Sequence[StoredPage], starts: NDArray[np.int64], size: int) -> None:
    """Mark the pieces whose place in the file must be wrong, as the list of them is damaged.

    Parameters
    ----------
    pages
        All pages of one file whose pixels are used.
    starts
        Sorted offsets at which something else begins.
    size
        Bytes of the file.
    """
    places = np.concatenate([page.places for page in pages])
    wrong = misplaced(places[:, 0], places[:, 1], np.append(starts, size))
    ends = np.cumsum([len(page.places) for page in pages])
    for page, of_page in zip(pages, np.split(wrong, ends[:-1]), strict=True):
        page.misplaced[:] = of_page


def misplaced(
    offsets: NDArray[np.int64], counts: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pieces cannot lie where they should.

    That is those that overlap others without being the same; those of a size but no place; and
    those of a place but no size where nothing else begins for a while, so that there must be
    data. (The pieces that a sparse file leaves out have no place, or that of the next piece.)

    Parameters
    ----------
    offsets, counts
        (n,) where each begins and its bytes.
    others
        Sorted offsets at which something else begins.
    """
    wrong = (offsets <= 0) & (counts > 0)
    stored = np.flatnonzero((offsets > 0) & (counts > 0))
    stored = stored[np.lexsort((counts[stored], offsets[stored]))]
    starts, ends = offsets[stored], offsets[stored] + counts[stored]
    same = np.append((starts[1:] == starts[:-1]) & (ends[1:] == ends[:-1]), False)
    # One that overlaps several others is the wrong one; of two, either may be.
    behind = np.searchsorted(starts, ends) - np.searchsorted(starts, starts, "right")
    before = np.searchsorted(starts, starts) - np.searchsorted(np.sort(ends), starts, "right")
    overlaps_several = (behind + before > 1) & ~same
    wrong[stored[overlaps_several]] = True
    stored = stored[~overlaps_several]
    starts, ends = offsets[stored], offsets[stored] + counts[stored]
    overlaps = starts[1:] < np.maximum.accumulate(ends)[:-1]
    overlaps &= (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
    wrong[stored[1:][overlaps]] = True
    wrong[stored[:-1][overlaps]] = True
    empty = np.flatnonzero((offsets > 0) & (counts <= 0))
    begins = np.unique(np.concatenate([starts, others]))
    following = np.searchsorted(begins, offsets[empty])
    following = np.minimum(following, len(begins) - 1)
    wrong[empty] = begins[following] - offsets[empty] > _padding(counts)
    return wrong


def _padding(counts: NDArray[np.int64]) -> int:
    """Bytes between pieces that may be padding: less than most pieces have."""
    stored = counts[counts > 0]
    return int(min(_PADDING, np.median(stored) / 4)) if len(stored) else _PADDING
