"""Likeness of neighboring spots."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


def morans_i(values: NDArray[np.floating], neighbors: csr_matrix) -> NDArray[np.float64]:
    """Moran's I of each gene (Moran 1950), every pair of neighbors counting the same.

    ``I = n / W · Σ_ij w_ij z_i z_j / Σ_i z_i²`` with ``z`` the deviation from the mean, ``w_ij``
    1 for neighbors and else 0, and ``W`` the sum of ``w``.

    Parameters
    ----------
    values
        (spots, genes).
    neighbors
        (spots, spots) bool.

    Returns
    -------
    ndarray
        (genes,): near 1 where neighbors are alike, ``-1/(n-1)`` expected by chance; NaN for a
        gene without variance, or if no spot has a neighbor.
    """
    deviation = np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)
    pairs = neighbors.sum()
    variance = (deviation**2).sum(0)
    # A constant gene's deviations are zero but for rounding.
    varies = variance > 1e-20 * np.maximum(1, np.abs(values).max(0, initial=0)) ** 2 * len(values)
    alike = (deviation * (neighbors.astype(np.float64) @ deviation)).sum(0)
    result = np.full(variance.shape, np.nan)
    if pairs:
        np.divide(len(deviation) * alike, pairs * variance, out=result, where=varies)
    return result
