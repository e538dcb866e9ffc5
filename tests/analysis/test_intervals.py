"""Intervals: against a loop over ranks, and against what theory says of their coverage."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import norm

from napari_nh2st.analysis.intervals import conformal_half_width, covered
from napari_nh2st.errors import InputError


def _half_width_by_hand(errors: list[float], coverage: Fraction) -> float:
    """The definition, in whole numbers: the smallest error of sufficient rank."""
    known = sorted(abs(error) for error in errors if not math.isnan(error))
    for rank, error in enumerate(known, start=1):
        if rank >= (len(known) + 1) * coverage:
            return error
    return math.inf


@pytest.mark.parametrize("tenths", [1, 5, 8, 9])
def test_half_width_is_the_error_of_its_rank(tenths: int) -> None:
    rng = np.random.default_rng(tenths)
    # Up to 120 spots: 0.9 x 110 and others are not whole in binary.
    for n in range(121):
        errors = rng.normal(size=(n, 2))
        errors[rng.random(n) < 0.2, 1] = np.nan
        by_hand = [_half_width_by_hand(list(gene), Fraction(tenths, 10)) for gene in errors.T]
        np.testing.assert_array_equal(conformal_half_width(errors, tenths / 10), by_hand)


def test_nine_errors_are_the_fewest_for_nine_in_ten() -> None:
    errors = np.arange(1.0, 10.0)[:, None] * [[-1, 1]]
    np.testing.assert_array_equal(conformal_half_width(errors), [9, 9])
    np.testing.assert_array_equal(conformal_half_width(errors[:8]), [np.inf, np.inf])


def test_half_width_comes_to_the_normal_quantile() -> None:
    errors = np.random.default_rng(0).normal(scale=[1.0, 3.0], size=(200_000, 2))
    expected = norm.ppf(0.95) * np.array([1, 3])
    np.testing.assert_allclose(conformal_half_width(errors), expected, rtol=0.01)


def test_new_values_are_held_as_often_as_promised() -> None:
    """Each column is a trial; the expected coverage is the rank over n + 1, whatever the law."""
    rng = np.random.default_rng(1)
    for n in (9, 23, 57):
        errors = rng.standard_cauchy((n + 1, 40_000))
        share = np.mean(np.abs(errors[-1]) <= conformal_half_width(errors[:-1]))
        expected = math.ceil(Fraction(9, 10) * (n + 1)) / (n + 1)
        assert share == pytest.approx(expected, abs=0.006)  # four standard errors
        assert expected >= 0.9


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0, math.nan])
def test_coverage_out_of_range_is_refused(coverage: float) -> None:
    with pytest.raises(InputError, match="must be above 0 and below 1"):
        conformal_half_width(np.ones((20, 1)), coverage)


def test_covered_counts_ends_and_leaves_out_nan() -> None:
    errors = np.array([[1.0, np.nan, np.nan], [-2.0, 0.5, np.nan], [3.0, -4.0, np.nan]])
    np.testing.assert_array_equal(covered(errors, [2, np.inf, 1]), [2 / 3, 1, np.nan])
    each = np.array([[0.5, 1, 1], [2, 1, 1], [2, 1, 1]])
    np.testing.assert_array_equal(covered(errors, each), [1 / 3, 1 / 2, np.nan])
