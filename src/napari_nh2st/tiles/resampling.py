"""Weights that bring a row of pixels to another number of pixels."""

import numpy as np
from numpy.typing import NDArray


def resampling_weights(extent: float, size: int) -> NDArray[np.float32]:
    """Weights that resample ``extent`` source pixels to ``size`` new ones.

    In a reduction, each new pixel is the exact average over the length it covers, with parts of
    source pixels weighted by their share. In an enlargement, new pixels are interpolated linearly
    between pixel centers.

    Parameters
    ----------
    extent
        Length to cover, in source pixels from the edge of the first; need not be a whole number.
    size
        Number of new pixels.

    Returns
    -------
    ndarray
        (size, ceil(extent)) float32, each row summing to 1: ``new = weights @ old``.

    Examples
    --------
    >>> resampling_weights(4, 2).tolist()  # each new pixel is the mean of two
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    n_source = int(np.ceil(extent - 1e-9))
    step = extent / size
    if step >= 1:
        edges = np.arange(size + 1) * step
        low, high = edges[:-1, None], edges[1:, None]
        source = np.arange(n_source)
        weights = np.clip(np.minimum(high, source + 1) - np.maximum(low, source), 0, None)
    else:
        center = np.clip((np.arange(size) + 0.5) * step - 0.5, 0, n_source - 1)[:, None]
        weights = np.clip(1 - np.abs(center - np.arange(n_source)), 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
