"""Checks of a section before anything is trained on it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from scipy.sparse import coo_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import plain_number
from napari_nh2st.slide import Slide
from napari_nh2st.spots.array import SpotArray, spot_array
from napari_nh2st.spots.assembly import INFO, are_counts
from napari_nh2st.spots.orientation import AS_THEY_ARE, orient
from napari_nh2st.spots.positions import beyond, has_array, positions
from napari_nh2st.spots.space_ranger import VISIUM_PITCH_UM
from napari_nh2st.spots.st_tables import ST_PITCH_UM

MIN_SPOTS = 20
"""Fewer spots say nothing of a section."""

MPP_WARNING = 1.1
MPP_ERROR = 3.0
"""Ratios between the µm/px of the spot pitch and the slide's own."""

_MOST_OUTSIDE = 0.01
"""Share of spots that may lie beyond the slide's edge: arrays reach over a tight crop."""

_WARN_BELOW_ON_TISSUE = 0.5


@dataclass(frozen=True)
class SectionCheck:
    """What the checks of a section found.

    Parameters
    ----------
    mpp
        µm/px (y, x) of the slide: its own, else from the spots' pitch.
    mpp_source
        Where ``mpp`` comes from, in words.
    mpp_of_pitch
        µm/px calculated from the spots' distance; None if the array's pitch in µm is unknown.
    on_tissue
        Share (0–1) of the spots' area that is tissue.
    warnings
        Sentences to be shown; empty if all is well.
    """

    mpp: tuple[float, float]
    mpp_source: str
    mpp_of_pitch: float | None
    on_tissue: float
    warnings: tuple[str, ...]


def check_section(
    spots: AnnData,
    slide: Slide,
    *,
    name: str = "the section",
    pitch_um: float | None = None,
    trust_positions: bool = False,
) -> SectionCheck:
    """Check whether spots and slide can be trained on together.

    Parameters
    ----------
    spots
        From :func:`~napari_nh2st.spots.read_spots`.
    slide
        The slide they were measured on.
    name
        What messages call the section.
    pitch_um
        Distance between its spots in µm; None for that of the file, else of its kind of array.
    trust_positions
        Accept positions that look turned or mirrored against the tissue.

    Raises
    ------
    InputError
        Values are not raw counts; there are too few spots; they look turned or mirrored, or lie
        beside the slide; or the µm/px is unknown or off by more than a factor of 3.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg") as slide:
            check = check_section(read_spots("C6.tsv.gz", "C6_selection.tsv"), slide)
        print(check.mpp, *check.warnings)
    """
    check_counts(spots, name)
    check_enough_spots(spots, name)
    array = spot_array(spots)
    # Before the slide's edges: swapped positions reach beyond them, and that is what to say.
    orientation = orient(positions(spots), slide, array.pitch_px)
    if orientation.better is not None and not trust_positions:
        raise InputError(
            f"{name}: {orientation.sentence()} Correct the positions or, if they are right, trust "
            "them (napari: Trust positions; nh2st: --trust-positions; Python: trust_positions=True)"
        )
    warnings = [warning for warning in (check_on_slide(spots, slide, name),) if warning]
    if orientation.on_tissue[AS_THEY_ARE] < _WARN_BELOW_ON_TISSUE:
        warnings.append(
            f"{name}: only {orientation.on_tissue[AS_THEY_ARE]:.0%} of the spots' area is "
            "tissue; is this the slide they were measured on?"
        )
    mpp, source, of_pitch, warning = _resolution(spots, array, slide, name, pitch_um)
    if warning:
        warnings.append(warning)
    return SectionCheck(mpp, source, of_pitch, orientation.on_tissue[AS_THEY_ARE], tuple(warnings))


