"""A whole slide as one small picture."""

import math
import os
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

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


def _computed(array: Any, threads: int) -> NDArray[np.uint8]:
    return np.asarray(array.compute(scheduler="threads", num_workers=threads))


def _threads(chunks: tuple[int, ...]) -> int:
    """Number of threads: that of the cores, fewer where their chunks would fill the memory."""
    n_bytes = _COPIES * math.prod(chunks)
    return max(1, min(os.cpu_count() or 1, max_decoded_bytes() // n_bytes))
