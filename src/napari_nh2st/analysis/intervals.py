"""Intervals around predicted values, from errors at spots that a model has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.half_widths import half_widths
from napari_nh2st.prediction.schema import MEASURED

_DIGITS = 9
"""Decimals of a rank that count: 0.07 × 100 is 7, and in binary a little more."""


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


@dataclass(frozen=True)
class Coverage:
    """Share of measured values that lie within their interval.

    Parameters
    ----------
    mean
        Over the genes, from 0 to 1.
    low, high
        10th and 90th percentile of the genes.
    """

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.0%} (genes {self.low:.0%} to {self.high:.0%})"

    def to_json(self) -> dict[str, float]:
        """The shares to four digits."""
        return {name: round(share, 4) for name, share in vars(self).items()}

    @classmethod
    def of(cls, errors: ArrayLike, half_width: ArrayLike) -> "Coverage | None":
        """That of errors and half widths, see :func:`covered`; None without any.

        Genes without an interval do not count.
        """
        known = np.isfinite(np.atleast_2d(np.asarray(half_width, np.float64))).any(0)
        share = covered(errors, half_width)[known]
        share = share[~np.isnan(share)]
        if not len(share):
            return None
        low, high = np.quantile(share, (0.1, 0.9))
        return cls(float(share.mean()), float(low), float(high))


def widest_half_width(sections: Sequence[ArrayLike], coverage: float = 0.9) -> NDArray[np.float64]:
    """Half widths that hold a share of new values on each of some sections, for each gene.

    Sections differ more than chance lets spots differ, and a new one may be as hard as the hardest:
    the half width of all spots together holds too little there. The widest of the sections' own
    does not.

    Parameters
    ----------
    sections
        For each (spots, genes) errors, as for :func:`conformal_half_width`.
    coverage
        As there.

    Returns
    -------
    ndarray
        (genes,) float64 in the unit of the errors; NaN for a gene with too few errors in every
        section. Sections with too few do not count.
    """
    each = np.array([conformal_half_width(errors, coverage) for errors in sections])
    widest = np.where(np.isfinite(each), each, -np.inf).max(0, initial=-np.inf)
    return np.where(widest < 0, np.nan, widest)


def half_width_by_spread(
    errors: Sequence[ArrayLike], spreads: Sequence[ArrayLike], coverage: float = 0.9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half widths in proportion to the spread of a model's heads, for each gene.

    Locally weighted conformal prediction (Lei et al. 2018): errors are divided by the spread at
    their spots plus its mean, and the half width at the rank of all sections together is
    multiplied by that again. Harder sections have a larger spread, which sets their intervals
    apart. Without the mean, spots where heads happen to agree would count too much.

    Parameters
    ----------
    errors
        For each section (spots, genes), as for :func:`conformal_half_width`.
    spreads
        Of the same shapes, over models none of which was trained on the section.
    coverage
        As there.

    Returns
    -------
    usual
        (genes,) the mean spread, NaN for a gene whose heads agree everywhere.
    half
        (genes,) the half width at this spread, NaN for a gene with too few errors; at others as
        :func:`~napari_nh2st.prediction.half_widths.scaled_half_width`.
    """
    error, spread = (np.concatenate([np.asarray(x) for x in each]) for each in (errors, spreads))
    usual = spread.mean(0, dtype=np.float64)
    usual = np.where(usual > 0, usual, np.nan)
    half = 2 * usual * conformal_half_width(error / (spread + usual), coverage)
    return usual, np.where(np.isfinite(half), half, np.nan)


def held_out_coverage(sections: Mapping[str, ArrayLike]) -> dict[str, Coverage]:
    """What the widest half width of the other sections holds on each section.

    Parameters
    ----------
    sections
        (spots, genes) errors by name.

    Returns
    -------
    dict
        By name, without sections for which there is none: a single one has no others.
    """
    found: dict[str, Coverage] = {}
    if len(sections) < 2:
        return found
    for name, errors in sections.items():
        others = [each for other, each in sections.items() if other != name]
        result = Coverage.of(errors, widest_half_width(others))
        if result is not None:
            found[name] = result
    return found


def errors_of(prediction: AnnData) -> NDArray[np.float64] | None:
    """Measured minus predicted values at spots, in the unit of the values.

    Parameters
    ----------
    prediction
        At measured spots.

    Returns
    -------
    ndarray or None
        (spots, genes); None where genes were not measured, which leaves the others in another
        unit.
    """
    measured = np.asarray(prediction.layers[MEASURED], np.float64)
    if np.isnan(measured).any():
        return None
    return measured - np.asarray(prediction.X, np.float64)


def interval_coverage(prediction: AnnData) -> Coverage | None:
    """How many of the measured values lie within the intervals of a prediction at their spots.

    None where the model has no intervals, or as in :func:`errors_of`.
    """
    errors = errors_of(prediction)
    return None if errors is None else Coverage.of(errors, half_widths(prediction))
