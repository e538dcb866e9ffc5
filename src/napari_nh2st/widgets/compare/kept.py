"""What a comparison leaves in its layers, so that a dock that is opened later goes on with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points

from napari_nh2st.jobs.comparison import Compared
from napari_nh2st.layers.keys import (
    COMPARISON_KEY,
    COMPARISON_KIND_KEY,
    FOLLOWER_KEY,
    KEPT_KEY,
    PREDICTION_KEY,
    SLIDE_KEY,
)
from napari_nh2st.session.measured_layers import KINDS, Kind
from napari_nh2st.shown_text import from_qt
from napari_nh2st.slide import Slide
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.spots.measured import MeasuredST


class Follower(Protocol):
    """Goes on with layers, in one of the docks."""

    @property
    def is_following(self) -> bool:
        """Whether its dock is there still."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What was loaded, and what came out.

    Parameters
    ----------
    slide
        Path of the slide that the spots lie on.
    shape
        (height, width) of it in pixels.
    mpp
        µm/px (y, x) by which they were read; None where that was not known.
    measured
        The spots.
    target
        Spots × genes of what is measured, as a model would learn it.
    panel
        Genes of the model for which that is.
    choice
        Whether the user has chosen what was proposed for the positions; None for no choice.
    refused_mpp
        What was proposed for the slide's µm/px and not taken; None for nothing.
    compared
        What came out of the comparison; None without.
    """

    slide: Path
    shape: tuple[int, int]
    mpp: tuple[float, float] | None
    measured: MeasuredST
    target: pd.DataFrame
    panel: tuple[str, ...]
    choice: bool | None
    refused_mpp: MppProposal | None
    compared: Compared | None

    @property
    def metadata(self) -> dict[str, Any]:
        """For the layers."""
        prediction = self.compared.prediction if self.compared is not None else None
        return {KEPT_KEY: self, COMPARISON_KEY: prediction, PREDICTION_KEY: prediction}


@dataclass(frozen=True, eq=False)
class Left:
    """What is found in a viewer.

    Parameters
    ----------
    layers
        By kind; none of ST that was away together with its slide.
    slide_layer
        The slide that they lie on; None where it is not in the viewer.
    kept
        By a dock; None of a comparison that came from a file.
    prediction
        Of the comparison, with ``layers["measured"]``; None while there is none.
    """

    layers: dict[Kind, Points]
    slide_layer: Image | None
    kept: Kept | None
    prediction: AnnData | None


def left_in(viewer: ViewerModel, follower: Follower) -> Left | None:
    """The comparison, or the measured ST, whose layers are in a viewer; the topmost of several.

    Parameters
    ----------
    viewer
        May hold layers of a dock that was closed, or of a file that was opened.
    follower
        Who asks: layers that another one follows are not for it.
    """
    free = [layer for layer in viewer.layers if is_left(layer) and _is_free(layer, follower)]
    top = free[-1] if free else None
    if top is None:
        return None
    kept, prediction = top.metadata.get(KEPT_KEY), top.metadata.get(COMPARISON_KEY)
    layers: dict[Kind, Points] = {}
    for layer in free:
        if _source(layer) is _source(top):
            layers.setdefault(layer.metadata[COMPARISON_KIND_KEY], layer)
    if kept is not None:
        slide_layer = slide_layer_of(viewer, kept.slide)
    else:
        slide_layer = slide_layer_of(viewer, Path(str(prediction.uns["nh2st"]["slide"]["name"])))
    return Left(layers, slide_layer, kept, prediction)


def is_left(layer: Layer) -> bool:
    """Whether a layer is one of those that :func:`left_in` finds."""
    return _source(layer) is not None


def slide_layer_of(viewer: ViewerModel, path: Path) -> Image | None:
    """The layer of a slide, by its path, or by its name where that is all that is known."""
    return next((layer for layer in viewer.layers if is_of_slide(layer, path)), None)


def is_of_slide(layer: Layer, path: Path) -> bool:
    """Whether a layer shows the slide of this path, or of this name."""
    if not isinstance(layer, Image) or not layer.rgb:
        return False
    slide = layer.metadata.get(SLIDE_KEY)
    place = slide.path if isinstance(slide, Slide) else layer.source.path
    # Other readers' layers have it as a string.
    return place is not None and (Path(place) == path or Path(place).name == str(path))


def shown_gene(layers: dict[Kind, Points]) -> str:
    """The gene by which layers are coloured; empty where that cannot be told."""
    for layer in layers.values():
        if layer.visible and layer.features.shape[1] == 1:
            return from_qt(str(layer.features.columns[0]))
    return ""


def _source(layer: Layer) -> Kept | AnnData | None:
    """What a layer of spots shows; the same object for all layers of a comparison."""
    if not isinstance(layer, Points) or layer.metadata.get(COMPARISON_KIND_KEY) not in KINDS:
        return None
    kept: Kept | None = layer.metadata.get(KEPT_KEY)
    prediction: AnnData | None = layer.metadata.get(COMPARISON_KEY)
    return kept if kept is not None else prediction


def _is_free(layer: Layer, follower: Follower) -> bool:
    """Whether no dock but that of `follower` follows a layer."""
    noted = layer.metadata.get(FOLLOWER_KEY)
    other = noted() if noted is not None else None
    return other is None or other is follower or not other.is_following
