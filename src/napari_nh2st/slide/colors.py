"""Meaning of stored channels, and their conversion to 8-bit RGB."""

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from itertools import product
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

T = TypeVar("T")
RGB = NDArray[np.uint8]
Kind = Literal["rgb", "grey", "inverted grey", "palette", "cmyk"]
Alpha = Literal["straight", "premultiplied"] | None
ToRGB = Callable[[NDArray[Any]], RGB]
"""Turns stored samples, (height, width, samples), into uint8, (height, width, 3)."""

CHANNEL_COLORS = ("0000FF", "00FF00", "FF0000", "FFFFFF", "00FFFF", "FF00FF", "FFFF00")
"""Colors of fluorescence channels that bring none: the first is most often a nuclear stain."""

_SAYS_NOTHING = re.compile(
    r"(?:channel|chan|ch|c|band|sample|component|plane|image|s)?\d*"
    r"|rgba?\d*|h&e|he|brightfield|bf|tl|tlbrightfield|transmitted(?:light)?|colou?r"
)
"""Labels, without spaces and the like, that name no dye."""

_SAMPLED_PIECES = 5  # along each side of a level
_COLOR_NAMES = (("r", "g", "b", "a"), ("red", "green", "blue", "alpha"))
_PURE = ("FF0000", "00FF00", "0000FF")


class StoredColors:
    """Converts the samples of an image under white light.

    Parameters
    ----------
    kind
        What the samples are.
    alpha
        Whether a last sample is the opacity, and whether the colors were multiplied by it.
    palette
        uint8, (entries, 3); for ``"palette"``.
    bits
        Bits of a sample.
    full_scale
        For samples of more than 8 bits, gives the value that is shown as 255; asked once.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        alpha: Alpha = None,
        palette: RGB | None = None,
        bits: int = 8,
        full_scale: Callable[[], float] | None = None,
    ) -> None:
        self._kind = kind
        self._alpha = alpha
        self._palette = palette
        self._scale = Once(full_scale) if full_scale else Once(lambda: float(2**bits - 1))

    def __call__(self, pixels: NDArray[Any]) -> RGB:
        """Convert samples, (height, width, samples), to uint8, (height, width, 3)."""
        if self._kind == "palette":
            assert self._palette is not None
            return self._palette[np.minimum(pixels[..., 0], len(self._palette) - 1)]
        pixels = self._to_8_bits(pixels)
        n_colors = {"rgb": 3, "cmyk": 4}.get(self._kind, 1)
        colors = pixels[..., :n_colors]
        if self._kind == "inverted grey":
            colors = 255 - colors
        if self._kind == "cmyk":
            ink = 255 - colors.astype(np.uint16)
            colors = ((ink[..., :3] * ink[..., 3:] + 127) // 255).astype(np.uint8)
        if self._alpha and pixels.shape[-1] > n_colors:
            colors = over_white(
                colors, pixels[..., n_colors], premultiplied=self._alpha == "premultiplied"
            )
        if colors.shape[-1] == 1:
            colors = np.repeat(colors, 3, axis=-1)
        return colors

    def _to_8_bits(self, pixels: NDArray[Any]) -> RGB:
        if pixels.dtype == np.bool_:
            return pixels.astype(np.uint8) * np.uint8(255)
        scale = self._scale()
        if pixels.dtype == np.uint8 and scale == 255:
            return pixels
        scaled = pixels.astype(np.float32) * np.float32(255 / scale) + np.float32(0.5)
        return np.clip(scaled, 0, 255).astype(np.uint8)


class FluorescenceColors:
    """Adds up channels, each in its color between its limits, on black.

    Parameters
    ----------
    colors
        One color a channel, as hexadecimal RGB.
    limits
        Gives float, (channels, 2): the values shown dark and bright; asked once.
    """

    def __init__(self, colors: Sequence[str], limits: Callable[[], NDArray[np.float64]]) -> None:
        self._colors = np.array(
            [[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in colors], np.float32
        )
        self._limits = Once(limits)

    def __call__(self, pixels: NDArray[Any]) -> RGB:
        """Convert samples, (height, width, channels), to uint8, (height, width, 3)."""
        limits = self._limits()
        total = np.zeros((*pixels.shape[:2], 3), np.float32)
        for channel, color in enumerate(self._colors):
            low, high = limits[channel]
            values = (pixels[..., channel].astype(np.float32) - low) / max(high - low, 1e-12)
            total += np.clip(values, 0, 1).astype(np.float32)[..., None] * color
        return np.clip(total + 0.5, 0, 255).astype(np.uint8)


class Once(Generic[T]):
    """Calls a function the first time and keeps the answer; for several threads."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._answer: list[T] = []

    def __call__(self) -> T:
        """The answer. If the function raises, the next call tries again."""
        if not self._answer:
            with self._lock:
                if not self._answer:
                    self._answer.append(self._function())
        return self._answer[0]


