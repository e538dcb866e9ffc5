"""Writing a synthetic tissue as a pyramidal slide, drawn and packed band by band."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, Self

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
    TIFF page of reduced resolution. µm/px stands in the resolution tags. Memory holds some bands
    of 512 rows, whatever the slide's height. The file appears under its name only when it is
    whole.

    Parameters
    ----------
    path
        The file to write; a synthetic slide that is there is replaced, anything else never.
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
    height, width = tissue.shape
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
    description = (
        f"Synthetic H&E drawn by napari-nh2st, no patient's tissue; "
        f"seed {tissue.seed}, {width} x {height} px, {tissue.mpp:g} um/px"
    )
    with (
        tifffile.TiffWriter(path, bigtiff=height * width > 2**31) as tiff,
        _Coarser(tissue.shape) as coarser,
    ):
        tiff.write(
            _finest_tiles(tissue, marks, coarser),
            shape=(height, width, 3),
            description=description,
            resolution=(1e4 / tissue.mpp, 1e4 / tissue.mpp),
            **options,
        )
        coarser.finish()
        level: _Coarser | None = coarser
        while level is not None and level.wanted:
            y_mpp, x_mpp = (
                tissue.mpp * n / m for n, m in zip(tissue.shape, level.shape, strict=True)
            )
            tiff.write(
                level.packed_tiles(),
                shape=(*level.shape, 3),
                subfiletype=1,
                resolution=(1e4 / x_mpp, 1e4 / y_mpp),
                **options,
            )
            level = level.next


def _finest_tiles(
    tissue: SyntheticTissue, marks: Sequence[Mark], coarser: "_Coarser"
) -> Iterator[bytes]:
    """Packed tiles of the finest level in their order; each band goes to the coarser ones too."""
    height, width = tissue.shape
    for top in range(0, height, BLOCK_PX):
        band = tissue.render(top, 0, min(BLOCK_PX, height - top), width)
        for y, x, size, colour in marks:
            rows = slice(max(y - top, 0), max(y + size - top, 0))
            band[rows, max(x, 0) : max(x + size, 0)] = colour
        coarser.add(band)
        yield from _packed(band)


class _Coarser:
    """A level half as fine as the rows it is given, and through `next` all that follow it.

    Tiles wait packed in a temporary file until the finer level is written.
    """

    def __init__(self, finer: tuple[int, int]) -> None:
        self.wanted = max(finer) > _COARSEST_PX
        self.shape = ((finer[0] + 1) // 2, (finer[1] + 1) // 2)
        self.next = _Coarser(self.shape) if self.wanted else None
        self._rows = np.empty((0, self.shape[1], 3), np.uint8)  # not yet a row of tiles
        self._single: Pixels | None = None  # a finer row that waits for its partner
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        self._sizes: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self.next is not None:
            self.next.__exit__(*error)

    def add(self, finer: Pixels) -> None:
        """Take further rows (n, width, 3) of the finer level."""
        if not self.wanted or self.next is None:
            return
        if self._single is not None:
            finer = np.concatenate([self._single, finer])
            self._single = None
        if len(finer) % 2:
            self._single = finer[-1:].copy()
            finer = finer[:-1]
        rows = _halved(finer)
        self.next.add(rows)
        self._rows = np.concatenate([self._rows, rows])
        whole = len(self._rows) // _TILE_PX * _TILE_PX
        self._keep(self._rows[:whole])
        self._rows = self._rows[whole:].copy()

    def finish(self) -> None:
        """Pack what is left once the finer level has ended."""
        if self._single is not None:  # the last row stands for the one that is missing
            self.add(self._single.copy())
        if self.next is not None:
            self._keep(self._rows)
            self.next.finish()

    def packed_tiles(self) -> Iterator[bytes]:
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size)

    def _keep(self, rows: Pixels) -> None:
        for tile in _packed(rows):
            self._file.write(tile)
            self._sizes.append(len(tile))


def _halved(pixels: Pixels) -> Pixels:
    """Mean of each 2 × 2 pixels; an odd last column stands for the one that is missing."""
    if pixels.shape[1] % 2:
        pixels = np.concatenate([pixels, pixels[:, -1:]], axis=1)
    total = np.full((pixels.shape[0] // 2, pixels.shape[1] // 2, 3), 2, np.uint16)  # rounds
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        total += pixels[i::2, j::2]
    return (total // 4).astype(np.uint8)


def _packed(band: Pixels) -> Iterator[bytes]:
    """JPEG tiles of a band of rows; beyond the slide's edge they repeat its last pixels."""
    for top in range(0, len(band), _TILE_PX):
        for left in range(0, band.shape[1], _TILE_PX):
            tile = band[top : top + _TILE_PX, left : left + _TILE_PX]
            missing = [(0, _TILE_PX - n) for n in tile.shape[:2]]
            if any(after for _, after in missing):
                tile = np.pad(tile, [*missing, (0, 0)], mode="edge")
            yield bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), **_JPEG))
