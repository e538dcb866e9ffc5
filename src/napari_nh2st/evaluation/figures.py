"""Figures of an evaluation: maps of measured and predicted, and the genes' correlations."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.scores import pearson
from napari_nh2st.export.figure import draw_scale_bar, save_figure
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.prediction.schema import MEASURED, notes, slide_mpp, slide_name
from napari_nh2st.shown_text import for_matplotlib
from napari_nh2st.spots.positions import centers

_RANKS = (("best", 0.0), ("upper quartile", 0.25), ("median", 0.5), ("worst", 1.0))
"""Captions of the genes drawn, and their place in the ranking by PCC."""

_MAP_HEIGHT = 2.6
"""Inches."""

_BLUE, _RED, _GREY = "#31688e", "#b5367a", "#666666"


def ranked_genes(scores: pd.DataFrame) -> dict[str, str]:
    """Genes spread over the ranking by PCC: gene → its place in words.

    Parameters
    ----------
    scores
        From :func:`~napari_nh2st.analysis.scores.gene_scores`. Genes without a PCC are not
        ranked; fewer than four genes are each taken once.
    """
    ranked = scores.dropna(subset="pcc").sort_values("pcc", ascending=False, kind="stable")
    genes: dict[str, str] = {}
    for words, share in _RANKS:
        if len(ranked):
            place = round(share * (len(ranked) - 1))
            genes.setdefault(ranked["gene"].iloc[place], f"{words} of {len(ranked)} genes")
    return genes


def save_maps(prediction: AnnData, scores: pd.DataFrame, path: Path) -> None:
    """Draw the tissue and, for genes spread over the ranking, measured beside predicted.

    Both maps of a gene have the same colors; the PCC is that within the section.

    Parameters
    ----------
    prediction
        From :func:`~napari_nh2st.evaluation.spot_prediction.predict_spots`.
    scores
        Scores of the evaluation, for the ranking.
    path
        ``.png``.

    Raises
    ------
    OSError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    about = notes(prediction)
    y_um, x_um = (centers(prediction) * slide_mpp(prediction)).T
    pitch = float(about["pitch_um"])
    left, right = x_um.min() - pitch, x_um.max() + pitch
    top, bottom = y_um.min() - pitch, y_um.max() + pitch
    genes = [
        (gene, words)
        for gene, words in ranked_genes(scores).items()
        if np.isfinite(prediction[:, gene].layers[MEASURED]).all()
    ]
    width = float(np.clip(_MAP_HEIGHT * (right - left) / (bottom - top), 1.8, 7))
    rows = 1 + len(genes)
    figure = Figure((2 * width + 1.6, rows * (_MAP_HEIGHT + 0.35)), layout="constrained")
    axes = figure.subplots(
        rows, 3, squeeze=False, gridspec_kw={"width_ratios": [width, width, 0.09]}
    )
    _tissue(axes[0, 0], prediction)
    draw_scale_bar(axes[0, 0], left, right - left, um_per_px=1)
    axes[0, 0].set_title(for_matplotlib(f"{slide_name(prediction)} (H&E)"), fontsize=10)
    _caption(axes[0, 1], prediction)
    axes[0, 2].set_axis_off()
    unit = "\n".join(textwrap.wrap(str(about["target"]["description"]), 50))
    for row, (gene, words) in zip(axes[1:], genes, strict=True):
        measured = np.asarray(prediction[:, gene].layers[MEASURED], np.float64)
        predicted = np.asarray(prediction[:, gene].X, np.float64)
        limits = robust_limits(np.concatenate([measured, predicted]))
        pcc = pearson(predicted, measured)[0]
        titles = (
            f"{gene}, measured\n{words}",
            f"{gene}, predicted\n" + (f"PCC {_number(pcc)}" if np.isfinite(pcc) else "no PCC"),
        )
        for axis, values, title in zip(row[:2], (measured, predicted), titles, strict=True):
            spots = _spots(axis, x_um, y_um, values.ravel(), limits, pitch)
            axis.set_title(for_matplotlib(title), fontsize=10)
        bar = figure.colorbar(spots, cax=row[2], extend="both")
        bar.set_label(for_matplotlib(unit), fontsize=7)
        bar.ax.tick_params(labelsize=8)
    for axis in (axes[0, 0], *axes[1:, :2].ravel()):
        axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        axis.set_axis_off()
    save_figure(figure, path, dpi=130)


