"""Decodes the pieces (tiles or strips) of a TIFF page, and notices which of them are damaged."""

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

from . import jpeg
from .codestreams import JPEG_2000, WEBP, declared_shape, has_zeros
from .jpeg import Suspicion
from .jpeg_tables import check_tables
from .ycbcr import YCbCr

JPEG = {6, 7, 34892, 33007}
IMAGE_CODECS = JPEG_2000 | {22610, 34934, 34927, 50001, 50002, 52546}
"""They store images, not bytes: JPEG 2000, JPEG XR, WebP, JPEG XL."""
_LZW = 5
_PACKBITS = 32773
_MAY_HAVE_ZEROS = {_PACKBITS, 1, 8, 32946, 34925, 50013}  # raw, and Deflate and LZMA with sums
_SIMPLE_CODECS: dict[int, Callable[..., Any]] = {
    _LZW: imagecodecs.lzw_decode,
    _PACKBITS: imagecodecs.packbits_decode,
}
_MOST_ZEROS_OF_LZW = 8


def _decompressor(layout: tifffile.TiffPage) -> Callable[..., Any] | None:
    """What undoes the compression of a page of packed YCbCr; None where there is none.

    Raises
    ------
    ValueError
        It is not known, or not used with such pixels.
    """
    if int(layout.bitspersample) != 8 or layout.predictor != 1:
        raise ValueError("is YCbCr with subsampling of more than 8 bits, or with a predictor")
    if layout.compression == 1:
        return None
    codec: Callable[..., Any] = tifffile.TIFF.DECOMPRESSORS[layout.compression]
    return codec


