"""JPEG data, decoded with libjpeg's warnings taken for what they mostly are: damage.

A JPEG has no checksum. It shows damage only where its bits do not make up the image
exactly: libjpeg then warns of missing or left-over data, fills up with grey and goes on.
"""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

START, END = b"\xff\xd8", b"\xff\xd9"
MARKER_BYTES = 4
"""Of a marker and the length of its segment."""

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
_SCAN = b"\xff\xda"
_MOST_SIDE = 65500
"""What libjpeg itself takes; imagecodecs' build takes more."""

_MOST_SCANS = 500
_ZEROS = bytes(32)
_OF_DAMAGE = ("corrupt jpeg data", "premature end")
"""What libjpeg's warnings of damage say; it warns of rare but sound data, too."""

_LEFT_OVER = "extraneous bytes before marker 0xd9"
"""Its last warning, of bytes between image and end; it comes alone if all before was sound."""


class Suspicion(SegmentError):
    """The data can be decoded, but not as an undamaged image would be."""


class LeftOver(Suspicion):
    """The image is complete, and bytes are left between it and its end."""


@dataclass(frozen=True)
class JpegHeader:
    """Size and kind of a JPEG, as its segments before the first scan have them.

    Attributes
    ----------
    height, width, components, bits
        Size in px, number of components, and bits of a sample.
    scan
        Offset of the marker that begins the first scan.
    is_sequential
        Whether it is Huffman coded in one pass, as by nearly all scanners.
    exif
        The segment with its Exif data, as Pillow reads them; empty without.
    """

    height: int
    width: int
    components: int
    bits: int
    scan: int
    is_sequential: bool
    exif: bytes = b""


def read_header(data: bytes | BinaryIO) -> JpegHeader:
    """Read the segments up to the first scan (ITU T.81, B.1.1); of a file, no more than these.

    Raises
    ------
    SegmentError
        There is no image or no scan.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    frame: tuple[int, int, int, int] | None = None
    is_sequential, exif = False, b""
    position = 2 if file.read(2) == START else 0
    while position:
        file.seek(position)
        segment = file.read(10)
        if len(segment) < 4 or segment[0] != 0xFF:
            break
        marker = segment[1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _WITHOUT_LENGTH:
            position += 2
            continue
        if marker == 0xDA and frame is not None:
            bits, height, width, components = frame
            return JpegHeader(height, width, components, bits, position, is_sequential, exif)
        if marker == 0xE1 and segment.endswith(b"Exif\0\0"):
            exif = segment[4:] + file.read(max(0, int.from_bytes(segment[2:4]) - 8))
        if marker in _FRAMES and len(segment) == 10:
            frame = struct.unpack(">BHHB", segment[4:])
            is_sequential = marker in (0xC0, 0xC1)
        position += 2 + int.from_bytes(segment[2:4])
    raise SegmentError("the JPEG data has no image")


def decode_strictly(
    data: bytes, header: JpegHeader, *, is_rgb: bool = False
) -> NDArray[np.uint8] | None:
    """Decode a JPEG of 8 bits, grey or in color.

    Parameters
    ----------
    data
        A complete JPEG, its tables included.
    header
        As read from `data`.
    is_rgb
        The components are red, green and blue, whatever the data say.

    Returns
    -------
    ndarray or None
        uint8, (height, width, components), the same as libjpeg gives elsewhere; None where the
        JPEG is of a kind that only the general decoder reads, or no JPEG that can be decoded.

    Raises
    ------
    LeftOver
        libjpeg warns of bytes behind the image, and of nothing before.
    Suspicion
        libjpeg warns of damage.
    """
    is_plain = header.bits == 8 and header.components in (1, 3)
    if not is_plain or not 0 < max(header.height, header.width) < _MOST_SIDE:
        return None
    if header.height == 0 or header.width == 0:
        return None
    if is_rgb and header.components == 3:
        data = b"".join((data[: header.scan], _ADOBE, b"\0", data[header.scan :]))
    colors = "RGB" if header.components == 3 else "GRAY"
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colors, strict=True)
    except ValueError as error:
        words = str(error).lower()
        if any(of_damage in words for of_damage in _OF_DAMAGE):
            kind = LeftOver if _LEFT_OVER in words else Suspicion
            raise kind(f"the JPEG data is damaged ({error})") from error
        return None  # other warnings, and factors of subsampling that TurboJPEG has no name for
    return pixels


def check_scans(data: bytes, header: JpegHeader) -> None:
    """Look for what no encoder writes in the compressed data.

    Raises
    ------
    Suspicion
        There is a long run of zeros that the code tables cannot mean, or scans without end.
    """
    if not header.is_sequential:
        if data.count(_SCAN) > _MOST_SCANS:
            raise Suspicion(f"the JPEG data has more than {_MOST_SCANS} scans")
        return
    end = data.rfind(END)
    end = end if end > 0 else len(data)
    # Samples first, as two of them are within each such run: quicker than to look for the run.
    if b"\0\0" not in data[header.scan : end : len(_ZEROS) // 2]:
        return
    at = data.find(_ZEROS, header.scan, end)
    if at >= 0 and data.count(_SCAN) == 1 and not _zeros_are_flat(data):
        raise Suspicion("the JPEG data has a run of zeros")


def _zeros_are_flat(data: bytes) -> bool:
    """Whether zero bits mean blocks of one color, as with code tables made for flat images.

    The first symbol of a table has the code of zeros alone. Where the first of the tables for
    DC is "no change" and that of the tables for AC "end of block", both 0, zeros are legal.
    """
    firsts: list[int] = []
    position = data.find(b"\xff\xc4")
    while position >= 0:
        length = int.from_bytes(data[position + 2 : position + 4])
        at, end = position + 4, position + 2 + length
        while at + 17 < min(end, len(data)):
            n_symbols = sum(data[at + 1 : at + 17])
            firsts.append(data[at + 17])
            at += 17 + n_symbols
        position = data.find(b"\xff\xc4", max(end, position + 2))
    return not any(firsts)
