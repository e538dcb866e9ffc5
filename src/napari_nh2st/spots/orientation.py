"""Orientation of positions, seen by the tissue that spots must lie on, and corrections of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.positions import PIXELS, SPATIAL, positions
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.mask import LARGEST_MASK_SIDE, stained

AS_THEY_ARE = "as they are"

ORIENTATIONS: Mapping[str, tuple[str, ...]] = {
    AS_THEY_ARE: ("",),
    "with x mirrored": ("flip-x",),
    "with y mirrored": ("flip-y",),
    "with x and y mirrored (turned by 180°)": ("flip-x flip-y",),
    "with x and y swapped": ("swap-xy",),
    "with x and y swapped, then x mirrored": ("swap-xy flip-x", "flip-y swap-xy"),
    "with x and y swapped, then y mirrored": ("swap-xy flip-y", "flip-x swap-xy"),
    "with x and y swapped, then both mirrored": ("swap-xy flip-x flip-y", "flip-x flip-y swap-xy"),
}
"""The eight ways to lay a square on itself, each by the places that it puts spots at: steps, as a
sections table spells them.

Where a slide is not square, mirroring before swapping and after it are two places: both count.
"""

_SWAPPED_LAST: Mapping[str, str] = {
    "with x and y swapped, then x mirrored": "with y mirrored, then x and y swapped",
    "with x and y swapped, then y mirrored": "with x mirrored, then x and y swapped",
    "with x and y swapped, then both mirrored": "with x and y mirrored, then swapped",
}
"""The second place of an orientation in words: where the slide is not square, order matters."""

_SCALE = "scale="

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
        Share (0–1) of the spots' area that is tissue, by orientation.
    better
        The orientation that fits clearly better than ``"as they are"``; None if none does.
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
        (n, 2) positions (x, y) in full-resolution pixels of the spots under tissue.
    slide
        The slide they were measured on; a coarse picture of it is read.
    pitch_px
        Distance between spots in full-resolution pixels.

    Examples
    --------
    .. code-block:: python

        with open_slide("C6.jpg") as slide:
            found = orient(spots.obsm["spatial"], slide, spot_array(spots).pitch_px)
        found.better  # None where they lie best as they are
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
        (n, 2) positions (x, y) in full-resolution pixels.
    orientation
        Key of :data:`ORIENTATIONS`.
    shape
        (height, width) of the slide.

    Returns
    -------
    tuple of ndarray
        One or two, each (n, 2) (x, y): two if mirroring before and after swapping may differ.
    """
    return tuple(_turned(positions, steps, shape) for steps in ORIENTATIONS[orientation])


def _turned(positions: ArrayLike, steps: str, shape: tuple[int, int]) -> NDArray[np.float64]:
    x, y = np.asarray(positions, np.float64).T
    height, width = shape
    for step in steps.split():
        match step:
            case "flip-x":
                x = width - x
            case "flip-y":
                y = height - y
            case "swap-xy":
                x, y = y, x
    return np.column_stack([x, y])


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


