"""Notices on a slide and a model that do not fit. The same words in docks, command and Python.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.prediction.schema import TissueOrigin
from napari_nh2st.slide import Slide
from napari_nh2st.slide.images import others_notice
from napari_nh2st.tiles import TissueMask, find_tissue

if TYPE_CHECKING:
    from napari_nh2st.inference.settings import PredictSettings

MUCH_COARSER = 1.5
"""Times the model's µm/px: tiles enlarged by more are worth a notice, the detail is not there."""

_SAME_PITCH = 0.1
"""Share of the model's pitch."""

_USUAL_MPP = 0.1, 2.5
"""µm/px of scans, with room to either side."""


@dataclass(frozen=True)
class StainFit:
    """How a slide's stain fits what a model saw.

    Parameters
    ----------
    distance
        See :func:`~napari_nh2st.analysis.stain_distance`; None where it is not known.
    notice
        What is to be said of it; None for nothing.
    """

    distance: float | None = None
    notice: str | None = None


def stain_fit(
    slide: Slide,
    config: ModelConfig,
    tissue: TissueMask | None = None,
    centers: NDArray[np.floating] | None = None,
    *,
    matrix: NDArray[np.floating] | None = None,
) -> StainFit:
    """Look at a slide's stain; reads coarse levels only.

    Parameters
    ----------
    slide
        With or without a µm/px.
    config
        Description of the model; without a stain profile, nothing is said of the stain.
    tissue
        Where to look; found by default.
    centers
        (n, 2) centers (y, x) of tiles in full-resolution pixels, some of which are looked at
        instead.
    matrix
        Brings the slide to the model's stain, see :func:`normalized_stain`. It is then compared in
        that stain, if the model has a profile of such: other tissue has other amounts of it.
        Whether it is H&E is looked at as it is.
    """
    # Not above: the stains are taken apart by scikit-image, which takes a moment to load.
    from napari_nh2st.analysis.stain import is_no_he, profile_of, stain_distance, stain_notice
    from napari_nh2st.analysis.stain_fields import MOST_FIELDS, fields_stain, tissue_fields

    try:
        profile = profile_of(config)
        if profile is None or not slide.brightfield:
            return StainFit()
        if centers is None:
            mask = find_tissue(slide) if tissue is None else tissue
            if not mask.tissue.any():
                return StainFit()
            looked_at: dict[str, Any] = {"tissue": mask}
        else:
            looked_at = {"centers": centers[:: -(-len(centers) // MOST_FIELDS)]}
        mpp = profile.mpp
        fields = tissue_fields(slide, mpp=mpp, **looked_at)
        descriptors = fields_stain(slide, fields)
        in_model_stain = matrix is not None and not is_no_he(descriptors, profile)
        if in_model_stain:
            if (profile := profile_of(config, normalized=True)) is None:
                return StainFit()
            if profile.mpp != mpp:
                fields = tissue_fields(slide, mpp=profile.mpp, **looked_at)
            descriptors = fields_stain(slide, fields, matrix)
    except InputError as error:  # a damaged profile, or tissue that cannot be read
        return StainFit(
            None, f"It is not known whether the stain is like that of the training. {error}"
        )
    distance = stain_distance(profile, descriptors)
    notice = stain_notice(distance, descriptors, profile)
    if notice is not None and in_model_stain:
        notice += (
            " This was measured in the model's own stain, so the tissue may be of another kind."
        )
    return StainFit(distance, notice)


def normalized_stain(
    slide: Slide, config: ModelConfig, tissue: TissueMask | None = None
) -> tuple[NDArray[np.float32] | None, str | None]:
    """What brings a slide's stains to those that a model wants; reads coarse levels only.

    Parameters
    ----------
    slide, config
        As for :func:`stain_fit`.
    tissue
        As found on the slide; found here by default, since the same slide is to be seen alike
        whatever part of it is predicted.

    Returns
    -------
    matrix
        As of :func:`~napari_nh2st.analysis.stain_normalization.normalization`; None where the
        model sees slides as they are, or the slide's stains cannot be told apart.
    notice
        That they cannot; None otherwise.
    """
    # Not above: scikit-image takes a moment to load.
    from napari_nh2st.analysis.stain_normalization import (
        normalization,
        reference_of,
        slide_stain_colors,
    )

    if (reference := reference_of(config)) is None:
        return None, None
    try:
        return normalization(slide_stain_colors(slide, tissue), reference), None
    except InputError as error:
        return None, f"The slide is predicted in its own stain, not the model's. {error}"


def slide_notices(slide: Slide) -> list[str]:
    """Sentences on a slide that looks damaged, is none of H&E, is one of several in its file, or
    whose µm/px is unusual; reads no pixels.
    """
    notices = list(slide.notices)
    if (others := others_notice(slide.images, slide.image)) is not None:
        notices.append(others)
    if not slide.brightfield:
        notices.append(f"This does not look like an H&E slide: {slide.brightfield_reason}.")
    if slide.mpp is not None and not _USUAL_MPP[0] <= slide.mpp[0] <= _USUAL_MPP[1]:
        notices.append(
            f"{slide.mpp[0]:g} µm/px is unusual for a scan (0.2 to 1): is it ten times off?"
        )
    return notices


def pitch_notice(pitch_um: float, config: ModelConfig) -> str | None:
    """A sentence on a pitch that is not that of a model's training; None where it is, or nothing
    depends on it.

    With a model that predicts from the whole slide, it cannot be another.
    """
    if config.reach == "tile" or abs(pitch_um / config.pitch_um - 1) <= _SAME_PITCH:
        return None
    if config.reach == "slide":
        return (
            f"The pitch is {pitch_um:g} µm, but {config.name} predicts from the whole slide, and "
            f"knows tiles {config.pitch_um:g} µm apart: leave the pitch out. For values closer "
            "together, choose a step that divides it evenly."
        )
    return (
        f"The pitch of {pitch_um:g} µm differs from the {config.pitch_um:g} µm between spots in "
        "training, so the neighborhoods that this model looks at differ too."
    )


def scale_notices(mpp: tuple[float, float], pitch_um: float, config: ModelConfig) -> list[str]:
    """Sentences on a µm/px or a pitch that is not what the model was made for.

    Parameters
    ----------
    mpp
        µm/px of the slide, (y, x).
    pitch_um
        Distance between tiles.
    config
        Description of the model.

    Returns
    -------
    list of str
        Empty where both fit.
    """
    notices = []
    enlarged = max(mpp) / config.mpp
    if enlarged > MUCH_COARSER:
        notices.append(
            f"The slide ({max(mpp):.3g} µm/px) is {enlarged:.1f} times coarser than the model was "
            f"made for ({config.mpp:g}): tiles are enlarged, and lack detail."
        )
    if (differs := pitch_notice(pitch_um, config)) is not None:
        notices.append(differs)
    return notices


def whole_slide_notices(
    config: ModelConfig, settings: "PredictSettings", origin: TissueOrigin
) -> list[str]:
    """Check that tiles lie as far from each other as in training; say where there is glass."""
    if problem := pitch_notice(settings.pitch_um or config.pitch_um, config):
        raise InputError(problem.rstrip("."))
    if origin != "all tiles":
        return []
    return [
        f"{config.name} predicts each tile from all others, and glass counts as well: values in "
        "tissue are not those of a prediction of the tissue alone.",
    ]
