"""Readable numbers: a predicted value with its interval, meaning and place in the map."""

import math
import re
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.half_widths import half_widths, typical_half_width
from napari_nh2st.prediction.preview import PREVIEW_IN_WORDS, has_preview, is_preview
from napari_nh2st.prediction.schema import PENDING, STATUS, UNFAMILIAR, notes, notices
from napari_nh2st.prediction.values import gene_values
from napari_nh2st.shown_text import with_minus

OUTSIDE = "outside the scale"
UNFAMILIAR_SCALE = (
    "above 1: farther from the training tissue than 99 % of the tiles of held-out sections"
)
UNFAMILIAR_IN_SHORT = "above 1: unlike the training tissue"
FADED = "grey where the model is unsure"
"""What a veil over a map means."""

_BASES = {"log10(1+v)": 10.0, "log(1+v)": math.e}
"""Bases of the logarithms, by the name that a model's target has for them."""

_VERY_UNFAMILIAR = 1.5

_PARENTHESES = re.compile(r" ?\([^()]*\)")
_CLAUSE_ENDS = re.compile(r"[:.?](?:\s|$)")


@dataclass(frozen=True)
class ValueScale:
    """What the values of a model stand for: the logarithm of counts, where that is known.

    Parameters
    ----------
    base
        Base of the logarithm of 1 + counts; None where the values are no such logarithm.
    total
        What the counts of a spot were scaled to; None for counts as they are.
    unit
        What is counted, for the end of a sentence.
    """

    base: float | None
    total: float | None
    unit: str

    @classmethod
    def of(cls, prediction: AnnData) -> "ValueScale":
        """The scale of a prediction's values, by the target that is recorded in it."""
        target = notes(prediction).get("target", {})
        base = _BASES.get(str(target.get("transform")))
        scale_to = target.get("scale_to")
        if scale_to is None:
            return cls(base, None, "counts")
        of_panel = " of the panel" if "of the panel" in str(target.get("description")) else ""
        return cls(base, float(scale_to), f"per {float(scale_to):,.0f}{of_panel}")

    def counts(self, value: float) -> float | None:
        """The counts that a value stands for; None where that is not known.

        NaN for a value that no counts have: below zero, or above the logarithm of the total.
        """
        if self.base is None:
            return None
        counts = float(np.power(self.base, value)) - 1
        within = counts >= 0 and (self.total is None or counts <= self.total)
        return counts if within else float("nan")

    def in_words(self, value: float) -> str:
        """What a value stands for, such as "≈ 45 per 10,000 of the panel"; empty if not known."""
        counts = self.counts(value)
        if counts is None:
            return ""
        return OUTSIDE if np.isnan(counts) else f"≈ {_two_digits(counts)} {self.unit}"

    def range_in_words(self, low: float, high: float) -> str:
        """What the values between two stand for, such as "≈ 3.2 to 45 per 10,000 of the panel".

        Of a range that begins below the scale only what lies on it, and nothing where the scale is
        not known.
        """
        ends = [self.counts(max(low, 0.0)), self.counts(high)]
        if any(end is None or np.isnan(end) for end in ends):
            return ""
        first, last = (_two_digits(end) for end in ends if end is not None)
        return f"≈ {first} to {last} {self.unit}"


