"""Corrections of positions: another scale, mirrored or turned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.orientation import AS_THEY_ARE, ORIENTATIONS, places
from napari_nh2st.spots.positions import PIXELS, SPATIAL, positions

_STEPS: Mapping[str, tuple[str, ...]] = {
    AS_THEY_ARE: ("",),
    "with x mirrored": ("flip-x",),
    "with y mirrored": ("flip-y",),
    "with x and y mirrored (turned by 180°)": ("flip-x flip-y",),
    "with x and y swapped": ("swap-xy",),
    "with x and y swapped, then x mirrored": ("swap-xy flip-x", "flip-y swap-xy"),
    "with x and y swapped, then y mirrored": ("swap-xy flip-y", "flip-x swap-xy"),
    "with x and y swapped, then both mirrored": ("swap-xy flip-x flip-y", "flip-x flip-y swap-xy"),
}
"""How the places of each orientation are spelled, step by step."""

_SWAPPED_LAST: Mapping[str, str] = {
    "with x and y swapped, then x mirrored": "with y mirrored, then x and y swapped",
    "with x and y swapped, then y mirrored": "with x mirrored, then x and y swapped",
    "with x and y swapped, then both mirrored": "with x and y mirrored, then swapped",
}
"""The second place of an orientation in words: where the slide is not square, order matters."""

_SCALE = "scale="


@dataclass(frozen=True)
class Fix:
    """How positions are brought to where they belong: first the factor, then the turn.

    Parameters
    ----------
    orientation
        Key of :data:`~napari_nh2st.spots.orientation.ORIENTATIONS`.
    factor
        Positions are multiplied by it.
    place
        Which of the orientation's places, where it has two; see
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
        """Read a fix as it is spelled in a sections table.

        Parameters
        ----------
        text
            Steps in the order in which they are done, with blanks between them: ``scale=FACTOR``
            first, then ``flip-x``, ``flip-y`` and ``swap-xy``. Mirroring is within the slide.

        Raises
        ------
        InputError
            The text is no such steps.

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
            ((name, turns.index(turn)) for name, turns in _STEPS.items() if turn in turns), None
        )
        if found is None or not (np.isfinite(factor) and factor > 0):
            raise InputError(
                f"{text!r} is no fix of positions; give scale=NUMBER, flip-x, flip-y, swap-xy or "
                "several of them, the scale first, mirrored before or after swapping, such as "
                "'scale=4 swap-xy flip-x'"
            )
        orientation, place = found
        return cls(orientation, factor, place)

    def spelled(self) -> str:
        """The text that :meth:`from_text` reads; empty where nothing is done."""
        short = f"{self.factor:g}"
        number = short if float(short) == self.factor else repr(float(self.factor))
        scale = "" if self.factor == 1 else f"{_SCALE}{number}"
        turns = _STEPS[self.orientation]
        return f"{scale} {turns[min(self.place, len(turns) - 1)]}".strip()

    def in_words(self) -> str:
        """What is done to the positions."""
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
    """Spots where a fix puts them.

    Parameters
    ----------
    spots
        Stay as they are.
    fix
        From :func:`propose_fix`, or made by hand.
    slide_shape
        (height, width) of the slide at full resolution, in pixels.

    Returns
    -------
    AnnData
        A copy with other ``obsm["spatial"]``, ``obs["pxl_col_in_fullres"]`` and
        ``obs["pxl_row_in_fullres"]``. ``uns["nh2st_spots"]`` has it in ``fix`` and at the end of
        its ``report``.
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
