"""Reliability of a gene's map, in words and as the color of a badge."""

import html
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.prediction.schema import (
    FAR_STAIN,
    MODEL_RELIABILITY,
    RELIABILITY,
    interval,
    notes,
    reliability,
    reliability_of,
    spread,
    unfamiliar,
)

THRESHOLD = 0.2
"""PCC from which a gene counts as reliable, until the user moves it."""

STAIN_IS_FAR = "slide's stain is far from what the model saw"
LOOK_UNLIKE = "look unlike those that the model was trained on"
"""What notices say, whatever the numbers in them."""

MUCH_UNFAMILIAR = 0.25
"""Share of a slide's tiles that are unfamiliar, from which the slide is far from the training.

Set with an encoder that saw slides in their own stains, over all tissue: 1 to 5 % of the tiles of
each HER2+ breast section by what is known of the other four; 79 to 88 % of sections of a mouse's
olfactory bulb, and all of H&E of skin from another scanner, by all five. With her2-breast-demo,
which sees all in one stain: 4 % of such a section, 9 % of the bulb, 27 % of the skin.
"""

_GOOD = 0.5
# Mid tones, readable on light and on dark; the number always stands beside them.
_COLORS = {"good": "#2e9e6b", "fair": "#d08a1d", "poor": "#d0504a", "unknown": "#8c8c8c"}


@dataclass(frozen=True)
class Badges:
    """What the reliability of a prediction's genes is called, and the colors of its badges.

    Parameters
    ----------
    reliable_from
        A gene whose PCC is below is not reliable.
    of
        What the PCC were measured on, such as "other sections of the same tumour"; empty where only
        that these were held out is known.
    far
        Why the slide is far from what the model saw, so that the PCC may not hold on it, and the
        badges are grey; empty where it is near, or where nothing is known.
    """

    reliable_from: float = THRESHOLD
    of: str = ""
    far: str = ""

    @classmethod
    def of_prediction(cls, prediction: AnnData, reliable_from: float = THRESHOLD) -> "Badges":
        """The badges of a prediction's genes."""
        far = "" if has_measured(prediction) else why_far(prediction)
        return cls(reliable_from, reliability_of(prediction), far)

    def is_reliable(self, pcc: float) -> bool:
        """Whether a PCC is known and reaches the threshold."""
        return bool(pcc >= self.reliable_from)

    def reason(self, pcc: float) -> str:
        """What a gene's PCC means for its map; NaN for one that is not known."""
        if np.isnan(pcc):
            where = f" on {self.of}" if self.of else ""
            return f"reliability unknown: there is no held-out PCC{where} for this gene"
        words = self.named(pcc)
        if not self.is_reliable(pcc):
            # 0.198 is not said to be 0.20 and below 0.20.
            close = _rounded(pcc, 2) == _rounded(self.reliable_from, 2)
            words = (
                f"{self.named(pcc, 4 if close else 2)} is below {self.reliable_from:.2f}: there, "
                "this gene's map hardly agreed with the measurement"
            )
        return f"{words}; it may not hold here: {self.far}" if self.far else words

    def short(self, pcc: float) -> str:
        """A gene's PCC in few words, for places where the reason does not fit."""
        if np.isnan(pcc):
            return "reliability unknown"
        words = self.named(pcc)
        if not self.is_reliable(pcc):
            words = f"not reliable: {words}"
        return f"{words}; slide far from training" if self.far else words

    def color(self, pcc: float) -> str:
        """The badge's color, as #rrggbb: grey where the PCC is not known, or may not hold."""
        if np.isnan(pcc) or self.far:
            return _COLORS["unknown"]
        if not self.is_reliable(pcc):
            return _COLORS["poor"]
        return _COLORS["good" if pcc >= _GOOD else "fair"]

    def line(self, gene: str, pcc: float) -> str:
        """A line of rich text with a gene's name, badge and reliability."""
        dot = f"<span style='color:{self.color(pcc)}'>●</span>"
        return f"{dot} <b>{html.escape(gene)}</b> — {html.escape(self.reason(pcc))}"

    def listed(self, genes: Iterable[tuple[str, float]]) -> str:
        """Names of genes in rich text, each with its badge and PCC, in the order given."""
        return ", ".join(
            f"<span style='color:{self.color(pcc)}'>●</span>\N{NO-BREAK SPACE}"
            f"{html.escape(gene)}\N{NO-BREAK SPACE}{reliability_number(pcc)}"
            for gene, pcc in genes
        )

    def named(self, pcc: float, decimals: int = 2) -> str:
        """A PCC that is known, and what it is of."""
        number = _rounded(pcc, decimals)
        return f"PCC {number} on {self.of}" if self.of else f"held-out PCC {number}"


