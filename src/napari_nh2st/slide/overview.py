"""A whole slide as one small picture."""

import math
import os
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError
from napari_nh2st.slide.coarse import CoarseLevel
from napari_nh2st.slide.level import DAMAGED_GREY, Level
from napari_nh2st.slide.limits import max_decoded_bytes
from napari_nh2st.slide.slide import Slide

_COPIES = 4
"""Copies of a chunk while it is averaged: the segment, the chunk, and what is summed up."""


def slide_overview(slide: Slide, downsample: float) -> NDArray[np.uint8]:
    """Average a slide down, reading its best level chunk by chunk.

    Parameters
    ----------
    slide
        Any slide; the coarsest level that is fine enough is read.
    downsample
        Full-resolution pixels per pixel of the result, at most: levels are averaged by whole
        factors. Below 1 means 1.

    Returns
    -------
    ndarray
        (height, width, 3) uint8. Segments that cannot be read are mid grey. The factor is
        ``slide.shape`` over its shape, to within one of its pixels: what is left over at the
        lower and right edge is dropped.
    """
    number = slide.best_level(max(downsample, 1.0))
    level = slide.levels[number].to_dask()
    threads = _threads(level.chunksize)
    factors = (
        max(1, min(int(downsample / along + 1e-6), side))
        for along, side in zip(slide.downsamples[number], level.shape[:2], strict=True)
    )
    factor_y, factor_x = factors
    if factor_y == factor_x == 1:
        return _computed(level, threads)
    # Chunks of whole blocks, so that no block straddles two of them.
    chunk_y, chunk_x = level.chunksize[:2]
    level = level.rechunk(
        {0: max(1, chunk_y // factor_y) * factor_y, 1: max(1, chunk_x // factor_x) * factor_x}
    )
    small = da.coarsen(np.mean, level, {0: factor_y, 1: factor_x}, trim_excess=True)
    return _computed(small.round().astype(np.uint8), threads)


def unreadable_parts(slide: Slide, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture of a slide is grey since the slide cannot be read there.

    Padding may have the same grey: what has it is read once more from the file.

    Parameters
    ----------
    slide
        Any slide.
    picture
        (height, width, 3), of :func:`slide_overview`.

    Returns
    -------
    ndarray
        (height, width) bool.
    """
    grey: NDArray[np.bool_] = (picture == DAMAGED_GREY).all(-1)
    if not grey.any():
        return grey
    level: Level = slide.levels[slide.best_level(slide.shape[0] / picture.shape[0])]
    while isinstance(level, CoarseLevel):
        level = level.finer
    factors = np.divide(level.shape, picture.shape[:2])
    unreadable = np.zeros_like(grey)
    rows, columns = (
        np.unique(((np.arange(side) + 0.5) * factor / segment).astype(int))
        for side, factor, segment in zip(grey.shape, factors, level.segment_shape, strict=True)
    )
    for row in rows:
        for column in columns:
            top, left, height, width = level.segment_bounds(row, column)
            low = np.floor(np.divide((top, left), factors)).astype(int)
            high = np.ceil(np.divide((top + height, left + width), factors)).astype(int)
            place = slice(low[0], high[0]), slice(low[1], high[1])
            if not grey[place].any():
                continue
            try:
                level.read_segment(row, column)
            except SegmentError:
                unreadable[place] |= grey[place]
    return unreadable


def _computed(array: Any, threads: int) -> NDArray[np.uint8]:
    return np.asarray(array.compute(scheduler="threads", num_workers=threads))


def _threads(chunks: tuple[int, ...]) -> int:
    """Number of threads: that of the cores, fewer where their chunks would fill the memory."""
    n_bytes = _COPIES * math.prod(chunks)
    return max(1, min(os.cpu_count() or 1, max_decoded_bytes() // n_bytes))
