"""Proposals for positions that are of the wrong scale or orientation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.slide import Slide
from napari_nh2st.spots.array import SpotArray, spot_array
from napari_nh2st.spots.checks import MIN_SPOTS, MPP_WARNING, pitch_of
from napari_nh2st.spots.libraries import libraries_of
from napari_nh2st.spots.orientation import (
    AS_THEY_ARE,
    ORIENTATIONS,
    Fix,
    orient_on,
    places,
    share_on_tissue,
    tissue_for_spots,
)
from napari_nh2st.spots.positions import beyond, positions
from napari_nh2st.tiles import TissueMask

_ROUND_FACTORS = (2, 3, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100)

_NEAR = 1.05
"""A factor by the spots' distance is good to a few percent: a round one that near is meant."""

_LEAST_GAIN_OF_SCALE = 1.2
_LEAST_ON_TISSUE_SCALED = 0.6
"""Another scale is proposed only if its fit is that many times better, and most spots then lie on
tissue: where the slide's own µm/px is wrong, spots fit best as they are."""

_TROUBLE_OUTSIDE = 0.01
_TROUBLE_ON_TISSUE = 0.5
"""Where the pitch does not give the scale: more spots beyond the slide, or less of their area on
tissue, say that something is wrong."""

_REACH = 0.75
"""Tissue within so many pitches of a spot is covered: the corners of a square array are at 0.71."""

_TISSUE_SAMPLE = 4000
"""Pixels of tissue that are looked at for how much of it is covered."""


@dataclass(frozen=True)
class Proposal:
    """A fix of the positions, and why it is proposed.

    Parameters
    ----------
    fix
        The correction of the positions.
    reasons
        Sentences for the user on what was noticed.
    """

    fix: Fix
    reasons: tuple[str, ...]


def propose_fix(spots: AnnData, slide: Slide, pitch_um: float | None = None) -> Proposal | None:
    """Detect positions with the wrong scale or orientation, and propose a fix.

    The scale follows from the pitch of the array in µm, the slide's µm/px and the spots' distance
    in pixels; if pitch or µm/px is unknown, from where the tissue is. A factor near one of the
    file's own scale factors (``tissue_hires_scalef``), a level's downsampling or a round number is
    taken to be that one. It is proposed if the spots then fit the tissue better: lie on it, and
    cover it. The orientation is that of :func:`~napari_nh2st.spots.orient`, at the right scale.

    Parameters
    ----------
    spots
        From :func:`~napari_nh2st.spots.read_spots`.
    slide
        The slide they were measured on. A coarse picture of it is read.
    pitch_um
        Distance between its spots in µm; None for that of the file, else of its kind of array.

    Returns
    -------
    Proposal or None
        None if nothing is wrong, nothing fits better, or there are fewer than 20 spots.

    Examples
    --------
    .. code-block:: python

        proposal = propose_fix(spots, slide)
        if proposal is not None:
            spots = apply_fix(spots, proposal.fix, slide.shape)
    """
    if spots.n_obs < MIN_SPOTS:
        return None
    array = spot_array(spots)
    pitch = pitch_of(spots, array) if pitch_um is None else pitch_um
    xy = positions(spots)
    factor, reasons = 1.0, []
    found = _wrong_scale(xy, spots, slide, array, pitch)
    if found is not None:
        factor, why = found
        reasons += [why, *_beyond(xy, slide)]
    scaled, pitch_px = xy * factor, array.pitch_px * factor
    mask = tissue_for_spots(slide, pitch_px)
    oriented = orient_on(scaled, mask, slide.shape, pitch_px)
    orientation = oriented.better or AS_THEY_ARE
    if oriented.better is not None:
        sentence = oriented.sentence()
        reasons.append(
            f"Multiplied by {factor:g}, but otherwise {sentence}"
            if factor != 1
            else f"{sentence[0].upper()}{sentence[1:]}"
        )
    if not reasons:
        return None
    shares = [
        share_on_tissue(at, mask, pitch_px) for at in places(scaled, orientation, slide.shape)
    ]
    return Proposal(Fix(orientation, factor, int(np.argmax(shares))), tuple(reasons))


def on_tissue(spots: AnnData, slide: Slide) -> float:
    """Share (0–1) of the spots' area that is tissue, at their present positions.

    Parameters
    ----------
    spots
        At least two, with ``obsm["spatial"]``.
    slide
        The slide they were measured on; a coarse picture of it is read.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg") as slide:
            share = on_tissue(spots, slide)  # from 0 to 1
    """
    pitch_px = spot_array(spots).pitch_px
    return share_on_tissue(positions(spots), tissue_for_spots(slide, pitch_px), pitch_px)


