"""Intervals: against a loop over ranks, and against what theory says of their coverage."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import norm

from napari_nh2st.analysis.intervals import (
    Coverage,
    conformal_half_width,
    covered,
    errors_of,
    half_width_by_spread,
    held_out_coverage,
    interval_coverage,
    widest_half_width,
)
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.half_widths import scaled_half_width


def _half_width_by_hand(errors: list[float], coverage: Fraction) -> float:
    """The definition, in whole numbers: the smallest error of sufficient rank."""
    known = sorted(abs(error) for error in errors if not math.isnan(error))
    for rank, error in enumerate(known, start=1):
        if rank >= (len(known) + 1) * coverage:
            return error
    return math.inf


@pytest.mark.parametrize("percent", [7, 10, 50, 80, 90])
def test_half_width_is_the_error_of_its_rank(percent: int) -> None:
    rng = np.random.default_rng(percent)
    # Up to 120 spots: 0.07 x 100 is no whole number in binary.
    for n in range(121):
        errors = rng.normal(size=(n, 2))
        errors[rng.random(n) < 0.2, 1] = np.nan
        by_hand = [_half_width_by_hand(list(gene), Fraction(percent, 100)) for gene in errors.T]
        np.testing.assert_array_equal(conformal_half_width(errors, percent / 100), by_hand)


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


def test_widest_half_width_is_that_of_the_hardest_section_of_each_gene() -> None:
    rng = np.random.default_rng(5)
    sections = [rng.normal(0, scale, (n, 3)) for n, scale in ((20, 1), (30, [3, 1, 1]), (8, 99))]
    sections[0][:, 2] = np.nan
    sections[1][:, 2] = np.nan
    expected = []
    for gene in range(3):
        each = [
            _half_width_by_hand(list(section[:, gene]), Fraction(9, 10)) for section in sections
        ]
        finite = [half for half in each if half < math.inf]
        expected.append(max(finite, default=math.nan))
    np.testing.assert_array_equal(widest_half_width(sections), expected)
    assert math.isnan(expected[2]), "the section of eight spots does not count"
    assert expected[0] > expected[1]


def test_what_others_hold_of_a_section_was_not_learned_from_it() -> None:
    rng = np.random.default_rng(6)
    sections = {
        name: rng.normal(0, scale, (200, 40)) for name, scale in zip("ABC", (1, 2, 4), strict=True)
    }
    found = held_out_coverage(sections)
    for name, errors in sections.items():
        others = [each for other, each in sections.items() if other != name]
        share = covered(errors, widest_half_width(others))
        low, high = np.quantile(share, (0.1, 0.9))
        assert found[name] == Coverage(share.mean(), low, high)
    assert found["A"].mean > 0.999
    assert found["B"].mean > 0.99
    # Half as hard is the hardest of the others: P(|z| < 1.645 / 2).
    assert found["C"].mean == pytest.approx(2 * norm.cdf(1.645 / 2) - 1, abs=0.03)
    assert held_out_coverage({"A": sections["A"]}) == {}, "there is no other"


def test_half_width_by_spread_is_a_rank_of_errors_over_their_scale() -> None:
    rng = np.random.default_rng(7)
    spreads = [rng.gamma(4, 0.1, (n, 3)) for n in (30, 40)]
    spreads[0][:, 2] = spreads[1][:, 2] = 0
    errors = [rng.normal(0, spread + 1) for spread in spreads]
    usual, half = half_width_by_spread(errors, spreads)
    together, spread = np.concatenate(errors), np.concatenate(spreads)
    for gene in range(2):
        mean = sum(spread[:, gene]) / 70
        scaled = [e / (s + mean) for e, s in zip(together[:, gene], spread[:, gene], strict=True)]
        q = _half_width_by_hand(scaled, Fraction(9, 10))
        assert usual[gene] == pytest.approx(mean)
        assert half[gene] == pytest.approx(q * 2 * mean)
        widths = scaled_half_width(half, usual, spread) * (1 + 1e-9)  # that of the rank itself
        share = covered(together, widths)[gene]
        assert share == 64 / 70, "of 70 errors that of rank 0.9 · 71 is the 64th"
    assert np.isnan([usual[2], half[2]]).all(), "heads that agree everywhere"
    assert np.isnan(half_width_by_spread([errors[0][:8]], [spreads[0][:8]])[1]).all()


def test_coverage_counts_the_genes_that_have_an_interval() -> None:
    errors = np.array([[0.1, 1.0, 5.0], [-0.3, -1.0, 5.0], [0.2, 3.0, np.nan]])
    assert Coverage.of(errors, [0.2, 1.0, np.nan]) == Coverage(2 / 3, 2 / 3, 2 / 3)
    assert Coverage.of(errors, [0.2, 0.5, 5.0]) == Coverage((2 / 3 + 0 + 1) / 3, 2 / 15, 14 / 15)
    assert Coverage.of(errors, [np.nan] * 3) is None
    assert Coverage.of(np.full((2, 1), np.nan), [1.0]) is None
    assert str(Coverage(0.914, 0.8349, 1.0)) == "91% (genes 83% to 100%)"
    assert Coverage(0.91234567, 0.8, 1.0).to_json() == {"mean": 0.9123, "low": 0.8, "high": 1.0}


def test_coverage_of_a_prediction_is_that_of_its_measured_values() -> None:
    predicted = np.array([[1.0, 2.0], [1.5, 2.5]], np.float32)
    measured = predicted + np.array([[0.1, -0.6], [0.3, 0.4]], np.float32)
    prediction = AnnData(
        predicted,
        var=pd.DataFrame({"interval_90": [0.2, 0.5]}, index=["A", "B"]),
        layers={"measured": measured},
    )
    np.testing.assert_allclose(errors_of(prediction), measured - predicted)
    assert interval_coverage(prediction) == Coverage(0.5, 0.5, 0.5)
    # As wide as it takes where the heads differ more: 0.5 · (1 + 1.6) / 2 holds an error of 0.6.
    prediction.var["usual_spread"] = [np.nan, 0.1]
    prediction.layers["spread"] = np.array([[0.1, 0.16], [0.1, 0.1]], np.float32)
    assert interval_coverage(prediction) == Coverage(0.75, 0.55, 0.95)
    del prediction.var["interval_90"]
    assert interval_coverage(prediction) is None
    prediction.layers["measured"][0, 0] = np.nan
    assert errors_of(prediction) is None, "what is left is in another unit"