def reliability_number(pcc: float) -> str:
    """A PCC with two decimals, or "unknown"."""
    return "unknown" if np.isnan(pcc) else _rounded(pcc, 2)


def with_reliability(table: pd.DataFrame, prediction: AnnData) -> pd.DataFrame:
    """A table with a column ``gene``, and after it the ``reliability`` where it is known."""
    if RELIABILITY not in prediction.var or "gene" not in table:
        return table
    known = reliability(prediction).reindex(table["gene"]).to_numpy()
    before = list(table.columns[: table.columns.get_loc("gene") + 1])
    after = list(table.columns[len(before) :])
    return table.assign(reliability=known)[[*before, RELIABILITY, *after]]


def use_measured(prediction: AnnData, pcc: pd.Series, of: str) -> None:
    """Let a slide's own measured scores be the reliability; :func:`undo_measured` takes it back.

    Parameters
    ----------
    prediction
        Of the slide.
    pcc
        By gene; those that were not measured are of unknown reliability then.
    of
        What they were measured on, in words that follow "PCC 0.48 on".
    """
    about = notes(prediction)
    if not has_measured(prediction):
        prediction.var[MODEL_RELIABILITY] = reliability(prediction)
        about["model_reliability_of"] = reliability_of(prediction)
    prediction.var[RELIABILITY] = pcc.reindex(prediction.var_names).to_numpy(np.float64)
    about["reliability_of"] = of


def undo_measured(prediction: AnnData) -> None:
    """Let the reliability be the model's again, see :func:`use_measured`."""
    if has_measured(prediction):
        about = notes(prediction)
        prediction.var[RELIABILITY] = prediction.var.pop(MODEL_RELIABILITY)
        about["reliability_of"] = about.pop("model_reliability_of", "")


def has_measured(prediction: AnnData) -> bool:
    """Whether the reliability is what was measured on the slide itself."""
    return MODEL_RELIABILITY in prediction.var


def why_far(prediction: AnnData) -> str:
    """Why a slide is far from what the model saw, in a clause; empty where it is near.

    Its stain is farther than :data:`~napari_nh2st.prediction.schema.FAR_STAIN`, or a share of its
    tiles of :data:`MUCH_UNFAMILIAR` or more is unfamiliar. Empty also where neither is known.
    """
    if float(notes(prediction).get("stain_distance", 0.0)) > FAR_STAIN:
        return f"the {STAIN_IS_FAR}"
    share = unfamiliar_share(prediction)
    return f"{share:.0%} of the tiles are unfamiliar" if share >= MUCH_UNFAMILIAR else ""


def unfamiliar_share(prediction: AnnData) -> float:
    """Share of the tiles with a value that are unfamiliar, from 0 to 1; 0 where not known."""
    distances = unfamiliar(prediction)
    known = np.empty(0) if distances is None else distances.dropna().to_numpy()
    return float((known > 1).mean()) if len(known) else 0.0


def trust_numbers(prediction: AnnData) -> dict[str, float | None]:
    """What a prediction says of its own trust, in three numbers for JSON; None where not known."""
    widths, heads = interval(prediction).dropna(), spread(prediction)
    found = {
        "median_interval_90": widths.median() if len(widths) else None,
        "median_spread": None
        if heads is None or not np.isfinite(heads).any()
        else np.nanmedian(heads),
        "unfamiliar_share": None
        if unfamiliar(prediction) is None
        else unfamiliar_share(prediction),
    }
    return {
        name: None if value is None or not np.isfinite(value) else round(float(value), 4)
        for name, value in found.items()
    }


def unfamiliar_notices(prediction: AnnData) -> tuple[str, ...]:
    """A sentence on a prediction many of whose tiles are unfamiliar; else none."""
    share = unfamiliar_share(prediction)
    if share < MUCH_UNFAMILIAR:
        return ()
    return (
        f"{share:.0%} of the tiles {LOOK_UNLIKE}. Values there "
        "may be far off, and neither held-out PCC nor intervals hold for them.",
    )


def _rounded(number: float, decimals: int) -> str:
    return f"{round(number, decimals) + 0.0:.{decimals}f}"  # no -0.00
