"""Slides open in the viewer and spots measured on them, that a model can be trained on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image, Layer, Points

from napari_nh2st.errors import InputError
from napari_nh2st.layers.given_mpp import given_or_own
from napari_nh2st.layers.keys import (
    FIX_KEY,
    GIVEN_MPP_KEY,
    MEASURED_SLIDE_KEY,
    PART_KEY,
    POSITIONS_PATH_KEY,
    SLIDE_KEY,
    SPOTS_PATH_KEY,
)
from napari_nh2st.remote import SlidePath, slide_path
from napari_nh2st.slide import Slide
from napari_nh2st.spots import Fix, SpotChoice
from napari_nh2st.spots.choice import NO_CHOICE


@dataclass(frozen=True)
class OpenSlide:
    """A slide in the viewer.

    Parameters
    ----------
    path
        Its file, or its URL.
    mpp
        µm/px that was given for it, with its layer or when it was opened; None for its own.
    image
        Number of the image of a file with several, else None.
    """

    path: SlidePath
    mpp: float | None
    image: int | None = None


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
    choice
        Which part of the file they are.
    """

    expression: Path
    positions: Path | None
    fix: Fix | None
    slide: SlidePath | None
    choice: SpotChoice = NO_CHOICE


def open_slides(layers: Iterable[Layer]) -> list[OpenSlide]:
    """The slides among layers, once each: one may lie in several layers, side by side for one."""
    found: dict[tuple[SlidePath, int | None], float | None] = {}
    for layer in layers:
        slide = layer.metadata.get(SLIDE_KEY) if isinstance(layer, Image) else None
        if isinstance(slide, Slide):
            given = _given(slide, layer.metadata.get(GIVEN_MPP_KEY))
            which = (slide.path, slide.image if len(slide.images) > 1 else None)
            found[which] = found.get(which) or given
    return [OpenSlide(path, mpp, image) for (path, image), mpp in found.items()]


def open_measured(layers: Iterable[Layer]) -> list[OpenMeasured]:
    """The measured spots among layers, once each: a section has a layer for each kind of value."""
    found = {
        OpenMeasured(
            Path(path),
            _path(layer.metadata.get(POSITIONS_PATH_KEY)),
            _fix(layer.metadata.get(FIX_KEY)),
            _slide_path(layer.metadata.get(MEASURED_SLIDE_KEY)),
            layer.metadata.get(PART_KEY) or NO_CHOICE,
        ): None
        for layer in layers
        if isinstance(layer, Points) and (path := layer.metadata.get(SPOTS_PATH_KEY)) is not None
    }
    return list(found)


def _given(slide: Slide, with_layer: float | None) -> float | None:
    mpp = given_or_own(slide, with_layer)
    is_own = mpp == slide.mpp and slide.mpp_source != "given"
    return None if mpp is None or is_own else mpp[0]


def _path(text: object) -> Path | None:
    return None if text is None else Path(str(text))


def _slide_path(text: object) -> SlidePath | None:
    return None if text is None else slide_path(str(text))


def _fix(text: object) -> Fix | None:
    if text is None:
        return None
    try:
        return Fix.from_text(str(text))
    except InputError:  # of a file that another version wrote
        return None