class GeneReading:
    """Reads the values of one gene in a map; what takes time is done once for the gene.

    Parameters
    ----------
    prediction
        Tiles × genes.
    gene
        One of them.
    values
        (n,) of the gene, where they are at hand; NaN where there is none.
    """

    def __init__(
        self, prediction: AnnData, gene: str, values: NDArray[np.floating] | None = None
    ) -> None:
        self.gene = gene
        self.values = gene_values(prediction, gene) if values is None else values
        self._prediction = prediction
        self._column = int(prediction.var_names.get_loc(gene))
        self._scale = ValueScale.of(prediction)
        self._sorted = np.sort(self.values[np.isfinite(self.values)])
        self._decimals = _decimals(np.ptp(self._sorted) if len(self._sorted) else 0.0)

    def number(self, tile: int) -> str:
        """A tile's value with as many decimals as tell the tiles apart, and its 90 % interval.

        Such as "1.66 ± 0.2"; without an interval where none is known.
        """
        value = round(float(self.values[tile]), self._decimals) + 0.0
        words = with_minus(f"{value:,.{self._decimals}f}")
        half = float(half_widths(self._prediction, tile, self._column))
        return f"{words} ± {_two_digits(half)}" if np.isfinite(half) else words

    def percentile(self, value: float) -> float:
        """Share of the map's tiles below a value in percent, those equal to it counted half."""
        below, to = (self._sorted.searchsorted(value, side) for side in ("left", "right"))
        return 50.0 * float(below + to) / max(len(self._sorted), 1)

    def at(self, tile: int) -> str:
        """A tile's value in a line, or why there is none.

        Such as "EPCAM 1.66 ± 0.2 ≈ 45 per 10,000 of the panel · 78th percentile".

        Parameters
        ----------
        tile
            Row of the prediction.
        """
        value = float(self.values[tile])
        if np.isnan(value):
            return f"{self.gene}: {reason_without_value(self._prediction, tile)}"
        # What is shown as 0 is not said to be below it.
        meaning = self._scale.in_words(value if round(value, self._decimals) else 0.0)
        words = f"{self.gene} {self.number(tile)}"
        if meaning:
            words += f", {meaning}" if meaning == OUTSIDE else f" {meaning}"
        words += f" · {_ordinal(self.percentile(value))} percentile"
        return f"{words} · preview" if is_preview(self._prediction, tile) else words


def half_width_in_words(prediction: AnnData, gene: str) -> str:
    """Typical half width of a gene's 90 % intervals, such as "± 0.2"; empty if not known."""
    half = typical_half_width(prediction, gene)
    return "" if half is None else f"± {_two_digits(half)}"


def limits_in_words(prediction: AnnData, gene: str, limits: tuple[float, float]) -> str:
    """What a gene's contrast limits stand for, and how sure its values are; empty if not known.

    Such as "≈ 3.2 to 45 per 10,000 of the panel · ± 0.2".
    """
    words = ValueScale.of(prediction).range_in_words(*limits)
    return " · ".join(filter(None, (words, half_width_in_words(prediction, gene))))


def unfamiliarity_at(prediction: AnnData, tile: int) -> float | None:
    """How far a tile is from what the model saw (1: 99 % are nearer); None where not known."""
    known = prediction.obs.get(UNFAMILIAR)
    far = float("nan") if known is None else float(known.iat[tile])
    return far if np.isfinite(far) else None


def unfamiliarity_in_words(far: float) -> str:
    """How far a place is from what the model saw, in a word or two, with the number if it is far.

    Parameters
    ----------
    far
        1 for the distance that 99 % of the tiles of held-out sections stay below.
    """
    if far <= 1:
        return "familiar tissue"
    return f"{'very ' if far > _VERY_UNFAMILIAR else ''}unfamiliar tissue ({far:.1f})"


def notices_in_short(prediction: AnnData) -> str:
    """How many notices there are on a prediction, and the first, where there is little room.

    Of the notice, what stands before its first colon or full stop, without parentheses; empty where
    there is none. While a preview is shown, that alone is said.
    """
    if has_preview(prediction):
        return PREVIEW_IN_WORDS
    first, *others = notices(prediction) or ("",)
    words = _CLAUSE_ENDS.split(_PARENTHESES.sub("", first))[0]
    caution = f"{len(others) + 1} cautions" if others else "Caution"
    return f"{caution}: {words}" if words else ""


def reason_without_value(prediction: AnnData, tile: int) -> str:
    """Why a tile has no value."""
    status = str(prediction.obs[STATUS].iat[tile]) if STATUS in prediction.obs else ""
    return "still to come" if status == PENDING else f"no value, {status or 'not predicted'}"


def _decimals(span: float) -> int:
    """Decimals that numbers which differ by up to `span` need."""
    if not (np.isfinite(span) and span > 0):
        return 2
    size = int(np.floor(np.log10(span)))
    return int(np.clip(1 - size + (size >= 0), 0, 6))


def _two_digits(number: float) -> str:
    """A positive number with its two leading digits: 45, 0.26, 1,200."""
    if number <= 0:
        return "0"
    decimals = 1 - int(np.floor(np.log10(number)))
    shown = f"{round(number, decimals):,.{min(max(decimals, 0), 6)}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _ordinal(percentile: float) -> str:
    """1st to 99th: among tiles that are counted, none is above all of them or below."""
    number = int(np.clip(round(percentile), 1, 99))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number // 10 == 1 else ending}"
