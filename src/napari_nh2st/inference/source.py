"""Pixels of tiles on a slide's levels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.resample import SAME_SCALE
from napari_nh2st.slide import Slide

_LARGEST_SOURCE_PX = 8192
"""A tile wider than this on the slide is a wrong µm/px, not a tile."""


@dataclass(frozen=True)
class TileSource:
    """The pixels of tiles, on the level that suits them best.

    Parameters
    ----------
    level
        Level that tiles are read from.
    top_left
        (n, 2) int, corner of each tile in pixels of that level.
    extent
        (height, width) of a tile in pixels of that level; need not be whole.
    size
        The same in whole pixels, as read.
    """

    level: int
    top_left: NDArray[np.int64]
    extent: tuple[float, float]
    size: tuple[int, int]


def tile_source(
    slide: Slide,
    slide_mpp: tuple[float, float],
    centers: NDArray[np.floating],
    tile_px: int,
    mpp: float,
) -> TileSource:
    """Find tiles of ``tile_px`` at ``mpp`` µm/px on a slide.

    Parameters
    ----------
    slide
        To read from.
    slide_mpp
        Its µm/px at full resolution, (y, x).
    centers
        (n, 2) centers (y, x) in full-resolution pixels.
    tile_px, mpp
        What the network wants.

    Raises
    ------
    InputError
        A tile would be absurdly wide on the slide.
    """
    # The nearest finer level, or one that is as good as equal; not one that would have to be made.
    wanted = mpp / max(slide_mpp) * (1 + SAME_SCALE)
    level = slide.best_level(wanted, native_only=True)
    scale = mpp / np.multiply(slide_mpp, slide.downsamples[level])
    scale[np.abs(scale - 1) < SAME_SCALE] = 1
    extent = tile_px * scale
    size = np.ceil(extent - 1e-9).astype(np.int64)
    if size.max() > _LARGEST_SOURCE_PX:
        raise InputError(
            f"{slide.path}: at {slide_mpp[1]:g} µm/px a tile of {tile_px * mpp:g} µm is "
            f"{size.max():,} px wide. Is the µm/px right?"
        )
    corner = centers / slide.downsamples[level] - extent / 2
    return TileSource(
        level,
        np.rint(corner).astype(np.int64),
        (float(extent[0]), float(extent[1])),
        (int(size[0]), int(size[1])),
    )
