"""Regions and residuals, against scipy, pandas and loops written out."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import mannwhitneyu, pearsonr, zscore

from analysis_predictions import array_prediction, box
from napari_nh2st.analysis import (
    compare_regions,
    comparison_table,
    region_statistics,
    residual,
    tiles_in_region,
)
from napari_nh2st.errors import InputError


def prediction_with_a_hole(genes: int = 40) -> AnnData:
    """10 × 12 tiles; the left half has more of the later genes. Two tiles are not predicted."""
    rng = np.random.default_rng(3)
    left = (np.arange(120) % 12 < 6)[:, None]
    values = rng.gamma(2, 0.5, (120, genes)) + left * np.linspace(-0.2, 1.5, genes)
    values[[13, 14]] = np.nan
    return array_prediction(values, 10, 12)


LEFT, RIGHT = box(0, 0, 10, 6), box(0, 6, 10, 12)


def test_a_tile_is_in_a_region_if_its_center_is() -> None:
    prediction = prediction_with_a_hole()
    # Corners short of the centers of the third row and column, and beyond those of the second.
    inside = tiles_in_region(prediction, box(0, 0, 2.4, 2.4))
    assert prediction.obs_names[inside].tolist() == ["0x0", "0x1", "1x0"]  # 1x1 is not predicted
    triangle = [(0, 0), (1000, 0), (0, 1200)]
    x, y = prediction.obsm["spatial"].T
    expected = (y / 1000 + x / 1200 < 1) & ~np.isnan(prediction.X[:, 0])
    np.testing.assert_array_equal(tiles_in_region(prediction, triangle), expected)


def test_a_center_just_within_a_corner_is_in_the_region() -> None:
    prediction = prediction_with_a_hole()
    x, y = prediction.obsm["spatial"][60]
    square = np.array([(-0.4, -0.4), (-0.4, 0.4), (0.4, 0.4), (0.4, -0.4)])
    assert np.flatnonzero(tiles_in_region(prediction, np.add(square, (y, x)))).tolist() == [60]


def test_statistics_are_those_of_pandas() -> None:
    prediction = prediction_with_a_hole()
    regions = {"left": LEFT, "one tile": box(4, 4, 5, 5), "beside": box(50, 50, 51, 51)}
    table = region_statistics(prediction, regions)
    assert table.columns.tolist() == ["region", "gene", "mean", "sd", "median", "n_tiles"]
    assert table["gene"].tolist() == prediction.var_names.tolist() * 3
    frame = prediction.to_df().astype(float)
    rows = table[table["region"] == "left"].set_index("gene")
    left = frame[prediction.obs["array_col"] < 6].dropna()
    assert (rows["n_tiles"] == 58).all()
    for name, expected in (("mean", left.mean()), ("sd", left.std()), ("median", left.median())):
        np.testing.assert_allclose(rows[name], expected, rtol=1e-6)
    one = table[table["region"] == "one tile"].set_index("gene")
    np.testing.assert_allclose(one["mean"], frame.loc["4x4"], rtol=1e-6)
    assert (one["n_tiles"] == 1).all()
    assert one["sd"].isna().all()
    beside = table[table["region"] == "beside"]
    assert (beside["n_tiles"] == 0).all()
    assert beside[["mean", "sd", "median"]].isna().all(axis=None)


def test_no_region_gives_an_empty_table() -> None:
    table = region_statistics(prediction_with_a_hole(), {})
    assert table.columns.tolist() == ["region", "gene", "mean", "sd", "median", "n_tiles"]
    assert table.empty


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([(0, 0), (1, 1)], "tumour has shape"),
        ([(0, 0), (1, np.nan), (1, 1)], "tumour has a corner"),
    ],
)
def test_what_is_no_polygon_is_refused_by_name(polygon: list[object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        region_statistics(prediction_with_a_hole(), {"tumour": polygon})


def test_two_regions_are_compared_gene_by_gene() -> None:
    prediction = prediction_with_a_hole()
    table = compare_regions(prediction, LEFT, RIGHT)
    assert (table["n_first"] == 58).all()
    assert (table["n_second"] == 60).all()
    assert table["effect"].abs().is_monotonic_decreasing
    assert all(int(gene[1:]) > 25 for gene in table["gene"].head(8))
    frame = prediction.to_df().astype(float)
    left = frame[prediction.obs["array_col"] < 6].dropna()
    right = frame[prediction.obs["array_col"] >= 6]
    for row in table.itertuples():
        a, b = left[row.gene], right[row.gene]
        assert row.mean_first == pytest.approx(a.mean())
        assert row.mean_second == pytest.approx(b.mean())
        assert row.difference == pytest.approx(a.mean() - b.mean())
        pooled = (57 * a.var() + 59 * b.var()) / 116
        assert row.effect == pytest.approx((a.mean() - b.mean()) / pooled**0.5)
        assert row.p == pytest.approx(mannwhitneyu(a, b).pvalue)


def test_q_is_benjamini_and_hochbergs_step_up() -> None:
    table = compare_regions(prediction_with_a_hole(), LEFT, RIGHT).sort_values("p")
    p = table["p"].to_numpy()
    m = len(p)
    expected = [min(p[j] * m / (j + 1) for j in range(i, m)) for i in range(m)]
    np.testing.assert_allclose(table["q"], np.minimum(expected, 1))


def test_regions_in_the_other_order_turn_the_sign_alone() -> None:
    prediction = prediction_with_a_hole()
    one = compare_regions(prediction, LEFT, RIGHT).set_index("gene")
    other = compare_regions(prediction, RIGHT, LEFT).set_index("gene").loc[one.index]
    np.testing.assert_allclose(one["effect"], -other["effect"])
    np.testing.assert_allclose(one["p"], other["p"])


def test_tiles_in_both_regions_count_in_neither() -> None:
    prediction = prediction_with_a_hole()
    overlapping = compare_regions(prediction, box(0, 0, 10, 8), box(0, 4, 10, 12))
    apart = compare_regions(prediction, box(0, 0, 10, 4), box(0, 8, 10, 12))
    pd.testing.assert_frame_equal(overlapping, apart)


def test_a_gene_without_variance_has_no_effect_and_comes_last() -> None:
    prediction = prediction_with_a_hole()
    predicted = ~np.isnan(prediction.X[:, 0])
    prediction.X[predicted, 7] = 1.1
    last = compare_regions(prediction, LEFT, RIGHT).iloc[-1]
    assert last["gene"] == "G7"
    assert np.isnan(last["effect"])
    assert last["p"] == last["q"] == 1
    assert last["difference"] == pytest.approx(0)


def test_a_region_with_too_few_tiles_of_its_own_is_a_sentence() -> None:
    prediction = prediction_with_a_hole()
    with pytest.raises(InputError, match="first region has too few predicted tiles: 1, and"):
        compare_regions(prediction, box(4, 4, 5, 5), RIGHT)
    with pytest.raises(InputError, match=r"second region .* that the other does not have too: 0"):
        compare_regions(prediction, box(0, 0, 10, 12), LEFT)


def measured_prediction() -> AnnData:
    """Genes of falling quality; one not measured, one spot not predicted, one not measured."""
    rng = np.random.default_rng(5)
    measured = rng.gamma(2, 0.4, (42, 4))
    predicted = 0.5 * measured + rng.normal(0, 1, (42, 4)) * [0.05, 0.2, 0.8, 0.1]
    measured[:, 3] = np.nan
    measured[11] = np.nan
    predicted[4] = np.nan
    prediction = array_prediction(predicted, 6, 7, reliability=[0.5, 0.4, 0.1, np.nan])
    prediction.layers["measured"] = measured.astype(np.float32)
    return prediction


def test_a_residual_is_predicted_minus_measured() -> None:
    prediction = measured_prediction()
    off = residual(prediction)
    for spot, gene in ((0, 0), (17, 2), (41, 1)):
        expected = prediction.X[spot, gene] - prediction.layers["measured"][spot, gene]
        assert off[spot, gene] == expected
    assert np.isnan(off[:, 3]).all()
    assert np.isnan(off[[4, 11]]).all()
    assert np.isfinite(np.delete(off, [4, 11], 0)[:, :3]).all()


def test_a_standardized_residual_is_the_difference_of_scipys_z_scores() -> None:
    prediction = measured_prediction()
    # One gene known at fewer spots than the others.
    prediction.layers["measured"][20:25, 1] = np.nan
    off = residual(prediction, standardize=True)
    for gene in range(3):
        predicted = prediction.X[:, gene].astype(float)
        measured = prediction.layers["measured"][:, gene].astype(float)
        known = np.isfinite(predicted) & np.isfinite(measured)
        expected = np.full(42, np.nan)
        expected[known] = zscore(predicted[known]) - zscore(measured[known])
        np.testing.assert_allclose(off[:, gene], expected, atol=1e-5)
    assert np.isnan(off[:, 3]).all()


def test_a_comparison_scores_the_spots_that_have_both() -> None:
    prediction = measured_prediction()
    table = comparison_table(prediction, bootstrap=200, seed=1)
    assert table["gene"].tolist() == ["G0", "G1", "G2", "G3"]
    known = np.delete(np.arange(42), [4, 11])
    for gene in range(3):
        x, y = prediction.X[known, gene], prediction.layers["measured"][known, gene]
        assert table["pcc"][gene] == pytest.approx(pearsonr(x, y).statistic, abs=1e-6)
        assert table["pcc_low"][gene] < table["pcc"][gene] < table["pcc_high"][gene]
    assert np.isnan(table["pcc"][3])
    np.testing.assert_allclose(table["reliability"], [0.5, 0.4, 0.1, np.nan])
    assert (table["n_spots"] == 40).all()
    again = comparison_table(prediction, bootstrap=200, seed=1)
    pd.testing.assert_frame_equal(table, again)


def test_without_measurement_there_is_nothing_to_compare() -> None:
    prediction = measured_prediction()
    prediction.layers["measured"][1:] = np.nan
    with pytest.raises(InputError, match="too few spots in common: 1"):
        comparison_table(prediction)
    del prediction.layers["measured"]
    for compare in (comparison_table, residual):
        with pytest.raises(InputError, match="load the spots"):
            compare(prediction)