def _wrong_scale(
    positions: NDArray[np.float64],
    spots: AnnData,
    slide: Slide,
    array: SpotArray,
    pitch_um: float | None,
) -> tuple[float, str] | None:
    """The factor that puts spots on the tissue and the sentence for it; None if 1 does."""
    height, width = slide.shape
    if pitch_um is not None and slide.mpp is not None:
        own = float(np.sqrt(slide.mpp[0] * slide.mpp[1]))
        expected_px = pitch_um / own
        measured = expected_px / array.pitch_px
        if max(measured, 1 / measured) <= MPP_WARNING:
            return None
        candidates = [_meant(measured, spots, slide)]
        why = (
            f"Spots are {array.pitch_px:.4g} px apart, {array.pitch_px * own:.3g} µm at the "
            f"slide's {own:.3g} µm/px; on this kind of array they are {pitch_um:g} µm apart."
        )
    else:
        # Without a scale: about the pitch of spots that fill the slide.
        expected_px = float(np.sqrt(height * width / spots.n_obs))
        outside = beyond(positions, slide.shape).mean()
        mask = tissue_for_spots(slide, expected_px)
        share = share_on_tissue(positions, mask, array.pitch_px)
        if outside <= _TROUBLE_OUTSIDE and share >= _TROUBLE_ON_TISSUE:
            return None
        candidates = list(dict.fromkeys(_known_factors(spots, slide)))
        why = f"As they are, {share:.0%} of the spots' area is tissue."
    mask = tissue_for_spots(slide, expected_px)
    sample = _tissue_sample(mask)
    if not len(sample):
        return None

    def fit(factor: float) -> tuple[float, float]:
        """How well spots and tissue cover each other, and the share on tissue, turned as best."""
        pitch_px = array.pitch_px * factor
        return max(
            _overlap(place, pitch_px, mask, sample)
            for name in ORIENTATIONS
            for place in places(positions * factor, name, slide.shape)
        )

    fits = {factor: fit(factor) for factor in candidates}
    best = max(fits, key=lambda factor: fits[factor][0])
    quality, share = fits[best]
    if share < _LEAST_ON_TISSUE_SCALED or quality < _LEAST_GAIN_OF_SCALE * fit(1.0)[0]:
        return None
    size = f"{best:g} × smaller" if best > 1 else f"{1 / best:g} × larger"
    return best, f"{why} They seem to be in pixels of an image {size} than the slide."


def _overlap(
    positions: NDArray[np.float64],
    pitch_px: float,
    mask: TissueMask,
    sample: NDArray[np.float64],
) -> tuple[float, float]:
    """Harmonic mean of the spots' share on tissue and the tissue's share near spots; the former.

    The share on tissue alone would be best for spots crowded together anywhere on it.
    """
    share = share_on_tissue(positions, mask, pitch_px)
    distance, _ = KDTree(positions).query(sample, distance_upper_bound=_REACH * pitch_px)
    covered = float(np.isfinite(distance).mean())
    both = share + covered
    return (2 * share * covered / both if both else 0.0), share


def _tissue_sample(mask: TissueMask) -> NDArray[np.float64]:
    """(n, 2) (x, y) in full-resolution pixels, evenly from the tissue."""
    pixels = np.argwhere(mask.tissue)
    pixels = pixels[:: max(1, len(pixels) // _TISSUE_SAMPLE)]
    return np.asarray(((pixels + 0.5) * mask.downsample)[:, ::-1])


def _meant(measured: float, spots: AnnData, slide: Slide) -> float:
    """The known factor that is nearest, else the measured one, to the digits that are good."""
    for factor in _known_factors(spots, slide):
        if max(measured / factor, factor / measured) <= _NEAR:
            return factor
    return float(f"{measured:.3g}")


def _known_factors(spots: AnnData, slide: Slide) -> Iterator[float]:
    """What positions may have to be multiplied by, the likeliest first."""
    for library in libraries_of(spots.uns).values():
        scales = library.get("scalefactors", {})
        for name in ("tissue_hires_scalef", "tissue_lowres_scalef"):
            # Pixels of the file's picture; or a slide that is itself that picture.
            if scale := float(scales.get(name, 0)):
                yield 1 / scale
                yield scale
    for down_y, down_x in slide.downsamples[1:]:
        factor = float(np.sqrt(down_y * down_x))
        # A level's side is rounded to whole pixels, its factor is not.
        yield float(round(factor)) if abs(factor / round(factor) - 1) < 0.01 else factor
    for number in _ROUND_FACTORS:
        yield float(number)
        yield 1 / number


def _beyond(positions: NDArray[np.float64], slide: Slide) -> list[str]:
    count = int(beyond(positions, slide.shape).sum())
    return [f"{count} of {len(positions)} spots lie beyond the slide."] if count else []
