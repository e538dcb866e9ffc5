"""Scores of predictions against measurements: correlations and errors, with intervals."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.schema import MEASURED
from napari_nh2st.prediction.values import GENES_AT_ONCE, SAME

ERRORS = ("mse", "mae", "mse_baseline", "mae_baseline")
"""Columns of errors in a table of scores, in this order."""

INTERVAL = (2.5, 97.5)
"""Percentiles of the resamples: a 95 % interval."""

_WEIGHTS_BYTES = 2**25
"""Bound on the resamples that are drawn at once."""


def pearson(predicted: NDArray[np.floating], measured: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson correlation of each gene over the spots.

    Parameters
    ----------
    predicted, measured
        (spots, genes).

    Returns
    -------
    ndarray
        (genes,), NaN where one of the two does not vary or is NaN.

    Examples
    --------
    >>> pearson(np.array([[1, 1], [2, 1]]), np.array([[3, 3], [5, 4]])).round(3).tolist()
    [1.0, nan]
    """
    x, y = _standardized(predicted), _standardized(measured)
    return np.asarray(np.clip(np.mean(x * y, axis=0), -1, 1))


def gene_scores(
    predictions: Sequence[AnnData],
    baseline: NDArray[np.floating] | None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Score every gene on measured sections.

    With several sections, each score is the mean of the scores within each section: pooled spots
    would reward a model for recognizing sections. The interval is over spots, resampled within
    each section. Since neighboring spots resemble each other, it is narrower than the variation
    between sections or donors.

    Parameters
    ----------
    predictions
        One per section, all with the same genes: ``X`` predicted, ``layers["measured"]`` the
        target, NaN throughout for a gene that was not measured. Targets are scaled to the sum of
        the genes measured, so if one is missing, the others are in another unit: such a section
        counts for correlations and not for errors.
    baseline
        (genes,) constant prediction, the mean of the training target; or (sections, genes), if
        each section was left out of another training; None if unknown.
    bootstrap
        Number of resamples; 0 for no interval. Memory is 8 bytes × resamples × genes.
    seed
        Seed of the resampling.

    Returns
    -------
    DataFrame
        One row per gene, in the panel's order: ``gene``, ``pcc``, ``pcc_low`` and ``pcc_high``
        (95 % interval), ``mse``, ``mae``, and ``mse_baseline``, ``mae_baseline`` of the baseline.
        NaN where a score does not exist.
    """
    return joint_scores(predictions, baseline, bootstrap=bootstrap, seed=seed).genes


class Scores(NamedTuple):
    """Scores gene by gene, as :func:`gene_scores` has them, and their summary."""

    genes: pd.DataFrame
    summary: dict[str, Any]


def joint_scores(
    predictions: Sequence[AnnData],
    baseline: NDArray[np.floating] | None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Scores:
    """Score sections together; the parameters are those of :func:`gene_scores`."""
    values = [
        _section_values(prediction, expected)
        for prediction, expected in zip(
            predictions, _by_section(baseline, predictions), strict=True
        )
    ]
    resampled = bootstrap_pcc(predictions, bootstrap, seed)
    return _scored(predictions, _mean(np.array(values)), resampled)


def score_sections(
    predictions: Sequence[AnnData],
    baseline: NDArray[np.floating] | None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[Scores, list[Scores]]:
    """Score sections together and each alone; each of their spots is resampled once for both.

    Parameters
    ----------
    predictions, baseline, bootstrap, seed
        As for :func:`gene_scores`.

    Returns
    -------
    joint
        Over all sections.
    own
        Scores of each section.
    """
    rng = np.random.default_rng(seed)
    mean = _MeanOfSections()
    values, own = [], []
    for prediction, expected in zip(predictions, _by_section(baseline, predictions), strict=True):
        values.append(_section_values(prediction, expected))
        resampled = _resampled_pcc(prediction, bootstrap, rng)
        own.append(_scored([prediction], values[-1], resampled))
        mean.add(resampled)
    if len(own) == 1:
        return own[0], own
    return _scored(predictions, _mean(np.array(values)), mean.value()), own


def summarize(
    scores: pd.DataFrame,
    predictions: Sequence[AnnData],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Summarize the scores of all genes in a few numbers, ready for JSON.

    Parameters
    ----------
    scores
        From :func:`gene_scores`.
    predictions, bootstrap, seed
        As for :func:`gene_scores`.

    Returns
    -------
    dict
        In this order, None for what does not exist:

        - ``mean_pcc`` over all genes that have one, with its own interval over spots
          (``mean_pcc_low``, ``mean_pcc_high``), and ``median_pcc``;
        - ``top50_pcc``, ``top10_pcc``: means over the best genes. They are picked on the very
          sections they are scored on, as in the published evaluation, hence optimistic
          (``top_genes_picked_on`` says so). None if fewer genes have a correlation;
        - ``mse``, ``mae``, ``mse_baseline``, ``mae_baseline``: means over the genes;
        - ``better_than_mean``: share of the genes whose ``mse`` is below ``mse_baseline``;
        - ``n_genes``, ``n_genes_without_pcc`` (prediction or target does not vary), ``n_spots``,
          ``n_sections``.
    """
    return _summary(scores, predictions, bootstrap_pcc(predictions, bootstrap, seed))


def bootstrap_pcc(
    predictions: Sequence[AnnData], resamples: int, seed: int = 0
) -> NDArray[np.float64]:
    """Correlations of each gene over resampled spots, as :func:`gene_scores` has them.

    Parameters
    ----------
    predictions
        One for each section.
    resamples
        Each draws as many spots from each section as it has, with replacement; all genes see the
        same draws.
    seed
        Seed of the draws.

    Returns
    -------
    ndarray
        (resamples, genes) mean over the sections; NaN where a resample has nothing that varies.
    """
    rng = np.random.default_rng(seed)
    mean = _MeanOfSections()
    for prediction in predictions:
        mean.add(_resampled_pcc(prediction, resamples, rng))
    return mean.value()


def _by_section(
    baseline: NDArray[np.floating] | None, predictions: Sequence[AnnData]
) -> NDArray[np.float64]:
    """(sections, genes) of a baseline, NaN where it is not known."""
    wanted = np.nan if baseline is None else np.asarray(baseline, np.float64)
    return np.broadcast_to(wanted, (len(predictions), predictions[0].n_vars))


def _section_values(prediction: AnnData, expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """(5, genes) of a section: PCC, MSE, MAE, and the two errors of the baseline."""
    predicted, measured = _values(prediction)
    pcc = pearson(predicted, measured)
    if np.isnan(measured).any():
        return np.stack([pcc, *np.full((4, len(pcc)), np.nan)])
    off, off_baseline = predicted - measured, expected - measured
    errors = (off**2, np.abs(off), off_baseline**2, np.abs(off_baseline))
    return np.stack([pcc, *(error.mean(0) for error in errors)])


def _scored(
    predictions: Sequence[AnnData], values: NDArray[np.float64], resampled: NDArray[np.float64]
) -> Scores:
    low, high = _interval(resampled)
    pcc, *errors = values
    genes = predictions[0].var_names.to_numpy(str)
    table = {"gene": genes, "pcc": pcc, "pcc_low": low, "pcc_high": high}
    scores = pd.DataFrame(table | dict(zip(ERRORS, errors, strict=True)))
    return Scores(scores, _summary(scores, predictions, resampled))


def _summary(
    scores: pd.DataFrame, predictions: Sequence[AnnData], resampled: NDArray[np.float64]
) -> dict[str, Any]:
    pcc = np.sort(scores["pcc"].dropna().to_numpy())[::-1]
    mean_low, mean_high = _interval(_mean(resampled.T)[:, None])[:, 0]
    known = scores[["mse", "mse_baseline"]].dropna()
    summary = {
        "mean_pcc": _mean(pcc),
        "mean_pcc_low": mean_low,
        "mean_pcc_high": mean_high,
        "median_pcc": np.median(pcc) if len(pcc) else np.nan,
        "top50_pcc": _mean(pcc[:50]) if len(pcc) >= 50 else np.nan,
        "top10_pcc": _mean(pcc[:10]) if len(pcc) >= 10 else np.nan,
        "top_genes_picked_on": "the evaluated sections themselves (optimistic)",
        **{name: _mean(scores[name].to_numpy()) for name in ERRORS},
        "better_than_mean": _mean((known["mse"] < known["mse_baseline"]).to_numpy(float)),
        "n_genes": len(scores),
        "n_genes_without_pcc": len(scores) - len(pcc),
        "n_spots": sum(p.n_obs for p in predictions),
        "n_sections": len(predictions),
    }
    return {name: _storable(value) for name, value in summary.items()}


def _resampled_pcc(
    prediction: AnnData, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(resamples, genes) correlations of one section."""
    predicted, measured = _values(prediction)
    resampled = np.empty((resamples, prediction.n_vars))
    for rows, weights in _draws(resamples, len(predicted), rng):
        for at in range(0, prediction.n_vars, GENES_AT_ONCE):
            genes = slice(at, at + GENES_AT_ONCE)
            resampled[rows, genes] = _weighted_pearson(
                weights, predicted[:, genes], measured[:, genes]
            )
    return resampled


class _MeanOfSections:
    """Mean over arrays of one shape, one after another, of what is not NaN; NaN without any."""

    def __init__(self) -> None:
        self._total: Any = 0.0
        self._count: Any = np.uint16(0)

    def add(self, values: NDArray[np.float64]) -> None:
        known = np.isfinite(values)
        self._total += np.where(known, values, 0)
        self._count += known

    def value(self) -> NDArray[np.float64]:
        none = np.full(np.shape(self._total), np.nan)
        return np.asarray(np.divide(self._total, self._count, out=none, where=self._count > 0))


def _draws(
    resamples: int, spots: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """How often each spot is in a resample: (some resamples, spots), a bounded number at once."""
    at_once = max(1, _WEIGHTS_BYTES // (8 * spots))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(spots, size=(rows, spots))
        drawn += np.arange(rows)[:, None] * spots
        times = np.bincount(drawn.ravel(), minlength=rows * spots).reshape(rows, spots)
        yield slice(start, start + rows), times.astype(np.float64)


def _weighted_pearson(
    weights: NDArray[np.float64],
    predicted: NDArray[np.floating],
    measured: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Correlations where each spot counts several times: (resamples, spots) → (resamples, genes).

    As matrix products: no resample is ever laid out.
    """
    # Around 0 and of unit size, sums of squares keep their digits.
    x, y = _standardized(predicted), _standardized(measured)
    n = weights.sum(1, keepdims=True)
    mean_x, mean_y = weights @ x / n, weights @ y / n
    variance_x = weights @ (x * x) / n - mean_x**2
    variance_y = weights @ (y * y) / n - mean_y**2
    covariance = weights @ (x * y) / n - mean_x * mean_y
    varies = (variance_x > 1e-12) & (variance_y > 1e-12)
    scale = np.sqrt(np.where(varies, variance_x * variance_y, np.nan))
    return np.asarray(np.clip(covariance / scale, -1, 1))


def _standardized(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean 0 and standard deviation 1 over the spots; NaN throughout where nothing varies."""
    values = np.asarray(values, np.float64)
    mean = values.mean(0)
    centered = values - mean
    deviation = np.sqrt(np.mean(centered**2, axis=0))
    deviation[~(deviation > SAME * np.abs(mean))] = np.nan
    return np.asarray(centered / deviation)


def _values(prediction: AnnData) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(spots, genes) predicted and measured."""
    return (
        np.asarray(prediction.X, np.float64),
        np.asarray(prediction.layers[MEASURED], np.float64),
    )


def _mean(values: NDArray[np.float64]) -> Any:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.nanmean(values, axis=0)


def _interval(resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, n) bounds of (resamples, n); NaN where there are none."""
    if not len(resampled):
        return np.full((2, resampled.shape[1]), np.nan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.asarray(np.nanpercentile(resampled, INTERVAL, axis=0))


def _storable(value: Any) -> Any:
    """Numbers that JSON knows."""
    if isinstance(value, str | int):
        return value
    return float(value) if np.isfinite(value) else None
