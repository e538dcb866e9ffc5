"""µm/px given by hand: kept with the slide's layer, set on it, and taken back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_nh2st.layers.keys import (
    APPLIED_MPP_KEY,
    GIVEN_MPP_KEY,
    MPP_STEPS_KEY,
    PIXELS_AS_UM_KEY,
    SLIDE_KEY,
    id_of,
)
from napari_nh2st.layers.slide_below import is_picture, layers_on
from napari_nh2st.slide import Slide

_SAME_MPP = 1e-4
"""µm/px: as near as a box shows them."""

Mpp = tuple[float, float] | None
"""µm/px (y, x); None for pixels."""


@dataclass(frozen=True)
class _Step:
    """One µm/px that was given, as what was before.

    Parameters
    ----------
    given
        Before; None for the slide's own.
    scaled_by
        What the layer was scaled by before.
    moved, stayed
        Ids of the layers that moved with the slide, and of those that did not; both are None
        where the slide's layer was left as it is.
    """

    given: float | None
    scaled_by: Mpp
    moved: frozenset[str] | None = None
    stayed: frozenset[str] | None = None


def given_or_own(slide: Slide, given: float | None) -> Mpp:
    """µm/px (y, x) of a slide if this is given for it; 0 and None are for its own."""
    if given and (slide.mpp is None or abs(given - slide.mpp[0]) > _SAME_MPP):
        return given, given
    return slide.mpp


def shown_mpp(layer: Image, slide: Slide | None) -> float:
    """The µm/px given for a layer, else its slide's own; 0 where there is neither."""
    given: float | None = layer.metadata.get(GIVEN_MPP_KEY)
    if given is None:
        given = slide.mpp[0] if slide is not None and slide.mpp else 0.0
    return given


def give_mpp(viewer: ViewerModel, layer: Image, slide: Slide | None, mpp: float) -> bool:
    """Keep a µm/px with a slide's layer, and set it on that.

    What lies on the slide and the camera move along. A layer that the user has scaled otherwise,
    to align it with something, is left as it is.

    Parameters
    ----------
    viewer
        Has the layer.
    layer
        Shows the slide.
    slide
        Its slide; None where it is not known: nothing is scaled then.
    mpp
        In both directions; 0 for the slide's own.

    Returns
    -------
    bool
        Whether it is another than held before.
    """
    if abs(mpp - shown_mpp(layer, slide)) < _SAME_MPP / 2:
        return False
    step = _Step(layer.metadata.get(GIVEN_MPP_KEY), None)
    if slide is not None:
        applied = layer.metadata.get(APPLIED_MPP_KEY, slide.mpp)
        # That of another reader's layer is its pixels, whatever its file says.
        fitting = [known for known in (applied, None) if _lies_as(layer, known)]
        if fitting:
            others = layers_on(viewer, layer)
            moved = frozenset(map(id_of, others))
            stayed = frozenset(map(id_of, viewer.layers)) - moved
            step = _Step(step.given, fitting[0], moved, stayed)
            _scale(viewer, layer, given_or_own(slide, mpp), others)
    layer.metadata[MPP_STEPS_KEY] = (*_steps(layer), step)
    layer.metadata[GIVEN_MPP_KEY] = mpp
    return True


def can_take_back(layer: Image) -> bool:
    """Whether there is a µm/px before the one given last."""
    return bool(_steps(layer))


def take_back_mpp(viewer: ViewerModel, layer: Image, slide: Slide | None) -> None:
    """Go back to the µm/px before the last, with exactly the layers that moved then.

    A layer that came since moves if it lies on the slide. The parameters are those of
    :func:`give_mpp`.
    """
    if not can_take_back(layer):
        return
    *steps, last = _steps(layer)
    applied = layer.metadata.get(APPLIED_MPP_KEY)
    if last.moved is not None and last.stayed is not None and _lies_as(layer, applied):
        lying = layers_on(viewer, layer)
        others = [
            other
            for other in viewer.layers
            if id_of(other) in last.moved or (id_of(other) not in last.stayed and other in lying)
        ]
        _scale(viewer, layer, last.scaled_by, others)
    layer.metadata[MPP_STEPS_KEY] = tuple(steps)
    if last.given is None:
        layer.metadata.pop(GIVEN_MPP_KEY, None)
    else:
        layer.metadata[GIVEN_MPP_KEY] = last.given


