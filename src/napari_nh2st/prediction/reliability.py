"""Reliability of a gene's map, in words and as the color of a badge."""

import html
from collections.abc import Iterable

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.prediction.schema import RELIABILITY, reliability

THRESHOLD = 0.2
"""Held-out PCC from which a gene counts as reliable, until the user moves it."""

_GOOD = 0.5
# Mid tones, readable on light and on dark; the number always stands beside them.
_COLORS = {"good": "#2e9e6b", "fair": "#d08a1d", "poor": "#d0504a", "unknown": "#8c8c8c"}


def is_reliable(pcc: float, threshold: float) -> bool:
    """Whether the held-out PCC is known and reaches the threshold."""
    return bool(pcc >= threshold)


def reliability_number(pcc: float) -> str:
    """The held-out PCC with two decimals, or "unknown"."""
    return "unknown" if np.isnan(pcc) else _rounded(pcc, 2)


def reliability_reason(pcc: float, threshold: float) -> str:
    """What the held-out PCC means for a gene's map.

    Parameters
    ----------
    pcc
        Pearson correlation of prediction and measurement on held-out sections; NaN where unknown.
    threshold
        A gene below it is not reliable.
    """
    if np.isnan(pcc):
        return "reliability unknown: the model has no held-out PCC for this gene"
    if not is_reliable(pcc, threshold):
        # 0.198 is not said to be 0.20 and below 0.20.
        decimals = 2 if _rounded(pcc, 2) != _rounded(threshold, 2) else 4
        return (
            f"held-out PCC {_rounded(pcc, decimals)} is below {threshold:.2f}: on sections that "
            "the model had not seen, this gene's map hardly agreed with the measured one"
        )
    return f"held-out PCC {_rounded(pcc, 2)}"


def short_reliability(pcc: float, threshold: float) -> str:
    """The held-out PCC in few words, for places where the reason does not fit.

    Parameters
    ----------
    pcc, threshold
        As in :func:`reliability_reason`.
    """
    if np.isnan(pcc):
        return "reliability unknown"
    words = f"held-out PCC {_rounded(pcc, 2)}"
    return words if is_reliable(pcc, threshold) else f"{words}: not reliable"


def badge_color(pcc: float, threshold: float) -> str:
    """The badge's color, as #rrggbb."""
    if np.isnan(pcc):
        return _COLORS["unknown"]
    if not is_reliable(pcc, threshold):
        return _COLORS["poor"]
    return _COLORS["good" if pcc >= _GOOD else "fair"]


def badge_text(gene: str, pcc: float, threshold: float) -> str:
    """A line of rich text with a gene's name, badge and reliability."""
    dot = f"<span style='color:{badge_color(pcc, threshold)}'>●</span>"
    return f"{dot} <b>{html.escape(gene)}</b> — {reliability_reason(pcc, threshold)}"


def badge_list(genes: Iterable[tuple[str, float]], threshold: float) -> str:
    """Names of genes in rich text, each with its badge and held-out PCC.

    Parameters
    ----------
    genes
        Names and held-out PCC; in this order.
    threshold
        As in :func:`badge_color`.
    """
    return ", ".join(
        f"<span style='color:{badge_color(pcc, threshold)}'>●</span>\N{NO-BREAK SPACE}"
        f"{html.escape(gene)}\N{NO-BREAK SPACE}{reliability_number(pcc)}"
        for gene, pcc in genes
    )


def with_reliability(table: pd.DataFrame, prediction: AnnData) -> pd.DataFrame:
    """A table with a column ``gene``, and after it the ``reliability`` where it is known."""
    if RELIABILITY not in prediction.var or "gene" not in table:
        return table
    known = reliability(prediction).reindex(table["gene"]).to_numpy()
    before = list(table.columns[: table.columns.get_loc("gene") + 1])
    after = list(table.columns[len(before) :])
    return table.assign(reliability=known)[[*before, RELIABILITY, *after]]


def _rounded(number: float, decimals: int) -> str:
    return f"{round(number, decimals) + 0.0:.{decimals}f}"  # no -0.00
