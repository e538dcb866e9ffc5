"""Swapped or mirrored positions, noticed by the tissue that spots must lie on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.slide import Slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.mask import LARGEST_MASK_SIDE, stained

_Coordinate = NDArray[np.float64]
_Turn = Callable[
    [_Coordinate, _Coordinate, float, float], tuple[tuple[_Coordinate, _Coordinate], ...]
]

AS_THEY_ARE = "as they are"

ORIENTATIONS: Mapping[str, _Turn] = {
    AS_THEY_ARE: lambda x, y, _w, _h: ((x, y),),
    "with x mirrored": lambda x, y, w, _h: ((w - x, y),),
    "with y mirrored": lambda x, y, _w, h: ((x, h - y),),
    "with x and y mirrored (turned by 180°)": lambda x, y, w, h: ((w - x, h - y),),
    "with x and y swapped": lambda x, y, _w, _h: ((y, x),),
    "with x and y swapped, then x mirrored": lambda x, y, w, h: ((w - y, x), (h - y, x)),
    "with x and y swapped, then y mirrored": lambda x, y, w, h: ((y, h - x), (y, w - x)),
    "with x and y swapped, then both mirrored": lambda x, y, w, h: (
        (w - y, h - x),
        (h - y, w - x),
    ),
}
"""The eight ways to lay a square on itself, from (x, y) and the slide's width and height.

Where a slide is not square, mirroring before swapping and after it are two places: both count.
"""

_MASK_PX_PER_PITCH = 16
"""Resolution of the tissue mask: finer than a spot, and a small picture of any slide."""

_LEAST_GAIN = 0.1
_MOST_MISSES_LEFT = 0.5
_LEAST_ON_TISSUE_TURNED = 0.75
"""Another orientation is named only if it puts clearly more of the spots on tissue, at most half
as much beside it, and most of it on tissue: a poor mask or full tissue name none."""


@dataclass(frozen=True)
class Orientation:
    """How spots lie on the tissue.

    Parameters
    ----------
    on_tissue
        By orientation, the share of the spots' area that is tissue.
    better
        The orientation that fits clearly better than ``"as they are"``, None if none does.
    """

    on_tissue: Mapping[str, float]
    better: str | None

    def sentence(self) -> str:
        """The better orientation as a sentence for the user."""
        assert self.better is not None
        return (
            f"as they are, {self.on_tissue[AS_THEY_ARE]:.0%} of the spots' area is tissue; "
            f"{self.better} it would be {self.on_tissue[self.better]:.0%}."
        )


def orient(positions: ArrayLike, slide: Slide, pitch_px: float) -> Orientation:
    """Compare spots with the slide's tissue in all eight orientations of a square.

    Parameters
    ----------
    positions
        (n, 2) (x, y) in full-resolution pixels; only spots under tissue.
    slide
        A coarse picture of it is read.
    pitch_px
        Distance between spots in full-resolution pixels.
    """
    return orient_on(positions, tissue_for_spots(slide, pitch_px), slide.shape, pitch_px)


def tissue_for_spots(slide: Slide, pitch_px: float) -> TissueMask:
    """Tissue as :func:`~napari_nh2st.tiles.find_tissue` finds it, as coarse as spots allow.

    Parameters
    ----------
    slide
        Needs no µm/px.
    pitch_px
        Distance between spots; specks and holes smaller than its square go.
    """
    downsample = max(1.0, pitch_px / _MASK_PX_PER_PITCH, max(slide.shape) / LARGEST_MASK_SIDE)
    picture = slide_overview(slide, downsample)
    factor = slide.shape[0] / picture.shape[0], slide.shape[1] / picture.shape[1]
    spot_pixels = pitch_px**2 / (factor[0] * factor[1])
    return TissueMask(stained(picture, max(1, round(spot_pixels))), factor)


def orient_on(
    positions: ArrayLike, mask: TissueMask, shape: tuple[int, int], pitch_px: float
) -> Orientation:
    """Compare spots with a tissue mask, as :func:`orient`.

    Parameters
    ----------
    positions
        (n, 2) (x, y) in full-resolution pixels.
    mask
        Tissue of the slide, for example of :func:`~napari_nh2st.tiles.find_tissue`.
    shape
        (height, width) of the slide.
    pitch_px
        Distance between spots; a spot is taken as a square of half of it.
    """
    on_tissue = {
        name: max(
            share_on_tissue(place, mask, pitch_px) for place in places(positions, name, shape)
        )
        for name in ORIENTATIONS
    }
    given = on_tissue[AS_THEY_ARE]
    best = max(on_tissue, key=lambda name: on_tissue[name])
    clear = (
        on_tissue[best] >= _LEAST_ON_TISSUE_TURNED
        and on_tissue[best] - given >= _LEAST_GAIN
        and 1 - on_tissue[best] <= _MOST_MISSES_LEFT * (1 - given)
    )
    return Orientation(on_tissue, best if clear else None)


def places(
    positions: ArrayLike, orientation: str, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], ...]:
    """Where an orientation puts spots on a slide.

    Parameters
    ----------
    positions
        (n, 2) (x, y) in full-resolution pixels.
    orientation
        Key of :data:`ORIENTATIONS`.
    shape
        (height, width) of the slide.

    Returns
    -------
    tuple of ndarray
        One or two of (n, 2) (x, y): two where mirroring before swapping and after it may differ.
    """
    x, y = np.asarray(positions, np.float64).T
    height, width = shape
    return tuple(
        np.column_stack(turned) for turned in ORIENTATIONS[orientation](x, y, width, height)
    )


def share_on_tissue(positions: ArrayLike, mask: TissueMask, pitch_px: float) -> float:
    """Share of the spots' area that is tissue.

    Parameters
    ----------
    positions
        (n, 2) (x, y) in full-resolution pixels.
    mask
        Tissue of the slide.
    pitch_px
        Distance between spots; a spot is taken as a square of half of it.
    """
    side = pitch_px / 2
    corners = np.asarray(positions, np.float64)[:, ::-1] - side / 2
    return float(mask.fraction(corners, (side, side)).mean())