def check_counts(spots: AnnData, name: str = "the section") -> None:
    """Check that values are raw counts.

    Parameters
    ----------
    spots
        Spots × genes.
    name
        What messages call the section.

    Raises
    ------
    InputError
        A value is NaN, infinite, negative or a fraction; the message names the first such spot
        and gene. Or all counts are 0.

    Examples
    --------
    >>> check_counts(AnnData(np.zeros((3, 2))), "C6")
    Traceback (most recent call last):
        ...
    napari_nh2st.errors.InputError: C6: all counts are 0
    """
    if are_counts(spots.X):
        return
    entries = coo_matrix(spots.X)
    values = entries.data
    if not values.any():
        raise InputError(f"{name}: all counts are 0")
    for wrong, what in (
        (np.isnan(values), "is NaN (empty); counts must be complete"),
        (np.isinf(values), "is infinite"),
        (values < 0, "is negative: values were already normalized (scaled); give raw counts"),
        (
            values != np.rint(values),
            f"is not a count: values were already normalized{_how(values)}; give raw counts",
        ),
    ):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            spot, gene = spots.obs_names[entries.row[first]], spots.var_names[entries.col[first]]
            value = plain_number(values[first])
            raise InputError(f"{name}: the value {value} of gene {gene} at spot {spot} {what}")


def check_enough_spots(spots: AnnData, name: str = "the section") -> None:
    """Check that there are at least 20 spots.

    Parameters
    ----------
    spots
        Spots × genes.
    name
        What messages call the section.

    Raises
    ------
    InputError
        There are fewer.

    Examples
    --------
    >>> check_enough_spots(AnnData(np.ones((3, 2))), "C6")
    Traceback (most recent call last):
        ...
    napari_nh2st.errors.InputError: C6 has 3 spots; at least 20 are needed to say anything
    """
    if spots.n_obs < MIN_SPOTS:
        raise InputError(
            f"{name} has {spots.n_obs} spots; at least {MIN_SPOTS} are needed to say anything"
        )


def check_on_slide(spots: AnnData, slide: Slide, name: str = "the section") -> str | None:
    """Check that spots lie on the slide.

    Parameters
    ----------
    spots
        With ``obsm["spatial"]`` in full-resolution pixels.
    slide
        The slide they were measured on.
    name
        What messages call the section.

    Returns
    -------
    str or None
        A warning if up to 1 % of the spots lie beyond its edges; None if none do.

    Raises
    ------
    InputError
        More than 1 % do.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg") as slide:
            warning = check_on_slide(read_spots("C6.tsv.gz", "C6_selection.tsv"), slide)
    """
    xy, (height, width) = positions(spots), slide.shape
    outside = beyond(xy, slide.shape)
    count = int(np.count_nonzero(outside))
    if not count:
        return None
    first = int(np.flatnonzero(outside)[0])
    message = (
        f"{name}: {count} of {spots.n_obs} spots lie beyond the slide of {width} × {height} px "
        f"(x × y), {spots.obs_names[first]} at ({xy[first, 0]:.0f}, {xy[first, 1]:.0f})"
    )
    if count > _MOST_OUTSIDE * spots.n_obs:
        raise InputError(f"{message}; positions must be in pixels of this slide at full resolution")
    return message


def check_resolution(
    spots: AnnData, slide: Slide, name: str = "the section", pitch_um: float | None = None
) -> tuple[float | None, str | None]:
    """Compare the µm/px calculated from the spots' distance with the slide's own.

    Parameters
    ----------
    spots
        From :func:`~napari_nh2st.spots.read_spots`.
    slide
        The slide they were measured on.
    name
        What messages call the section.
    pitch_um
        Distance between its spots in µm; None for that of the file, else of its kind of array.

    Returns
    -------
    tuple
        µm/px calculated from the distance, or None if the pitch in µm is unknown; and a warning if
        the two differ by more than 10 %, else None.

    Raises
    ------
    InputError
        They differ by more than a factor of 3, or neither is known.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg", mpp=0.69) as slide:
            mpp, warning = check_resolution(spots, slide)
    """
    return _resolution(spots, spot_array(spots), slide, name, pitch_um)[2:]


@dataclass(frozen=True)
class MppProposal:
    """Another µm/px for a slide, and why.

    Parameters
    ----------
    mpp
        µm/px calculated from the spots' distance, to three significant digits.
    sentence
        What was noticed.
    """

    mpp: float
    sentence: str


