"""Usual µm/px of scans, and the size that each would make of an image."""

from dataclasses import dataclass

OBJECTIVES = {0.25: "40×", 0.5: "20×", 1.0: "10×", 2.0: "5×"}
"""µm/px → the objective that a scanner writes it with."""

_SMALLEST_MM = 0.5
"""A section, or a part cut out of a scan, is rarely smaller than this."""
_LARGEST_MM = 76.0
"""A glass slide."""


@dataclass(frozen=True)
class UsualMpp:
    """One of the usual values, for one image.

    Parameters
    ----------
    mpp
        µm/px.
    words
        The value, its objective, the size that it makes of the image, and why it is unlikely.
    likely
        Whether the image would be as large as sections are.
    """

    mpp: float
    words: str
    likely: bool


def usual_values(shape: tuple[int, int] | None) -> list[UsualMpp]:
    """The usual values, those that suit the image first.

    Parameters
    ----------
    shape
        Size of the image, (height, width) in pixels; None where there is none.
    """
    values = [_value(mpp, objective, shape) for mpp, objective in OBJECTIVES.items()]
    return sorted(values, key=lambda value: not value.likely)


def _value(mpp: float, objective: str, shape: tuple[int, int] | None) -> UsualMpp:
    words = f"{mpp:g} µm/px · {objective}"
    if shape is None:
        return UsualMpp(mpp, words, True)
    height, width = (side * mpp / 1000 for side in shape)
    longest = max(height, width)
    if longest < 1:
        size = f"{width * 1000:.3g} × {height * 1000:.3g} µm"
    else:
        size = f"{width:.3g} × {height:.3g} mm"
    why = ""
    if longest < _SMALLEST_MM:
        why = " · unlikely: small for a section"
    elif longest > _LARGEST_MM:
        why = " · unlikely: larger than a glass slide"
    return UsualMpp(mpp, f"{words} · {size}{why}", not why)
