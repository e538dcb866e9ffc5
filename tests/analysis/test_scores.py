"""Scores of predictions, against scipy, scikit-learn and loops written out."""

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from anndata import AnnData
from numpy.typing import NDArray
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, mean_squared_error

from napari_nh2st.analysis.scores import bootstrap_pcc, gene_scores, pearson, summarize

GENES = ["A", "B", "C", "D"]


def section(spots: int = 60, seed: int = 0, genes: Sequence[str] = GENES) -> AnnData:
    """Genes of different depth; the later, the worse predicted."""
    rng = np.random.default_rng(seed)
    measured = rng.gamma(2, 0.4, (spots, len(genes))) + np.arange(len(genes))
    noise = rng.normal(0, 1, measured.shape) * np.linspace(0.1, 2, len(genes))
    return predicted_section(0.5 * measured + noise, measured, genes)


def predicted_section(
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
    genes: Sequence[str] = GENES,
) -> AnnData:
    prediction = AnnData(predicted.astype(np.float32))
    prediction.var_names = list(genes)
    prediction.layers["measured"] = measured.astype(np.float32)
    return prediction


def values(prediction: AnnData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        np.asarray(prediction.X, np.float64),
        np.asarray(prediction.layers["measured"], np.float64),
    )


def test_pearson_is_scipys() -> None:
    predicted, measured = values(section())
    expected = [pearsonr(x, y).statistic for x, y in zip(predicted.T, measured.T, strict=True)]
    np.testing.assert_allclose(pearson(predicted, measured), expected, rtol=1e-12)


def test_a_gene_that_does_not_vary_has_no_correlation() -> None:
    predicted, measured = values(section())
    predicted[:, 1] = 0.1
    measured[:, 2] = 0
    predicted[:, 3] = np.float32(1.3) * (1 + 1e-9 * np.arange(60))  # varies by rounding alone
    assert np.isnan(pearson(predicted, measured)).tolist() == [False, True, True, True]


def test_errors_are_scikit_learns() -> None:
    prediction = section()
    predicted, measured = values(prediction)
    baseline = np.array([1.0, 2.0, 2.5, 4.0])
    scores = gene_scores([prediction], baseline, bootstrap=0)
    each = {"multioutput": "raw_values"}
    expected = np.tile(baseline, (60, 1))
    assert scores["gene"].tolist() == GENES
    np.testing.assert_allclose(scores["mse"], mean_squared_error(measured, predicted, **each))
    np.testing.assert_allclose(scores["mae"], mean_absolute_error(measured, predicted, **each))
    np.testing.assert_allclose(
        scores["mse_baseline"], mean_squared_error(measured, expected, **each)
    )
    np.testing.assert_allclose(
        scores["mae_baseline"], mean_absolute_error(measured, expected, **each)
    )
    assert scores[["pcc_low", "pcc_high"]].isna().all(axis=None)


def test_sections_are_scored_apart_and_averaged() -> None:
    one, other = section(60, 0), section(25, 1)
    # Between the sections everything agrees; within the second nothing does.
    other.X = other.X[::-1] + 50
    other.layers["measured"] = other.layers["measured"] + 50
    scores = gene_scores([one, other], None, bootstrap=0)
    apart = [gene_scores([p], None, bootstrap=0) for p in (one, other)]
    for name in ("pcc", "mse", "mae"):
        np.testing.assert_allclose(scores[name], (apart[0][name] + apart[1][name]) / 2)
    assert scores["pcc"].max() < 0.7


