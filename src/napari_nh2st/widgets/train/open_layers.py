"""What is open in the viewer that a model can be trained on: slides, and spots measured on them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image, Layer, Points

from napari_nh2st._reader import SLIDE_KEY
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.spots import Fix
from napari_nh2st.widgets.measured_metadata import (
    FIX_KEY,
    MEASURED_SLIDE_KEY,
    POSITIONS_PATH_KEY,
    SPOTS_PATH_KEY,
)


@dataclass(frozen=True)
class OpenMeasured:
    """Measured spots that lie on a slide in the viewer.

    Parameters
    ----------
    expression, positions
        The files.
    fix
        What was done to the positions there; None where that is not told.
    slide
        The one they lie on; None where that is not told.
    """

    expression: Path
    positions: Path | None
    fix: Fix | None
    slide: Path | None


def open_slides(layers: Iterable[Layer]) -> list[Slide]:
    """The slides among layers."""
    return [
        slide
        for layer in layers
        if isinstance(layer, Image) and isinstance(slide := layer.metadata.get(SLIDE_KEY), Slide)
    ]


def open_measured(layers: Iterable[Layer]) -> list[OpenMeasured]:
    """The measured spots among layers, once each: a section has a layer for each kind of value."""
    found = {
        OpenMeasured(
            Path(path),
            _path(layer.metadata.get(POSITIONS_PATH_KEY)),
            _fix(layer.metadata.get(FIX_KEY)),
            _path(layer.metadata.get(MEASURED_SLIDE_KEY)),
        ): None
        for layer in layers
        if isinstance(layer, Points) and (path := layer.metadata.get(SPOTS_PATH_KEY)) is not None
    }
    return list(found)


def _path(text: object) -> Path | None:
    return None if text is None else Path(str(text))


def _fix(text: object) -> Fix | None:
    if text is None:
        return None
    try:
        return Fix.from_text(str(text))
    except InputError:  # of a file that another version wrote
        return None
