"""A comparison in words."""

import html
from typing import Any

import pandas as pd

from napari_nh2st.model.config import PUBLISHED_TARGET
from napari_nh2st.widgets.compare.layers import Kind


def summary_in_words(summary: dict[str, Any], model: str) -> str:
    """The mean over all genes, and how many are better than a constant, as markup.

    Parameters
    ----------
    summary
        From :func:`~napari_nh2st.analysis.scores.summarize`.
    model
        Its name.
    """
    mean = summary["mean_pcc"]
    counted = summary["n_genes"] - summary["n_genes_without_pcc"]
    if mean is None:
        return f"{html.escape(model)}: no gene varies in both, so there is no correlation."
    interval = _interval(summary["mean_pcc_low"], summary["mean_pcc_high"])
    words = f"<b>Mean PCC {_number(mean)}</b>{interval} over {counted} genes, "
    words += f"{summary['n_spots']} spots, with {html.escape(model)}."
    without = summary["n_genes_without_pcc"]
    if without:
        words += f" {without} genes have no PCC: they were not measured, or do not vary."
    better = summary["better_than_mean"]
    if better is not None:
        words += f" {better:.0%} of the genes are predicted better than by the training's mean."
    return words


def gene_in_words(gene: str, scores: pd.DataFrame) -> str:
    """A gene with its correlation and interval, as a title."""
    row = scores.set_index("gene").loc[gene]
    if pd.isna(row["pcc"]):
        return f"{gene} · no PCC"
    return f"{gene} · PCC {_number(row['pcc'])}{_interval(row['pcc_low'], row['pcc_high'])}"


def unit_in_words(kind: Kind, *, standardized: bool = False) -> str:
    """What a kind of values is counted in.

    Parameters
    ----------
    kind
        Of the layer.
    standardized
        Whether the residual is that of standardized values.
    """
    if kind == "residual" and standardized:
        return (
            "predicted minus measured, each standardized over the spots (mean 0, standard "
            "deviation 1)"
        )
    unit = str(PUBLISHED_TARGET["description"])
    return f"predicted minus measured, in {unit}" if kind == "residual" else unit


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return ""
    return f" ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    """With a true minus."""
    return f"{value:.2f}".replace("-", "−")
