"""The values of a prediction: which tiles have any, and in standard units."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

_SAME = 1e-7
"""A standard deviation below this share of the mean is the rounding of float32."""

_GENES_AT_ONCE = 64


def predicted_tiles(prediction: AnnData) -> NDArray[np.bool_]:
    """Which tiles have a value.

    Parameters
    ----------
    prediction
        Tiles × genes; NaN in ``X`` where nothing is predicted (yet).

    Returns
    -------
    ndarray
        (tiles,) bool.
    """
    return np.asarray(~np.isnan(np.asarray(prediction.X)).any(1))


def standardized(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Each gene with mean 0 and standard deviation 1 over the tiles.

    Parameters
    ----------
    values
        (tiles, genes) without NaN.

    Returns
    -------
    ndarray
        (tiles, genes) float32; 0 throughout for a gene without variance.
    """
    result = np.zeros(values.shape, np.float32)
    if not len(values):
        return result
    for first in range(0, values.shape[1], _GENES_AT_ONCE):
        genes = slice(first, first + _GENES_AT_ONCE)
        part = values[:, genes].astype(np.float64)
        mean = part.mean(0)
        part -= mean
        deviation = np.sqrt(np.mean(part**2, axis=0))
        varies = deviation > _SAME * np.abs(mean)
        np.divide(part, deviation, out=result[:, genes], where=varies, casting="same_kind")
    return result
