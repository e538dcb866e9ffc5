"""Properties of compressed data, read without decoding it."""

import struct

JPEG_2000 = {33003, 33004, 33005, 34712}
WEBP = {34927, 50001}
PNG = {34933}
JPEG_XR = {22610, 34934}
JPEG_XL = {50002, 52546}

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
        if compression in JPEG_XR:
            return _jpeg_xr(data)
        if compression in JPEG_XL:
            return _jpeg_xl(data)
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


def _jpeg_xr(data: bytes) -> tuple[int, int] | None:
    """The larger of the sizes that container and codestream say (ITU T.832, 8.3 and A.7)."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    tags = {}
    for index in range(count):
        tag, kind, _, value = struct.unpack_from("<HHII", data, directory + 2 + 12 * index)
        tags[tag] = value & 0xFFFF if kind == 3 else value
    sizes = [(tags.get(0xBC81, 0), tags.get(0xBC80, 0))]
    image = data.find(b"WMPHOTO\0")
    if image >= 0:
        is_short = data[image + 10] & 0x80
        width, height = struct.unpack_from(">HH" if is_short else ">II", data, image + 12)
        sizes.append((height + 1, width + 1))
    return max(sizes, key=lambda size: size[0] * size[1])


_JPEG_XL_RATIOS = (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)


def _jpeg_xl(data: bytes) -> tuple[int, int] | None:
    """The size header (ISO 18181-1, D.2), of a codestream or of the first one in a container."""
    start = data.find(b"\xff\x0a")
    if start != 0:
        start = next((at + 4 for name in (b"jxlc", b"jxlp") if (at := data.find(name)) >= 0), -1)
        if start < 0:
            return None
        start += 4 * (data[start - 1 : start] == b"p")  # the number of the part
    bits, at = int.from_bytes(data[start + 2 : start + 16], "little"), 0

    def take(n: int) -> int:
        nonlocal at
        at += n
        return bits >> (at - n) & (1 << n) - 1

    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    if ratio == 0:
        return height, side()
    across, down = _JPEG_XL_RATIOS[ratio - 1]
    return height, height * across // down
