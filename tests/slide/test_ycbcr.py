"""YCbCr that is not JPEG: pieces with smaller chroma, tags of its own, codecs that convert it."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from array_slides import tissue
from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.slide import open_slide

BT709 = (0.2126, 0.7152, 0.0722)
STUDIO = (16, 235, 128, 240, 128, 240)
CODECS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32773: imagecodecs.packbits_encode,
    50000: imagecodecs.zstd_encode,
}


def write_tiff(
    path: Path,
    shape: tuple[int, int],
    pieces: list[bytes],
    piece: tuple[int, int],
    tiled: bool,
    compression: int,
    more: dict[int, tuple[str, tuple[Any, ...]]] | None = None,
) -> None:
    """A TIFF of three 8-bit samples marked YCbCr, written tag by tag."""
    tags: dict[int, tuple[str, tuple[Any, ...]]] = {
        256: ("I", (shape[1],)),
        257: ("I", (shape[0],)),
        258: ("H", (8, 8, 8)),
        259: ("H", (compression,)),
        262: ("H", (6,)),
        277: ("H", (3,)),
        284: ("H", (1,)),
        **(more or {}),
    }
    body = bytearray(8)
    offsets = []
    for data in pieces:
        offsets.append(len(body))
        body += data + b"\0" * (len(data) % 2)
    counts = ("I", tuple(len(data) for data in pieces))
    if tiled:
        tags |= {322: ("I", (piece[1],)), 323: ("I", (piece[0],))}
        tags |= {324: ("I", tuple(offsets)), 325: counts}
    else:
        tags |= {278: ("I", (piece[0],)), 273: ("I", tuple(offsets)), 279: counts}
    entries = bytearray()
    for code, (kind, values) in sorted(tags.items()):
        flat = [part for value in values for part in (value if kind == "II" else (value,))]
        data = struct.pack(f"<{len(flat)}{kind[0]}", *flat)
        number = {"H": 3, "I": 4, "II": 5}[kind]
        if len(data) > 4:
            place = struct.pack("<I", len(body))
            body += data + b"\0" * (len(data) % 2)
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack("<HHI", code, number, len(values)) + place
    body[:8] = b"II*\0" + struct.pack("<I", len(body))
    path.write_bytes(bytes(body) + struct.pack("<H", len(tags)) + entries + bytes(4))


def packed(
    pixels: NDArray[np.uint8], across: int, down: int, rows: int, columns: int
) -> list[bytes]:
    """Pieces of YCbCr, (height, width, 3), block by block, edges repeated: a naive loop."""
    pieces = []
    height, width = pixels.shape[:2]
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            part = pixels[top : top + rows, left : left + columns]
            missing = (-part.shape[0] % down, -part.shape[1] % across)
            part = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            out = bytearray()
            for y in range(0, part.shape[0], down):
                for x in range(0, part.shape[1], across):
                    block = part[y : y + down, x : x + across]
                    out += block[..., 0].tobytes()
                    out += bytes(block[..., 1:].reshape(-1, 2).mean(0).round().astype(np.uint8))
            pieces.append(bytes(out))
    return pieces


def rationals(values: tuple[float, ...]) -> tuple[str, tuple[Any, ...]]:
    return "II", tuple((round(value * 10_000), 10_000) for value in values)


def seen(path: Path) -> NDArray[np.uint8]:
    with open_slide(path) as slide:
        assert slide.brightfield
        return slide.levels[0].read(0, 0, *slide.shape)


def by_libtiff(path: Path) -> NDArray[np.uint8]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TiffImagePlugin, "READ_LIBTIFF", True)  # Pillow's own reader knows no blocks
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("compression", list(CODECS))
@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_strips_are_read_as_libtiff_reads_them(
    tmp_path: Path, compression: int, sampling: tuple[int, int]
) -> None:
    """At a size that is no multiple of a block or a strip."""
    path, known = tmp_path / "slide.tif", tmp_path / "known.tif"
    pieces = packed(tissue(99, 131), *sampling, 16, 131)
    # Before Pillow 12 its libtiff has no ZSTD.
    for place, codec in ((path, compression), (known, 1 if compression == 50000 else compression)):
        stored = [CODECS[codec](piece) for piece in pieces]
        write_tiff(place, (99, 131), stored, (16, 131), False, codec, {530: ("H", sampling)})
    difference = np.abs(seen(path).astype(int) - by_libtiff(known))
    assert difference.max() <= 2


@pytest.mark.parametrize(
    "tags", [{}, {529: rationals(BT709)}, {532: rationals(STUDIO)}], ids=["plain", "709", "studio"]
)
def test_tags_decide_the_colors(tmp_path: Path, tags: dict[int, Any]) -> None:
    path = tmp_path / "slide.tif"
    pieces = packed(tissue(96, 128), 2, 2, 96, 128)
    write_tiff(path, (96, 128), pieces, (96, 128), False, 1, {530: ("H", (2, 2)), **tags})
    found = seen(path).astype(int)
    assert np.abs(found - by_libtiff(path)).max() <= 3  # libtiff rounds in steps
    if tags:
        other = tmp_path / "plain.tif"
        write_tiff(other, (96, 128), pieces, (96, 128), False, 1, {530: ("H", (2, 2))})
        assert np.abs(found - seen(other)).max() > 10


def test_the_formula_of_the_standard(tmp_path: Path) -> None:
    """TIFF 6.0, section 21, pixel by pixel."""
    path = tmp_path / "slide.tif"
    pixels = tissue(8, 8)
    tags = {530: ("H", (1, 1)), 529: rationals(BT709), 532: rationals(STUDIO)}
    write_tiff(path, (8, 8), packed(pixels, 1, 1, 8, 8), (8, 8), False, 1, tags)
    found = seen(path)
    for row, column in np.ndindex(8, 8):
        y, cb, cr = (float(v) for v in pixels[row, column])
        y = (y - 16) * 255 / (235 - 16)
        cb, cr = ((v - 128) * 127 / (240 - 128) for v in (cb, cr))
        red = cr * (2 - 2 * BT709[0]) + y
        blue = cb * (2 - 2 * BT709[2]) + y
        green = (y - BT709[2] * blue - BT709[0] * red) / BT709[1]
        expected = np.clip([red, green, blue], 0, 255)
        assert np.abs(found[row, column] - expected).max() <= 1


@pytest.mark.parametrize("compression", [1, 5, 8])
def test_tiles_are_read_as_libtiff_reads_them(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "slide.tif"
    pixels = tissue(100, 150)
    padded = np.pad(pixels, ((0, 28), (0, 42), (0, 0)), mode="edge")
    pieces = [CODECS[compression](p) for p in packed(padded, 2, 2, 64, 64)]
    write_tiff(path, (100, 150), pieces, (64, 64), True, compression)  # 2 × 2 by default
    assert np.abs(seen(path).astype(int) - by_libtiff(path)).max() <= 2
    with open_slide(path) as slide:
        assert slide.levels[0].segment_shape == (64, 64)


@pytest.mark.parametrize(
    ("compression", "encode"),
    [
        (22610, imagecodecs.jpegxr_encode),
        (50001, lambda part: imagecodecs.webp_encode(part, level=90)),
        (50002, imagecodecs.jpegxl_encode),
        (52546, imagecodecs.jpegxl_encode),
    ],
    ids=["JPEG XR", "WebP", "JPEG XL", "JPEG XL of DNG"],
)
@pytest.mark.parametrize("tags", [{}, {530: ("H", (2, 2))}], ids=["default", "given"])
def test_codecs_that_give_rgb(
    tmp_path: Path, compression: int, encode: Callable[..., bytes], tags: dict[int, Any]
) -> None:
    """Their data are RGB once decoded, whatever the page calls them."""
    path = tmp_path / "slide.tif"
    parts = [tissue(128, 128)[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64)]
    write_tiff(
        path,
        (128, 128),
        [bytes(encode(np.ascontiguousarray(part))) for part in parts],
        (64, 64),
        True,
        compression,
        tags,
    )
    assert np.abs(seen(path).astype(int) - tissue(128, 128)).mean() < 6


def test_a_short_piece_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    pieces = packed(tissue(64, 64), 2, 2, 32, 64)
    pieces[1] = pieces[1][:-7]
    write_tiff(path, (64, 64), pieces, (32, 64), False, 1)
    with open_slide(path) as slide, pytest.raises(SegmentError, match="bytes of YCbCr"):
        slide.read_region(0, 0, 64, 64)


def test_a_predictor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    pieces = [zlib.compress(p) for p in packed(tissue(64, 64), 2, 2, 64, 64)]
    write_tiff(path, (64, 64), pieces, (64, 64), False, 8, {317: ("H", (2,))})
    with pytest.raises(InputError, match="predictor"):
        open_slide(path)


def test_tifffile_agrees_on_the_tags(tmp_path: Path) -> None:
    """The writer above is understood by others."""
    path = tmp_path / "slide.tif"
    tags = {529: rationals(BT709)}
    write_tiff(path, (8, 8), packed(tissue(8, 8), 2, 2, 8, 8), (8, 8), False, 1, tags)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.shape == (8, 8, 3)
        assert int(tiff.pages.first.photometric) == 6