class PieceDecoder:
    """Decodes pieces of one layout.

    Parameters
    ----------
    page
        The page, or a frame with the layout of `layout`.
    layout
        Its key frame.
    piece_shape
        Rows and columns of a piece.
    n_planes
        Planes that are stored apart.

    Attributes
    ----------
    doubt
        What looks damaged in the tables of a JPEG page and may not be; ``""`` for nothing.

    Raises
    ------
    SegmentError
        The page's JPEG tables are damaged.
    ValueError, NotImplementedError
        It cannot decode this layout at all.
    """

    def __init__(
        self,
        page: tifffile.TiffPage | tifffile.TiffFrame,
        layout: tifffile.TiffPage,
        piece_shape: tuple[int, int],
        n_planes: int,
    ) -> None:
        self._compression = int(layout.compression)
        self.ycbcr = None if self._compression in JPEG else YCbCr.of(layout)
        self._is_packed = (
            self.ycbcr is not None
            and self.ycbcr.is_subsampled
            and self._compression not in IMAGE_CODECS
            and n_planes == 1
        )
        self._decode: Any = None
        if self._is_packed:
            self._decompress = _decompressor(layout)
        else:
            if self._compression in IMAGE_CODECS and n_planes == 1:
                # These codecs enlarge chroma themselves: for them, tifffile need not know.
                layout.subsampling = (1, 1)
            self._decode = layout.decode
            self._decode(None, 0)
        self._height, self._width = layout.imagelength, layout.imagewidth
        self._piece_shape = piece_shape
        self._n_columns = -(-self._width // piece_shape[1])
        self._n_rows = -(-self._height // piece_shape[0])
        self._is_tiled = bool(layout.is_tiled)
        self._samples = layout.samplesperpixel // n_planes
        self._options: dict[str, Any] = {}
        self._tables = self._header = b""
        self.doubt = ""
        self._parsed: jpeg.JpegHeader | None = None
        self._latest: tuple[bytes, jpeg.JpegHeader | None] = b"", None
        if self._compression in JPEG:
            self._options = {"jpegtables": page.jpegtables, "jpegheader": layout.jpegheader}
            self._tables, self._header = page.jpegtables or b"", layout.jpegheader or b""
            self.doubt = check_tables(self._header or self._tables)
            if self._header:
                self._parsed = jpeg.read_header(self._header)
            self._is_rgb = layout.photometric == 2 and not layout.is_jfif
            self._is_strict = not layout.extrasamples and layout.photometric in (0, 1, 2, 6)
        self._simple_codec = None
        codes_samples = int(layout.bitspersample) in (8, 16, 32) and layout.predictor in (1, 2)
        if codes_samples and not self._is_packed:
            self._simple_codec = _SIMPLE_CODECS.get(self._compression)
        self._predicts = layout.predictor == 2
        self._reversed_bits = layout.fillorder == 2
        self._stored_type = np.dtype(layout.parent.byteorder + np.dtype(layout.dtype).char)

    def decode(self, data: bytes, index: int) -> NDArray[Any]:
        """Decode a piece as far as that gets.

        Parameters
        ----------
        data
            Its bytes.
        index
            Its number in the page.

        Returns
        -------
        ndarray
            (rows, columns, samples); lower or narrower at the edges where it is stored so.

        Raises
        ------
        Exception
            Every decoder has its own kind.
        """
        if self._is_packed:
            return self._unpacked(data, index)
        pixels: Any = self._decode(data, index, **self._options)[0]
        return np.asarray(pixels[0])

    def decode_checked(self, data: bytes, index: int) -> NDArray[Any]:
        """Decode a piece as `decode` does, if it is not damaged.

        Raises
        ------
        Suspicion
            It can be decoded, but no sound writer's data look so.
        SegmentError
            Its size is not that of a piece.
        """
        if self._compression in JPEG:
            return self._jpeg(data, index)
        stated = declared_shape(data, self._compression)
        if stated is not None and stated not in self._shapes(index):
            raise SegmentError(self._has_wrong_shape(stated))
        if self._compression not in _MAY_HAVE_ZEROS and _is_zeroed(data, self._compression):
            raise Suspicion("the compressed data has a run of zeros")
        if self._simple_codec is not None:
            return self._simple(data, index)
        return self.decode(data, index)

    def _unpacked(self, data: bytes, index: int) -> NDArray[Any]:
        """Decode YCbCr in blocks of luma with less chroma."""
        assert self.ycbcr is not None
        rows = self._piece_shape[0] if self._is_tiled else self._rows(index)
        columns = self._piece_shape[1]
        if self._reversed_bits:
            data = bytes(imagecodecs.bitorder_decode(data))
        if self._decompress is not None:
            # A little more than may be there: what is longer is cut off, what is shorter damaged.
            data = bytes(self._decompress(data, out=self.ycbcr.n_bytes(*self._piece_shape) + 64))
        return self.ycbcr.unpack(data, rows, columns)

    def _jpeg(self, data: bytes, index: int) -> NDArray[Any]:
        if self._header:  # of an NDPI: pieces are the data between restart markers
            whole = self._header + data + jpeg.END
        elif not data.startswith(jpeg.START):
            raise SegmentError("the JPEG data has no start")
        elif jpeg.END not in data.rstrip(b"\0")[-16:]:
            raise Suspicion("the JPEG data has no end")
        elif self._tables:
            whole = jpeg.START + self._tables[2:-2] + data[2:]
        else:
            whole = data
        header = self._header_of(whole)
        shape = (header.height, header.width)
        if 0 not in shape and shape not in self._shapes(index):
            raise SegmentError(self._has_wrong_shape(shape))
        jpeg.check_scans(whole, header)
        pixels = None
        if self._is_strict and header.components == self._samples:
            pixels = jpeg.decode_strictly(whole, header, is_rgb=self._is_rgb)
        if pixels is None:
            return self.decode(data, index)
        return pixels[: self._rows(index)] if not self._is_tiled else pixels

    def _header_of(self, whole: bytes) -> jpeg.JpegHeader:
        """The header of a JPEG, which most pieces have in common."""
        if self._parsed is not None:
            return self._parsed
        start, header = self._latest
        if header is None or not whole.startswith(start):
            header = jpeg.read_header(whole)
            self._latest = whole[: header.scan + jpeg.MARKER_BYTES], header
        return header

    def _simple(self, data: bytes, index: int) -> NDArray[Any]:
        """Decode what would otherwise be cut off or filled up where its length is wrong."""
        rows, columns = self._piece_shape
        row_bytes = columns * self._samples * self._stored_type.itemsize
        assert self._simple_codec is not None
        raw = self._simple_codec(
            imagecodecs.bitorder_decode(data) if self._reversed_bits else data,
            out=rows * row_bytes + 64,
        )
        allowed = {rows * row_bytes, self._rows(index) * row_bytes}
        if len(raw) not in allowed:
            raise Suspicion(f"it decodes to {len(raw):,} bytes, not {max(allowed):,}")
        pixels = np.frombuffer(raw, self._stored_type)
        pixels = pixels.reshape(-1, columns, self._samples).astype(
            self._stored_type.newbyteorder("="), copy=False
        )
        if self._predicts:
            pixels = np.asarray(imagecodecs.delta_decode(pixels, axis=-2))
        return pixels if self._is_tiled else pixels[: self._rows(index)]

    def _rows(self, index: int) -> int:
        """Rows of a piece that lie in the image."""
        row = index // self._n_columns % self._n_rows
        return min(self._piece_shape[0], self._height - row * self._piece_shape[0])

    def _shapes(self, index: int) -> set[tuple[int, int]]:
        """Shapes that the data of a piece may have: full, or cut off at the image's edge."""
        (rows, columns), inside = self._piece_shape, self._rows(index)
        column = index % self._n_columns
        right = min(columns, self._width - column * columns)
        if not self._is_tiled:
            return {(height, columns) for height in range(inside, rows + 1)}
        return {(rows, columns), (inside, right), (inside, columns)}

    def _has_wrong_shape(self, shape: tuple[int, int]) -> str:
        rows, columns = self._piece_shape
        return f"its data are of {shape[0]} × {shape[1]} px, not {rows} × {columns}"


def _is_zeroed(data: bytes, compression: int) -> bool:
    """Whether there are zeros that the codec does not write, but for padding behind its data."""
    if data.startswith(b"\xff\x4f\xff\x51") and b"\xff\xd9" not in data[-16:]:
        raise Suspicion("the JPEG 2000 data has no end")
    if compression in WEBP:
        return has_zeros(data[: 8 + int.from_bytes(data[4:8], "little")])
    if compression == _LZW:
        at = data.find(bytes(_MOST_ZEROS_OF_LZW))
        return at >= 0 and bool(data[at:].strip(b"\0"))
    return has_zeros(data.rstrip(b"\0"))
