"""Facts that belong below a picture of the canvas: what is shown, in which colors, and cautions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from napari.layers import Image, Layer, Points
from numpy.typing import NDArray

from napari_nh2st.layers.heatmap import shows_heatmap
from napari_nh2st.layers.keys import (
    COLUMN_KEY,
    COMPARISON_KEY,
    COMPARISON_KIND_KEY,
    DOMAINS_KEY,
    GENE_KEY,
    PREDICTION_KEY,
    SIGNATURE_KEY,
    VEIL_KEY,
)
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.prediction.reading import FADED
from napari_nh2st.prediction.schema import is_trained, notices, value_name
from napari_nh2st.prediction.tile_columns import tile_columns
from napari_nh2st.session.comparison import ComparisonResults, unit_of
from napari_nh2st.shown_text import from_qt

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

_STEPS = 256
_UNTRAINED = "UNTRAINED model: these values mean nothing."


@dataclass(frozen=True, eq=False)
class ColorScale:
    """What the colors of a layer mean.

    Parameters
    ----------
    title
        What is shown, and its unit.
    colors
        (256, 4) uint8 from the lowest value to the highest.
    limits
        Those two values.
    """

    title: str
    colors: NDArray[np.uint8]
    limits: tuple[float, float]


@dataclass(frozen=True)
class PictureFacts:
    """Facts on what the canvas shows.

    Parameters
    ----------
    scales
        Of each visible layer of values.
    names
        Of the visible layers that have no such scale, such as domains.
    cautions
        Cautions about the values, each sentence once.
    """

    scales: tuple[ColorScale, ...]
    names: tuple[str, ...]
    cautions: tuple[str, ...]

    @classmethod
    def of(cls, session: "Session") -> "PictureFacts":
        """Facts on what a session's viewer shows now."""
        viewer, kinds = session.viewer, (*session.derived_layers, session.veils)
        sources = {item.layer: item.source.prediction for each in kinds for item in each.items}
        shown = [layer for layer in viewer.layers if layer.visible]
        shown = [layer for layer in shown if not is_covered(viewer, layer)]
        scales: list[ColorScale] = []
        names: list[str] = []
        cautions: list[str] = []
        for layer in shown:
            prediction = sources.get(layer, _prediction_of(layer))
            if prediction is not None:
                cautions += [] if is_trained(prediction) else [_UNTRAINED]
                cautions += notices(prediction)
            if isinstance(layer, Points) and COMPARISON_KIND_KEY in layer.metadata:
                results = _results_of(session, layer)
                cautions += [] if results is None else results.notices
                scales.append(_scale_of_spots(layer, results))
            elif isinstance(layer, Image) and (unit := _unit(layer, prediction)):
                scales.append(_scale(layer.name, unit, layer.colormap, layer.contrast_limits))
            elif VEIL_KEY in layer.metadata:
                names.append(FADED)
            elif DOMAINS_KEY in layer.metadata:
                names.append(from_qt(layer.name))
        return cls(tuple(scales), tuple(names), tuple(dict.fromkeys(cautions)))


def _prediction_of(layer: Layer) -> AnnData | None:
    keys = (PREDICTION_KEY, DOMAINS_KEY, COMPARISON_KEY)
    found = (layer.metadata.get(key) for key in keys)
    return next((each for each in found if isinstance(each, AnnData)), None)


def _unit(layer: Image, prediction: AnnData | None) -> str:
    """Unit of a layer of predicted values; empty for other images."""
    if SIGNATURE_KEY in layer.metadata:
        return "mean z-score"
    if prediction is not None and (column := layer.metadata.get(COLUMN_KEY)) is not None:
        known = tile_columns(prediction).get(column)
        return (known and known.meaning) or str(column)
    if prediction is not None and (GENE_KEY in layer.metadata or shows_heatmap(layer)):
        return value_name(prediction)
    return ""


def _results_of(session: "Session", layer: Points) -> ComparisonResults | None:
    """The comparison that a layer shows; None where there is none, or not yet."""
    shown = (each for each in session.measured if layer in each.layers.layers.values())
    return next((each.results for each in shown), None)


def _scale_of_spots(layer: Points, results: ComparisonResults | None) -> ColorScale:
    is_standardized = results is not None and results.is_standardized
    unit = unit_of(layer.metadata[COMPARISON_KIND_KEY], standardized=is_standardized)
    return _scale(layer.name, unit, layer.face_colormap, layer.face_contrast_limits)


def _scale(name: str, unit: str, colormap: object, limits: object) -> ColorScale:
    colors = colormap.map(np.linspace(0, 1, _STEPS))  # type: ignore[attr-defined]  # of napari
    low, high = np.asarray(limits, np.float64)
    return ColorScale(
        f"{from_qt(name)}: {unit}",
        np.rint(255 * np.asarray(colors)).astype(np.uint8),
        (float(low), float(high)),
    )
