"""A whole slide as one small picture."""

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.slide.slide import Slide


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
    factors = (
        max(1, min(int(downsample / along + 1e-6), side))
        for along, side in zip(slide.downsamples[number], level.shape[:2], strict=True)
    )
    factor_y, factor_x = factors
    if factor_y == factor_x == 1:
        return np.asarray(level)
    # Chunks of whole blocks, so that no block straddles two of them.
    chunk_y, chunk_x = level.chunksize[:2]
    level = level.rechunk(
        {0: max(1, chunk_y // factor_y) * factor_y, 1: max(1, chunk_x // factor_x) * factor_x}
    )
    small = da.coarsen(np.mean, level, {0: factor_y, 1: factor_x}, trim_excess=True)
    return np.asarray(small.round().astype(np.uint8))
