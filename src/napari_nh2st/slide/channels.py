"""Meaning of the channels of an image: colours under white light, or dyes."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SAYS_NOTHING = re.compile(
    r"(?:channel|chan|ch|c|band|sample|component|plane|image|s)?\d*"
    r"|rgba?\d*|h&e|he|brightfield|bf|tl|tlbrightfield|transmitted(?:light)?|colou?r"
)
"""Labels, without spaces and the like, that name no dye."""

_COLOR_NAMES = (("r", "g", "b", "a"), ("red", "green", "blue", "alpha"))
_PURE = ("FF0000", "00FF00", "0000FF")


class Channels(Enum):
    """What the channels of an image are, by what is written about them."""

    RGB = "red, green and blue"
    RGBA = "red, green, blue and opacity"
    DYES = "dyes"
    UNKNOWN = "not said"


def channels_meaning(
    n_channels: int, labels: Sequence[Any] = (), colors: Sequence[str] = ()
) -> Channels:
    """What channels are, by their labels and colours.

    Parameters
    ----------
    n_channels
        How many the image has.
    labels
        Label of each channel; a missing one is None or empty.
    colors
        Colour of each channel as hexadecimal RGB; empty where there is none.

    Returns
    -------
    Channels
        ``DYES`` where a label names something else than a colour or a number, or where the
        colours are not those of red, green and blue. Three channels of which nothing is said are
        ``RGB``; one or four are ``UNKNOWN``; other numbers are ``DYES``.
    """
    if n_channels not in (1, 3, 4):
        return Channels.DYES
    names = [_plain(label) for label in labels][:n_channels]
    if names in [list(known)[:n_channels] for known in _COLOR_NAMES if n_channels > 1]:
        return Channels.RGB if n_channels == 3 else Channels.RGBA
    if any(not _SAYS_NOTHING.fullmatch(name) for name in names):
        return Channels.DYES
    given = [color.upper() for color in colors if color]
    is_tinted = len(set(given)) > 1 and tuple(given[:3]) != _PURE
    if is_tinted or (given and n_channels == 1):
        return Channels.DYES
    return Channels.RGB if n_channels == 3 else Channels.UNKNOWN


def is_opacity(samples: NDArray[np.generic]) -> bool:
    """Whether the fourth of four channels looks like an opacity: 255, and 0 outside the image.

    As a dye it would be the same everywhere, which none is.

    Parameters
    ----------
    samples
        (pixels, 4) of some pixels.
    """
    last = samples[:, 3]
    opaque = last == 255
    return bool((opaque | (last == 0)).all() and opaque.mean() > 0.05)


def _plain(label: Any) -> str:
    """A label in small letters, without spaces, hyphens, colons and the like."""
    return "" if label is None else re.sub(r"[\s_\-#:.]+", "", str(label)).lower()