def test_the_bootstrap_is_a_loop_over_resampled_spots() -> None:
    predictions = [section(40, 0), section(25, 1)]
    fast = bootstrap_pcc(predictions, 4000, seed=3)
    rng = np.random.default_rng(7)
    slow = np.zeros((1000, len(GENES)))
    for resample in slow:
        for predicted, measured in map(values, predictions):
            rows = rng.integers(len(predicted), size=len(predicted))
            for gene in range(len(GENES)):
                resample[gene] += np.corrcoef(predicted[rows, gene], measured[rows, gene])[0, 1] / 2
    # Of independent draws: equal within some standard errors of 1,000 resamples.
    np.testing.assert_allclose(fast.mean(0), slow.mean(0), atol=0.015)
    np.testing.assert_allclose(fast.std(0), slow.std(0), rtol=0.1)
    scores = gene_scores(predictions, None, bootstrap=4000, seed=3)
    expected = np.percentile(slow, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(scores[["pcc_low", "pcc_high"]].T, expected, atol=0.035)


def test_every_resample_is_the_correlation_of_spots_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Drawn a few at a time, one gene at a time: what bounds memory does not change the result.
    prediction = section(12, 5)
    whole = bootstrap_pcc([prediction], 30, seed=2)
    monkeypatch.setattr("napari_nh2st.analysis.scores.GENES_AT_ONCE", 1)
    monkeypatch.setattr("napari_nh2st.analysis.scores._WEIGHTS_BYTES", 8 * 12 * 30)
    np.testing.assert_allclose(bootstrap_pcc([prediction], 30, seed=2), whole, rtol=1e-12)
    rows = np.random.default_rng(2).integers(12, size=(30, 12))
    predicted, measured = values(prediction)
    for drawn, found in zip(rows, whole, strict=True):
        expected = [pearsonr(predicted[drawn, g], measured[drawn, g]).statistic for g in range(4)]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_gene_seen_in_one_spot_has_an_interval_of_the_resamples_that_hold_it() -> None:
    predicted, measured = values(section(10))
    measured[:, 0] = 0
    measured[4, 0] = 1
    resampled = bootstrap_pcc([predicted_section(predicted, measured)], 500)
    share = np.isnan(resampled[:, 0]).mean()
    assert share == pytest.approx(0.9**10, abs=0.07)  # resamples that never draw that spot
    assert np.isfinite(resampled[:, 1:]).all()


def test_genes_not_measured_somewhere_are_scored_where_they_were() -> None:
    whole, part = section(30, 0), section(30, 1)
    part.layers["measured"][:, 1] = np.nan
    scores = gene_scores([whole, part], np.ones(4), bootstrap=50).set_index("gene")
    alone = gene_scores([whole], np.ones(4), bootstrap=0).set_index("gene")
    assert scores.loc["B", "pcc"] == pytest.approx(alone.loc["B", "pcc"])
    assert scores.loc["A", "pcc"] != pytest.approx(alone.loc["A", "pcc"])
    # The part's target is in another unit: no errors of it.
    np.testing.assert_allclose(scores["mse"], alone["mse"])
    assert (
        gene_scores([part], np.ones(4), bootstrap=0)[["mse", "mae", "mse_baseline"]]
        .isna()
        .all(axis=None)
    )


def test_a_summary_finds_the_scores_by_their_names() -> None:
    prediction = section(50, 3)
    scores = gene_scores([prediction], np.ones(4), bootstrap=0)
    turned = scores[[*reversed(scores.columns)]].assign(reliability=0.5)
    expected = summarize(scores, [prediction], bootstrap=0)
    assert summarize(turned, [prediction], bootstrap=0) == expected


def test_a_summary_has_all_genes_first_and_the_best_beside_it() -> None:
    genes = [f"G{i}" for i in range(60)]
    prediction = section(50, 3, genes)
    baseline = np.asarray(prediction.layers["measured"], np.float64).mean(0)
    scores = gene_scores([prediction], baseline, bootstrap=0)
    summary = summarize(scores, [prediction], bootstrap=300)
    ranked = sorted(scores["pcc"], reverse=True)
    assert next(iter(summary)) == "mean_pcc"
    assert summary["mean_pcc"] == pytest.approx(sum(ranked) / 60)
    assert summary["median_pcc"] == pytest.approx((ranked[29] + ranked[30]) / 2)
    assert summary["top50_pcc"] == pytest.approx(sum(ranked[:50]) / 50)
    assert summary["top10_pcc"] == pytest.approx(sum(ranked[:10]) / 10)
    assert summary["mean_pcc_low"] < summary["mean_pcc"] < summary["mean_pcc_high"]
    means = bootstrap_pcc([prediction], 300).mean(1)
    assert summary["mean_pcc_low"] == pytest.approx(np.percentile(means, 2.5))
    assert summary["better_than_mean"] == np.mean(scores["mse"] < scores["mse_baseline"])
    assert summary["mse"] == pytest.approx(scores["mse"].mean())
    assert (summary["n_genes"], summary["n_spots"], summary["n_sections"]) == (60, 50, 1)


@pytest.mark.parametrize("best", [10, 50])
def test_the_best_genes_are_known_from_as_many_on(best: int) -> None:
    for n_genes in (best - 1, best):
        prediction = section(20, 3, [f"G{i}" for i in range(n_genes)])
        scores = gene_scores([prediction], None, bootstrap=0)
        summary = summarize(scores, [prediction], bootstrap=0)
        expected = summary["mean_pcc"] if n_genes == best else None
        assert summary[f"top{best}_pcc"] == expected


def test_a_summary_is_json_and_says_none_for_what_there_is_not() -> None:
    predicted, measured = values(section())
    predicted[:, 0] = 1
    prediction = predicted_section(predicted, measured)
    scores = gene_scores([prediction], None, bootstrap=20)
    summary = summarize(scores, [prediction], bootstrap=20)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["n_genes_without_pcc"] == 1
    assert summary["mean_pcc"] == pytest.approx(scores["pcc"][1:].mean())
    for name in ("mse_baseline", "better_than_mean", "top10_pcc", "top50_pcc"):
        assert summary[name] is None
    predicted[:] = 1
    nothing = predicted_section(predicted, measured)
    summary = summarize(gene_scores([nothing], None, bootstrap=9), [nothing], bootstrap=9)
    assert summary["mean_pcc"] is None
    assert summary["mean_pcc_low"] is None
    assert summary["mse"] is not None
    assert math.isfinite(summary["mse"])
