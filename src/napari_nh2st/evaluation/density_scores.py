"""Scores of an evaluation by the density of nuclei, as a table and a figure."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.analysis.intervals import errors_of
from napari_nh2st.analysis.scores import pearson
from napari_nh2st.export.figure import save_figure
from napari_nh2st.prediction.schema import MEASURED, nuclei

N_PARTS = 4
_FEWEST_SPOTS = 8
"""In a part: a correlation over fewer says nothing."""

_BLUE, _RED = "#31688e", "#b5367a"


def scores_by_density(predictions: Iterable[AnnData]) -> pd.DataFrame | None:
    """Scores in each quarter of the spots, from the fewest nuclei to the most.

    Parameters
    ----------
    predictions
        Predictions at spots, see :func:`~napari_nh2st.evaluation.spot_prediction.predict_spots`.

    Returns
    -------
    DataFrame or None
        One row per quarter of all spots, by ``nuclei_per_mm2``: its limits ``from`` and ``to``,
        ``spots``, ``mean_pcc`` over the genes that vary there, and ``mse`` without sections that
        lack genes, whose values are in another unit. None if nuclei were not counted, or there
        are too few spots.
    """
    counted = [(each, nuclei(each)) for each in predictions]
    known = [(each, of.to_numpy()) for each, of in counted if of is not None]
    density = np.concatenate([of for _, of in known]) if known else np.empty(0)
    if len(density) < N_PARTS * _FEWEST_SPOTS:
        return None
    # By rank: many spots may have the same density, such as none.
    part = np.empty(len(density), np.int64)
    part[np.argsort(density, kind="stable")] = np.arange(len(density)) * N_PARTS // len(density)
    predicted = np.concatenate([np.asarray(each.X, np.float64) for each, _ in known])
    measured = np.concatenate([np.asarray(each.layers[MEASURED], np.float64) for each, _ in known])
    squares = np.concatenate([_squared_errors(each) for each, _ in known])
    rows = []
    for number in range(N_PARTS):
        chosen = part == number
        pcc = pearson(predicted[chosen], measured[chosen])
        known_pcc, known_mse = pcc[np.isfinite(pcc)], squares[chosen][~np.isnan(squares[chosen])]
        rows.append(
            {
                "from": density[chosen].min(),
                "to": density[chosen].max(),
                "spots": int(chosen.sum()),
                "mean_pcc": known_pcc.mean() if len(known_pcc) else np.nan,
                "mse": known_mse.mean() if len(known_mse) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _squared_errors(prediction: AnnData) -> Any:
    """(spots,) mean over the genes; NaN where values are in another unit."""
    errors = errors_of(prediction)
    if errors is None:
        return np.full(prediction.n_obs, np.nan)
    return np.square(errors).mean(1)


def save_density_figure(scores: pd.DataFrame, path: Path) -> None:
    """Draw correlation and squared error of each quarter of the spots.

    Parameters
    ----------
    scores
        From :func:`scores_by_density`.
    path
        ``.png``.

    Raises
    ------
    OSError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure((8.6, 3.6), layout="constrained")
    names = [
        f"{low:,.0f}–{high:,.0f}\n{spots:,} spots"
        for low, high, spots in zip(scores["from"], scores["to"], scores["spots"], strict=True)
    ]
    both = (
        ("mean_pcc", "mean PCC over genes", _BLUE),
        ("mse", "mean squared error", _RED),
    )
    for axis, (column, label, color) in zip(figure.subplots(1, 2), both, strict=True):
        axis.bar(names, scores[column].fillna(0), color=color, width=0.7)
        axis.axhline(0, color="black", lw=0.8)
        axis.set_ylabel(label)
        axis.set_xlabel("nuclei per mm² of the tile (estimated), a quarter of the spots each")
        axis.tick_params(axis="x", labelsize=8)
        axis.xaxis.label.set_fontsize(8)
        axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path, dpi=130)