def match_units(viewer: ViewerModel) -> list[Image]:
    """Draw slides without µm/px in µm, a pixel as 1 µm, where other slides are in µm.

    napari leaves all units out of account where those of its layers do not convert.

    Returns
    -------
    list of Image
        Those that were in pixels; what lies on them went along.
    """
    slides = [each for each in viewer.layers if is_picture(each) and SLIDE_KEY in each.metadata]
    in_px = [each for each in slides if str(each.units[-1]) == "pixel"]
    if len(in_px) == len(slides):
        return []
    for layer in in_px:
        layer.metadata[PIXELS_AS_UM_KEY] = True
        for each in [layer, *layers_on(viewer, layer)]:
            each.units = (*each.units[:-2], "um", "um")
    return in_px


def _steps(layer: Image) -> tuple[_Step, ...]:
    steps: tuple[_Step, ...] = layer.metadata.get(MPP_STEPS_KEY, ())
    return steps


def _scale(viewer: ViewerModel, layer: Image, mpp: Mpp, others: Sequence[Layer]) -> None:
    """Set a layer's scale and units, and move others and the camera along."""
    before, places = _to_world(layer), [_to_world(other) for other in others]
    unit = "pixel" if mpp is None else "um"
    scale = np.array(layer.scale)
    scale[-2:] = mpp or (1.0, 1.0)
    layer.metadata[APPLIED_MPP_KEY] = mpp
    layer.metadata.pop(PIXELS_AS_UM_KEY, None)
    layer.scale, layer.units = scale, (*layer.units[:-2], unit, unit)
    moved = _to_world(layer) @ np.linalg.inv(before)
    for other, place in zip(others, places, strict=True):
        # Measured spots follow their slide by themselves: they are there already.
        _move(other, moved @ place @ np.linalg.inv(_to_world(other)))
        other.units = (*other.units[:-2], unit, unit)
    match_units(viewer)
    camera = viewer.scene.camera
    center = moved @ (*camera.center[-2:], 1.0)
    camera.center = (*camera.center[:-2], *center[:2])
    camera.zoom /= float(np.sqrt(abs(np.linalg.det(moved[:2, :2]))))


def _lies_as(layer: Image, mpp: Mpp) -> bool:
    """Whether a layer has the scale and units of this µm/px."""
    in_px = str(layer.units[-1]) == "pixel" or PIXELS_AS_UM_KEY in layer.metadata
    return in_px == (mpp is None) and np.allclose(layer.scale[-2:], mpp or (1.0, 1.0), rtol=1e-3)


def _to_world(layer: Layer) -> NDArray[np.float64]:
    """(3, 3) from a layer's data coordinates (y, x, 1) to the world's."""
    origin, down, right = (
        np.asarray(layer.data_to_world((*[0.0] * (layer.ndim - 2), *corner)))[-2:]
        for corner in ((0, 0), (1, 0), (0, 1))
    )
    matrix = np.eye(3)
    matrix[:2] = np.column_stack([down - origin, right - origin, origin])
    return matrix


def _move(layer: Layer, moved: NDArray[np.float64]) -> None:
    """Move a layer in the world: by scale and translation where those can say it."""
    if np.allclose(moved, np.eye(3)):
        return
    linear = moved[:2, :2]
    factor = linear[0, 0]
    plain = np.allclose(np.asarray(layer.affine.affine_matrix), np.eye(layer.ndim + 1))
    if plain and np.allclose(linear, factor * np.eye(2)):
        scale, translate = np.array(layer.scale), np.array(layer.translate)
        scale[-2:] *= factor
        translate[-2:] = linear @ translate[-2:] + moved[:2, 2]
        layer.scale, layer.translate = scale, translate
    else:
        step = np.eye(layer.ndim + 1)
        step[-3:-1, -3:-1], step[-3:-1, -1] = linear, moved[:2, 2]
        layer.affine = step @ np.asarray(layer.affine.affine_matrix)