@dataclass(frozen=True)
class Fix:
    """How positions are corrected: scaled by a factor first, then turned or mirrored.

    Parameters
    ----------
    orientation
        Key of :data:`~napari_nh2st.spots.orientation.ORIENTATIONS`.
    factor
        Positions are multiplied by it.
    place
        Index (0 or 1) among the orientation's places, if it has two; see
        :func:`~napari_nh2st.spots.orientation.places`.

    Raises
    ------
    ValueError
        There is no such orientation or place, or the factor is not a positive number.
    """

    orientation: str = AS_THEY_ARE
    factor: float = 1.0
    place: int = 0

    def __post_init__(self) -> None:
        if self.orientation not in ORIENTATIONS:
            known = ", ".join(ORIENTATIONS)
            raise ValueError(f"orientation is {self.orientation!r}; it must be one of {known}")
        if not (np.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"factor must be a positive number, not {self.factor}")
        if self.place not in (0, 1):
            raise ValueError(f"place must be 0 or 1, not {self.place}")

    @classmethod
    def from_text(cls, text: str) -> "Fix":
        """Read a fix as it is written in a sections table.

        Parameters
        ----------
        text
            Steps in the order in which they are applied, separated by blanks: ``scale=FACTOR``
            first, then ``flip-x``, ``flip-y`` and ``swap-xy``. Mirroring is within the slide.

        Raises
        ------
        InputError
            The text has anything but such steps.

        Examples
        --------
        >>> Fix.from_text("scale=4 flip-x")
        Fix(orientation='with x mirrored', factor=4.0, place=0)
        """
        steps = text.lower().split()
        factor = 1.0
        if steps and steps[0].startswith(_SCALE):
            try:
                factor = float(steps.pop(0).removeprefix(_SCALE))
            except ValueError:
                factor = np.nan
        turn = " ".join(steps).replace("flip-y flip-x", "flip-x flip-y")
        found = next(
            ((name, turns.index(turn)) for name, turns in ORIENTATIONS.items() if turn in turns),
            None,
        )
        if found is None or not (np.isfinite(factor) and factor > 0):
            raise InputError(
                f"{text!r} is not a fix of positions; give scale=NUMBER, flip-x, flip-y, swap-xy "
                "or several of them, the scale first, mirrored before or after swapping, such as "
                "'scale=4 swap-xy flip-x'"
            )
        orientation, place = found
        return cls(orientation, factor, place)

    def spelled(self) -> str:
        """The text that :meth:`from_text` reads; empty if positions stay as they are."""
        short = f"{self.factor:g}"
        number = short if float(short) == self.factor else repr(float(self.factor))
        scale = "" if self.factor == 1 else f"{_SCALE}{number}"
        turns = ORIENTATIONS[self.orientation]
        return f"{scale} {turns[min(self.place, len(turns) - 1)]}".strip()

    def in_words(self) -> str:
        """What is done to the positions, in words."""
        parts = [] if self.factor == 1 else [f"multiplied by {self.factor:g}"]
        parts += [] if self.orientation == AS_THEY_ARE else [f"taken {self._turn}"]
        return ", then ".join(parts) if parts else AS_THEY_ARE

    def in_short(self) -> str:
        """The same in fewer words, for a menu."""
        parts = [] if self.factor == 1 else [f"× {self.factor:g}"]
        parts += [] if self.orientation == AS_THEY_ARE else [self._turn.removeprefix("with ")]
        return ", then ".join(parts) if parts else AS_THEY_ARE

    @property
    def _turn(self) -> str:
        """The orientation in words that tell its places apart."""
        second = _SWAPPED_LAST.get(self.orientation) if self.place else None
        return second or self.orientation


def apply_fix(spots: AnnData, fix: Fix, slide_shape: tuple[int, int]) -> AnnData:
    """Apply a fix to the positions of spots.

    Parameters
    ----------
    spots
        From :func:`~napari_nh2st.spots.read_spots`; not changed.
    fix
        From :func:`propose_fix`, or made by hand.
    slide_shape
        (height, width) of the slide at full resolution, in pixels.

    Returns
    -------
    AnnData
        A copy with corrected ``obsm["spatial"]``, ``obs["pxl_col_in_fullres"]`` and
        ``obs["pxl_row_in_fullres"]``. ``uns["nh2st_spots"]`` names the fix in ``fix`` and at the
        end of ``report``.

    Examples
    --------
    >>> spots = AnnData(np.ones((1, 1)), obsm={"spatial": np.array([[10.0, 20.0]])})
    >>> apply_fix(spots, Fix.from_text("scale=2"), (100, 200)).obsm["spatial"].tolist()
    [[20.0, 40.0]]
    """
    fixed = spots.copy()
    where = places(positions(spots) * fix.factor, fix.orientation, slide_shape)
    turned = where[min(fix.place, len(where) - 1)]
    fixed.obsm[SPATIAL] = turned
    fixed.obs[list(PIXELS)] = turned[:, ::-1]
    info: dict[str, Any] = fixed.uns.setdefault(INFO, {})
    info["fix"] = {"orientation": fix.orientation, "factor": fix.factor, "place": fix.place}
    if "report" in info:
        info["report"] = f"{info['report']}; positions {fix.in_words()}"
    return fixed
