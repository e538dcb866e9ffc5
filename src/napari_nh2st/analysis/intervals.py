"""Intervals around predicted values, from errors at spots that a model has not seen."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.errors import InputError

_DIGITS = 9
"""Decimals of a rank that count: 0.9 × 110 is 99, and not the next after it."""


def conformal_half_width(errors: ArrayLike, coverage: float = 0.9) -> NDArray[np.float64]:
    """Half widths of intervals that hold a given share of new values, for each gene.

    Split-conformal prediction (Vovk et al. 2005; Lei et al. 2018): the smallest error whose rank is
    at least (n + 1) × coverage. A new value whose error is exchangeable with the n lies within the
    half width of its prediction with at least that probability, whatever the errors' distribution.
    Spots of another section are not exchangeable with these, so that coverage has to be measured
    section by section.

    Parameters
    ----------
    errors
        (spots, genes) measured minus predicted, at spots that the model was not trained on, in the
        unit of the prediction; NaN where there is none. Signs do not matter.
    coverage
        Share of new values that is to be held, above 0 and below 1.

    Returns
    -------
    ndarray
        (genes,) float64 in the unit of the errors; infinite for a gene with too few errors for the
        coverage (fewer than 9 at 90 %).

    Raises
    ------
    InputError
        The coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage is {coverage:g}; it must be above 0 and below 1")
    # NaN sort to the end.
    size = np.sort(np.abs(np.asarray(errors, np.float64)), axis=0)
    n = np.count_nonzero(~np.isnan(size), axis=0)
    rank = np.ceil(np.round((n + 1) * coverage, _DIGITS)).astype(np.int64)
    result = np.full(size.shape[1], np.inf)
    enough = np.flatnonzero(rank <= n)
    result[enough] = size[rank[enough] - 1, enough]
    return result


def covered(errors: ArrayLike, half_width: ArrayLike) -> NDArray[np.float64]:
    """Share of values that lie within their interval, its ends included, for each gene.

    Parameters
    ----------
    errors
        (spots, genes) measured minus predicted; NaN where there is none.
    half_width
        (genes,) or (spots, genes), in the same unit.

    Returns
    -------
    ndarray
        (genes,) float64 from 0 to 1; NaN for a gene without errors.
    """
    size = np.abs(np.asarray(errors, np.float64))
    n = np.count_nonzero(~np.isnan(size), axis=0)
    within = np.count_nonzero(size <= np.asarray(half_width, np.float64), axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(within / n)
