"""What compressed data tell of themselves without being decoded."""

import struct

JPEG_2000 = {33003, 33004, 33005, 34712}
WEBP = {34927, 50001}
PNG = {34933}

_MOST_ZEROS = 2112
"""More are no part of compressed data: to code them would have been shorter by more than the
64th part of a block that Zstandard wants to gain before it compresses a block at all."""


def declared_shape(data: bytes, compression: int) -> tuple[int, int] | None:
    """Height and width that an image says it has; None where its codec is not known here.

    Parameters
    ----------
    data
        The compressed image.
    compression
        Value of the TIFF tag of that name.
    """
    try:
        if compression in JPEG_2000:
            return _jpeg_2000(data)
        if compression in WEBP:
            return _webp(data)
        if compression in PNG:
            width, height = struct.unpack_from(">II", data, 16)
            return height, width
    except (struct.error, IndexError):  # cut off; the decoder says so
        pass
    return None


def has_zeros(data: bytes) -> bool:
    """Whether there are so many zeros in a row as no codec writes that codes entropy."""
    # Samples first, as two of them are within each such run: quicker than to look for the run.
    return b"\0\0" in data[:: _MOST_ZEROS // 2] and bytes(_MOST_ZEROS) in data


def jpeg_2000_size(codestream: bytes) -> bytes:
    """The SIZ segment from its marker on (ISO 15444-1, A.5.1); empty where there is none."""
    start = codestream.find(b"\xff\x4f\xff\x51")
    return codestream[start + 2 :] if start >= 0 else b""


def _jpeg_2000(data: bytes) -> tuple[int, int] | None:
    size = jpeg_2000_size(data)
    if not size:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", size, 6)
    return bottom - top, right - left


def _webp(data: bytes) -> tuple[int, int] | None:
    """See RFC 9649."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return height, width
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None
