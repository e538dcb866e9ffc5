"""Writing a synthetic tissue as a pyramidal slide, drawn and packed band by band."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.files import check_place, whole_output

from .tissue import BLOCK_PX, SyntheticTissue

Mark = tuple[int, int, int, tuple[int, int, int]]
"""(y, x, size, (red, green, blue)): a solid square, (y, x) its upper left corner; all in pixels."""

_TILE_PX = 256
_COARSEST_PX = 512  # the last level is no longer than this
_JPEG_QUALITY = 88
_SOFTWARE = "napari-nh2st"

Pixels = NDArray[np.uint8]

_JPEG: Final[dict[str, Any]] = {
    "level": _JPEG_QUALITY,
    "colorspace": "RGB",
    "outcolorspace": "YCbCr",
    "subsampling": "422",
}


def write_synthetic_slide(
    path: str | os.PathLike[str],
    seed: int = 0,
    shape: tuple[int, int] = (4096, 4096),
    mpp: float = 0.5,
    marks: Sequence[Mark] = (),
) -> Path:
    """Draw a `SyntheticTissue` and write it as a tiled, JPEG-compressed TIFF pyramid.

    Each level halves the one before by area averaging, down to at most 512 px, and is a plain
    TIFF page of reduced resolution. The µm/px is in the resolution tags. Memory holds a few bands
    of 512 rows, whatever the slide's height; meanwhile, a level of a quarter of the pixels lies
    uncompressed beside the file. The file appears under its name only when it is complete.

    Parameters
    ----------
    path
        The file to write. An existing synthetic slide is replaced, any other file never.
    seed, shape, mpp
        As for `SyntheticTissue`.
    marks
        Solid squares drawn over the tissue, for tests that need to know what is where.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    InputError
        The file cannot be written; an earlier one stays as it was.

    Examples
    --------
    .. code-block:: python

        write_synthetic_slide("slide.tif", seed=1, shape=(1500, 1500), mpp=1.0)
    """
    path = Path(path)
    tissue = SyntheticTissue(seed=seed, shape=shape, mpp=mpp)
    check_place(path, True, is_ours=_is_synthetic, kind="a synthetic slide")
    with whole_output(path) as draft:
        _write_pyramid(draft, tissue, marks)
    return path


def _is_synthetic(path: Path) -> bool:
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages.first.software == _SOFTWARE
    except Exception:  # no TIFF, or a damaged one
        return False


def _write_pyramid(path: Path, tissue: SyntheticTissue, marks: Sequence[Mark]) -> None:
    options: dict[str, Any] = {
        "dtype": np.uint8,
        "tile": (_TILE_PX, _TILE_PX),
        "photometric": "ycbcr",
        "compression": "jpeg",
        "subsampling": (2, 1),
        "metadata": None,
        "software": _SOFTWARE,
        "resolutionunit": "CENTIMETER",
    }
    height, width = shape = tissue.shape
    options["description"] = (
        f"Synthetic H&E drawn by napari-nh2st, not real tissue; seed {tissue.seed}, {width} x "
        f"{height} px, {tissue.mpp:g} um/px"
    )
    bands = _drawn(tissue, marks)
    with (
        tifffile.TiffWriter(path, bigtiff=height * width > 2**31) as tiff,
        ExitStack() as files,
    ):
        while True:
            # Rows of the next level wait in a file, uncompressed, until this one is written.
            coarser = files.enter_context(tempfile.TemporaryFile(dir=path.parent))
            y_mpp, x_mpp = (tissue.mpp * n / m for n, m in zip(tissue.shape, shape, strict=True))
            tiff.write(
                _packed_tiles(bands, coarser),
                shape=(*shape, 3),
                resolution=(1e4 / x_mpp, 1e4 / y_mpp),
                **options,
            )
            if max(shape) <= _COARSEST_PX:
                break
            shape = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
            bands = _stored(coarser, shape)
            options |= {"subfiletype": 1, "description": None}


def _drawn(tissue: SyntheticTissue, marks: Sequence[Mark]) -> Iterator[Pixels]:
    """Bands of rows of the finest level, from top to bottom."""
    height, width = tissue.shape
    for top in range(0, height, BLOCK_PX):
        band = tissue.render(top, 0, min(BLOCK_PX, height - top), width)
        for y, x, size, color in marks:
            rows = slice(max(y - top, 0), max(y + size - top, 0))
            band[rows, max(x, 0) : max(x + size, 0)] = color
        yield band


def _stored(file: IO[bytes], shape: tuple[int, int]) -> Iterator[Pixels]:
    """Bands of rows of a level that was put into a file."""
    file.seek(0)
    while data := file.read(BLOCK_PX * shape[1] * 3):
        yield np.frombuffer(data, np.uint8).reshape(-1, shape[1], 3)


def _packed_tiles(bands: Iterable[Pixels], coarser: IO[bytes]) -> Iterator[bytes]:
    """Packed tiles of a level in their order; half of each band is put into the file."""
    # Slides import dask, and that pandas where it is installed: a name here should not wait for it.
    from napari_nh2st.slide.coarse import halved

    for band in bands:
        coarser.write(halved(band).tobytes())
        yield from _packed(band)


def _packed(band: Pixels) -> Iterator[bytes]:
    """JPEG tiles of a band of rows; beyond the slide's edge they repeat its last pixels."""
    for top in range(0, len(band), _TILE_PX):
        for left in range(0, band.shape[1], _TILE_PX):
            tile = band[top : top + _TILE_PX, left : left + _TILE_PX]
            missing = [(0, _TILE_PX - n) for n in tile.shape[:2]]
            if any(after for _, after in missing):
                tile = np.pad(tile, [*missing, (0, 0)], mode="edge")
            yield bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), **_JPEG))
