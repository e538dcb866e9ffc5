"""Large slides made in seconds: a drawn region of tissue, packed once and repeated."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.synthetic import SyntheticTissue

MPP = 0.5
_TILE_PX = 256
_REGION_PX = 2048
_SMALL_REGION_PX = 512
_COARSEST_PX = 512
_PSNR = 38


Codec = Literal["jpeg", "jpeg2000"]


def write_repeated_slide(
    path: Path,
    side: int,
    *,
    share_tiles: bool = False,
    codec: Codec = "jpeg",
    mpp: float = MPP,
    reduction: int = 2,
) -> None:
    """Write a pyramid of `side` × `side` px, tiles of 256.

    Parameters
    ----------
    share_tiles
        The file holds each distinct tile once, and its tables, as long as ever, point there. For
        slides that are opened and hardly read; else every tile has bytes of its own.
    codec
        JPEG of quality 88 with half the chroma across, or JPEG 2000 of about as many bytes.
    mpp
        µm/px.
    reduction
        From level to level: 2, or 4 as in many scanners' files.
    """
    # A small slide repeats a small region, which is drawn sooner.
    region_side = _REGION_PX if side >= _REGION_PX else _SMALL_REGION_PX
    pixels = _region(region_side)
    level_side = side
    stored: dict[str, Any] = {"photometric": "rgb", "compression": "jpeg2000"}
    if codec == "jpeg":
        stored = {"photometric": "ycbcr", "compression": "jpeg", "subsampling": (2, 1)}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        while True:
            tiff.write(
                _repeated(_packed(pixels, codec), -(-level_side // _TILE_PX), share_tiles),
                shape=(level_side, level_side, 3),
                dtype=np.uint8,
                tile=(_TILE_PX, _TILE_PX),
                **stored,
                subfiletype=0 if level_side == side else 1,
                resolution=(1e4 / mpp, 1e4 / mpp),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
            if level_side <= _COARSEST_PX:
                break
            level_side, mpp = -(-level_side // reduction), reduction * mpp
            for _ in range(reduction // 2):
                pixels = _halved(pixels)
    if share_tiles:
        _point_to_shared_tiles(path, region_side)


@cache
def _region(side: int) -> NDArray[np.uint8]:
    """The middle of a drawn tissue."""
    return SyntheticTissue(shape=(2 * side, 2 * side), mpp=MPP).render(
        side // 2, side // 2, side, side
    )


def _packed(pixels: NDArray[np.uint8], codec: Codec) -> list[list[bytes]]:
    """Encoded tiles of a square of whole tiles, or of one that is repeated to a tile."""
    repeats = max(1, _TILE_PX // len(pixels))
    pixels = np.tile(pixels, (repeats, repeats, 1))
    starts = range(0, len(pixels), _TILE_PX)
    return [
        [
            _encoded(np.ascontiguousarray(pixels[y : y + _TILE_PX, x : x + _TILE_PX]), codec)
            for x in starts
        ]
        for y in starts
    ]


def _encoded(tile: NDArray[np.uint8], codec: Codec) -> bytes:
    if codec == "jpeg2000":
        return bytes(imagecodecs.jpeg2k_encode(tile, level=_PSNR, codecformat="j2k", mct=True))
    return bytes(
        imagecodecs.jpeg8_encode(
            tile, level=88, colorspace="RGB", outcolorspace="YCbCr", subsampling="422"
        )
    )


def _repeated(tiles: list[list[bytes]], count: int, once: bool) -> Iterator[bytes]:
    n = len(tiles)
    for row in range(count):
        for column in range(count):
            repeats = row >= n or column >= n
            yield b"" if once and repeats else tiles[row % n][column % n]


def _point_to_shared_tiles(path: Path, region_side: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page in tiff.pages:
            rows, columns = (-(-side // _TILE_PX) for side in page.shape[:2])
            n = max(1, region_side // _TILE_PX >> page.index)
            row, column = np.divmod(np.arange(rows * columns), columns)
            source = row % n * columns + column % n
            for name in ("TileOffsets", "TileByteCounts"):
                tag = page.tags[name]
                tag.overwrite(tuple(np.atleast_1d(tag.value)[source].tolist()))


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = len(pixels) // 2
    return pixels.reshape(side, 2, side, 2, 3).mean((1, 3)).round().astype(np.uint8)