def over_white(colors: RGB, alpha: RGB, *, premultiplied: bool = False) -> RGB:
    """Compose colors, (height, width, n), with opacity, (height, width), over white."""
    opacity = alpha.astype(np.uint16)[..., None]
    if premultiplied:
        return np.minimum(colors + (255 - opacity), 255).astype(np.uint8)
    return ((colors * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)


def ycbcr_to_rgb(pixels: RGB) -> RGB:
    """Full-range YCbCr (ITU-R BT.601, as in JFIF) to RGB, both uint8, (height, width, 3)."""
    y, cb, cr = (pixels[..., i].astype(np.float32) for i in range(3))
    cb, cr = cb - 128, cr - 128
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    return np.clip(rgb + 0.5, 0, 255).astype(np.uint8)


def spread(n: int, most: int) -> NDArray[np.intp]:
    """Indices of up to `most` of `n` things, evenly from the first to the last."""
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))


def sample_over(
    read: Callable[[int, int], NDArray[Any] | None], grid: tuple[int, int]
) -> NDArray[Any] | None:
    """Stored samples, (pixels, samples), of a few pieces over a level, to choose its colors by.

    Parameters
    ----------
    read
        Gives the piece of a row and column, (rows, columns, samples); None where none is stored.
    grid
        Rows and columns of pieces.

    Returns
    -------
    ndarray or None
        Damaged pieces are left out; None where there are no others.
    """
    found = []
    for row, column in product(*(spread(n, _SAMPLED_PIECES).tolist() for n in grid)):
        with suppress(SegmentError):
            if (pixels := read(row, column)) is not None:
                found.append(pixels[::4, ::4].reshape(-1, pixels.shape[-1]))
    return np.concatenate(found) if found else None


def full_scale(samples: NDArray[Any]) -> float:
    """The value to show as white: the end of the smallest usual bit depth that holds all."""
    if samples.dtype.kind == "f":
        top = float(np.nanmax(samples, initial=0))
        return 1.0 if top <= 1 else max(top, 1e-12)
    top = int(samples.max(initial=0))
    return float(next((2**n - 1 for n in (8, 10, 12, 14, 16) if top < 2**n), 2**32 - 1))


def contrast_limits(samples: NDArray[Any]) -> NDArray[np.float64]:
    """Robust dark and bright values, (channels, 2), of samples, (pixels, channels)."""
    limits = np.nanpercentile(samples.astype(np.float64), (0.5, 99.8), axis=0).T
    flat = limits[:, 1] <= limits[:, 0]
    limits[flat, 1] = limits[flat, 0] + 1
    return np.asarray(limits, np.float64)


class Channels(Enum):
    """What the channels of an image are, by what is written about them."""

    RGB = "red, green and blue"
    RGBA = "red, green, blue and opacity"
    DYES = "dyes"
    UNKNOWN = "not said"


def channels_meaning(
    n_channels: int, labels: Sequence[Any] = (), colors: Sequence[str] = ()
) -> Channels:
    """What channels are, by their labels and colors.

    Parameters
    ----------
    n_channels
        How many the image has.
    labels
        Label of each channel; a missing one is None or empty.
    colors
        Color of each channel as hexadecimal RGB; empty where there is none.

    Returns
    -------
    Channels
        ``DYES`` where a label names something else than a color or a number, or where the
        colors are not those of red, green and blue. Three channels of which nothing is said are
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