def propose_mpp(spots: AnnData, slide: Slide, pitch_um: float | None = None) -> MppProposal | None:
    """Detect a µm/px of the slide that does not fit the spots' distance.

    Either of the two may be wrong: check first whether
    :func:`~napari_nh2st.spots.placement.propose_fix` finds fault with the positions.

    Parameters
    ----------
    spots
        From :func:`~napari_nh2st.spots.read_spots`.
    slide
        The slide they were measured on.
    pitch_um
        Distance between its spots in µm; None for that of the file, else of its kind of array.

    Returns
    -------
    MppProposal or None
        None if they differ by at most 10 %, or one of them is unknown.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg", mpp=0.25) as slide:
            if (proposal := propose_mpp(spots, slide)) is not None:
                print(proposal.sentence, proposal.mpp)
    """
    array = spot_array(spots)
    pitch = pitch_of(spots, array) if pitch_um is None else pitch_um
    if pitch is None or slide.mpp is None:
        return None
    measured, own = pitch / array.pitch_px, float(np.sqrt(slide.mpp[0] * slide.mpp[1]))
    if max(measured / own, own / measured) <= MPP_WARNING:
        return None
    return MppProposal(
        float(f"{measured:.3g}"),
        f"µm/px of the slide: {own:.3g}, but the spots, {array.pitch_px:.4g} px and {pitch:g} µm "
        f"apart, give {measured:.3g}.",
    )


def pitch_of(spots: AnnData, array: SpotArray) -> float | None:
    """Distance in µm between spots of this kind of array; None where it is not known.

    What the file or its format says comes first. Else hexagonal arrays are taken for Visium's and
    interleaved ones for those of legacy arrays; :func:`guessed_pitch` says so. A square array may
    have any pitch: bins are pooled to 16, 50, 100 or 128 µm.
    """
    recorded = spots.uns.get(INFO, {}).get("pitch_um")
    if recorded is not None:
        return float(recorded)
    if array.layout == "hexagonal":
        return VISIUM_PITCH_UM
    if array.layout == "interleaved" and has_array(spots.obs):
        return ST_PITCH_UM
    return None


def guessed_pitch(spots: AnnData, array: SpotArray) -> str | None:
    """Words that say by what :func:`pitch_of` took a pitch; None where it is recorded."""
    pitch = pitch_of(spots, array)
    if pitch is None or "pitch_um" in spots.uns.get(INFO, {}):
        return None
    kind = "Visium" if array.layout == "hexagonal" else "a legacy array"
    return (
        f"the file does not say how far apart spots are: {pitch:g} µm taken as on {kind}, since "
        f"their array is {array.layout}"
    )


def _resolution(
    spots: AnnData, array: SpotArray, slide: Slide, name: str, pitch_um: float | None
) -> tuple[tuple[float, float], str, float | None, str | None]:
    pitch = pitch_of(spots, array) if pitch_um is None else pitch_um
    if pitch is not None and not (np.isfinite(pitch) and pitch > 0):
        raise InputError(f"{name}: the pitch must be a positive number of µm, not {pitch!r}")
    of_pitch = None if pitch is None else pitch / array.pitch_px
    if slide.mpp is None:
        if of_pitch is None:
            raise InputError(
                f"{name}: neither the slide nor the spots tell the µm/px; give that of the slide "
                "(µm/px in napari, the column mpp of a sections table, open_slide(..., mpp=...))"
            )
        guessed = guessed_pitch(spots, array) if pitch_um is None else None
        warning = None if guessed is None else f"{name}: {guessed}; this gives {of_pitch:.3g} µm/px"
        return (of_pitch, of_pitch), "spot pitch", of_pitch, warning
    if of_pitch is None:
        return slide.mpp, slide.mpp_source, None, None
    own = float(np.sqrt(slide.mpp[0] * slide.mpp[1]))
    ratio = of_pitch / own
    message = (
        f"{name}: µm/px of the slide: {own:.3g} ({slide.mpp_source}), but the spots' distance, "
        f"{array.pitch_px:.4g} px for {pitch:g} µm, gives {of_pitch:.3g}"
    )
    if max(ratio, 1 / ratio) > MPP_ERROR:
        raise InputError(
            f"{message}; correct the µm/px or, if the positions are in pixels of another image, "
            "the positions"
        )
    differs = max(ratio, 1 / ratio) > MPP_WARNING
    return slide.mpp, slide.mpp_source, of_pitch, message if differs else None


def _how(values: Any) -> str:
    """What kind of normalization left such values: logarithms are small."""
    return " (to logarithms, it seems)" if values.max() < 25 else ""