def save_gene_pcc(scores: pd.DataFrame, summary: dict[str, Any], path: Path) -> None:
    """Draw the genes' PCC, sorted, with their intervals, and how they are distributed.

    Parameters
    ----------
    scores, summary
        From :func:`~napari_nh2st.analysis.scores.gene_scores` and
        :func:`~napari_nh2st.analysis.scores.summarize`.
    path
        ``.png``.

    Raises
    ------
    OSError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure((8.6, 4.4), layout="constrained")
    curve, histogram = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [3, 1]})
    draw_gene_pcc(curve, scores, summary)
    pcc = scores["pcc"].dropna().to_numpy(np.float64)
    histogram.axhline(0, color="black", lw=0.8)
    histogram.spines[["top", "right"]].set_visible(False)
    if len(pcc):
        histogram.axhline(float(summary["mean_pcc"]), color=_RED, ls="--", lw=1.4)
        edges = np.linspace(min(pcc.min(), 0), max(pcc.max(), 0), 26)
        histogram.hist(pcc, edges, orientation="horizontal", color=_BLUE, alpha=0.75)
    histogram.set_xlabel("number of genes")
    figure.suptitle(scored_in_words(summary), fontsize=11)
    save_figure(figure, path, dpi=130)


def draw_gene_pcc(curve: Any, scores: pd.DataFrame, summary: dict[str, Any]) -> None:
    """Draw the genes' PCC, sorted, with their intervals, on axes of matplotlib.

    Parameters
    ----------
    curve
        The axes.
    scores, summary
        As of :func:`save_gene_pcc`.
    """
    ranked = scores.dropna(subset="pcc").sort_values("pcc", ascending=False, kind="stable")
    pcc = ranked["pcc"].to_numpy(np.float64)
    place = np.arange(1, len(pcc) + 1)
    curve.axhline(0, color="black", lw=0.8)
    curve.spines[["top", "right"]].set_visible(False)
    if len(pcc):
        low, high = ranked["pcc_low"].to_numpy(float), ranked["pcc_high"].to_numpy(float)
        curve.fill_between(
            place, low, high, color=_BLUE, alpha=0.25, lw=0, label="95 % interval over spots"
        )
        curve.plot(place, pcc, color=_BLUE, lw=1.8, label="PCC of a gene")
        if len(pcc) <= 20:
            curve.plot(place, pcc, "o", color=_BLUE, ms=4)
            curve.set_xticks(place, ranked["gene"], rotation=60, ha="right", fontsize=8)
        mean = float(summary["mean_pcc"])
        curve.axhline(mean, color=_RED, ls="--", lw=1.4, label=_mean_in_words(summary))
        curve.legend(frameon=False, fontsize=9)
    curve.set_ylabel("Pearson correlation (PCC) with the measured")
    curve.set_xlabel("genes, best first")


def scored_in_words(summary: dict[str, Any]) -> str:
    """How many genes, sections and spots scores are of."""
    without = summary["n_genes_without_pcc"]
    return (
        f"{_count(summary['n_genes'], 'gene')}, {_count(summary['n_sections'], 'section')}, "
        f"{_count(summary['n_spots'], 'spot')}"
        + (f" — {_count(without, 'gene')} without PCC not drawn" if without else "")
    )


def _tissue(axis: Any, prediction: AnnData) -> None:
    (spatial,) = prediction.uns["spatial"].values()
    picture = spatial["images"]["hires"]
    scale = float(spatial["scalefactors"]["tissue_hires_scalef"])
    mpp_y, mpp_x = slide_mpp(prediction)
    height, width = picture.shape[:2]
    axis.imshow(
        picture,
        extent=(0, width / scale * mpp_x, height / scale * mpp_y, 0),
        interpolation="antialiased",
    )


def _spots(
    axis: Any,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.float64],
    limits: tuple[float, float],
    pitch: float,
) -> Any:
    """Discs that nearly touch: their size is in µm, whatever the picture's."""
    from matplotlib.collections import EllipseCollection

    size = np.full(len(x), 0.96 * pitch)
    spots = EllipseCollection(
        size,
        size,
        np.zeros(len(x)),
        units="xy",
        offsets=np.column_stack([x, y]),
        offset_transform=axis.transData,
        array=values,
        cmap="magma",
        # The light end of the colors would be lost on white.
        edgecolor="0.6",
        lw=0.4,
    )
    spots.set_clim(*limits)
    axis.add_collection(spots)
    return spots


def _caption(axis: Any, prediction: AnnData) -> None:
    about = notes(prediction)
    model = about["model"]
    pcc = pearson(np.asarray(prediction.X), np.asarray(prediction.layers[MEASURED]))
    known = pcc[np.isfinite(pcc)]
    mean = f"mean PCC {_number(known.mean())} over {_count(len(known), 'gene')}"
    lines = [
        f"section {about['section']} (donor {about['donor']})",
        _count(prediction.n_obs, "spot") + f", {float(about['pitch_um']):.0f} µm apart",
        mean if len(known) else "no gene with a PCC",
        "",
        f"model {model['name']}, context {model['context']}",
        "",
        "Both maps of a gene have the same colors.",
    ]
    axis.set_axis_off()
    text = "\n".join(line for part in lines for line in (textwrap.wrap(part, 40) or [""]))
    axis.text(
        0.04,
        0.95,
        for_matplotlib(text),
        transform=axis.transAxes,
        va="top",
        fontsize=9.5,
        linespacing=1.5,
    )
    if not model["trained"]:
        axis.text(
            0.04,
            0.08,
            "UNTRAINED model:\nits predictions mean nothing",
            transform=axis.transAxes,
            color="firebrick",
            fontsize=9.5,
            weight="bold",
        )


def _mean_in_words(summary: dict[str, Any]) -> str:
    words = f"mean of all genes {_number(summary['mean_pcc'])}"
    low, high = summary["mean_pcc_low"], summary["mean_pcc_high"]
    return words if low is None else f"{words} (95 % interval {_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    """A number with a true minus, as on the axes."""
    return f"{value:.2f}".replace("-", "−")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
