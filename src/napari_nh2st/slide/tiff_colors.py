"""Conversion of the samples of a TIFF page to RGB."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from .colors import (
    CHANNEL_COLORS,
    Alpha,
    Channels,
    FluorescenceColors,
    Kind,
    StoredColors,
    ToRGB,
    channels_meaning,
    contrast_limits,
    full_scale,
    is_opacity,
)
from .contents import NotReadable
from .level import WHITE
from .tiff_page import StoredPage

MOST_CHANNELS = len(CHANNEL_COLORS)
"""Channels of a fluorescence slide that are shown."""

_FLUORESCENCE_FIELDS = ("Fluor", "EmissionWavelength", "ExcitationWavelength")
_KINDS: dict[int, Kind] = {  # by the tag PhotometricInterpretation
    0: "inverted grey",
    1: "grey",
    2: "rgb",
    3: "palette",
    5: "cmyk",
    6: "rgb",  # YCbCr, which the decoder or the page converts
}


class TiffColors(NamedTuple):
    """A conversion to RGB, the value of missing pixels, and what kind of slide that makes."""

    to_rgb: ToRGB
    background: int
    brightfield: bool
    reason: str


def tiff_colors(
    page: tifffile.TiffPage,
    channels: Sequence[StoredPage],
    ome_channels: Sequence[dict[str, str]],
    sample: Callable[[], NDArray[np.generic]],
) -> TiffColors:
    """Choose how samples become RGB.

    Parameters
    ----------
    page
        Where colors are described.
    channels
        The pages whose samples together are a pixel.
    ome_channels
        Attributes of the channels in OME-XML, if any.
    sample
        Gives samples of some pixels, (pixels, samples); asked when the first pixel is shown, or
        now where nothing else says what four samples are.

    Raises
    ------
    NotReadable
        The colors are of a kind not known here.
    """
    dtype = channels[0].dtype
    n_samples = sum(channel.samples for channel in channels)
    kind = _KINDS.get(int(page.photometric))
    if kind is None:
        raise NotReadable(f"is a TIFF with unknown colors ({page.photometric})")
    alpha = _alpha(page)
    if kind == "rgb" and n_samples < 3:
        kind = "grey"
    meaning = _meaning(n_samples, ome_channels)
    if kind == "grey" and dtype == np.uint8 and n_samples in (3, 4) and alpha is None:
        # Samples of 8 bits that their writer did not call colors.
        if meaning is Channels.UNKNOWN and is_opacity(sample()):
            meaning = Channels.RGBA
        if meaning in (Channels.RGB, Channels.RGBA):
            kind = "rgb"
    if kind == "rgb" and n_samples == 4 and alpha is None and meaning is Channels.RGBA:
        alpha = "straight"
    n_channels = n_samples - (alpha is not None)
    is_deep = dtype.itemsize > 1
    is_fluorescence = any(
        channel.get(name) for channel in ome_channels for name in _FLUORESCENCE_FIELDS
    )
    if kind == "grey" and (is_fluorescence or is_deep or n_channels > 1):
        is_one_grey = n_channels == 1 and not is_fluorescence
        return TiffColors(
            FluorescenceColors(
                _channel_colors(ome_channels, min(n_channels, MOST_CHANNELS)),
                lambda: contrast_limits(sample()),
            ),
            background=0,
            brightfield=False,
            reason=f"{dtype.itemsize * 8}-bit grey values"
            if is_one_grey
            else "fluorescence channels",
        )
    convert = StoredColors(
        kind,
        alpha=alpha,
        palette=_palette(page) if kind == "palette" else None,
        bits=channels[0].bits,
        full_scale=(lambda: full_scale(sample())) if is_deep and kind != "palette" else None,
    )
    reason = f"{dtype.itemsize * 8}-bit values" if is_deep else "8-bit colors"
    if is_fluorescence:
        reason = "fluorescence channels"
    return TiffColors(convert, WHITE, not (is_deep or is_fluorescence), reason)


def _meaning(n_samples: int, ome_channels: Sequence[dict[str, str]]) -> Channels:
    """What the samples are, by OME-XML: one channel of several samples is a color picture."""
    if len(ome_channels) == 1 and ome_channels[0].get("SamplesPerPixel") == str(n_samples):
        return {3: Channels.RGB, 4: Channels.RGBA}.get(n_samples, Channels.UNKNOWN)
    return channels_meaning(
        n_samples,
        [channel.get("Name") for channel in ome_channels],
        [_hexadecimal(channel) for channel in ome_channels],
    )


def _alpha(page: tifffile.TiffPage) -> Alpha:
    """The meaning of the first extra sample; one of no stated meaning is no opacity."""
    meanings: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}
    return meanings.get(int(page.extrasamples[0])) if page.extrasamples else None


def _palette(page: tifffile.TiffPage) -> NDArray[np.uint8]:
    if page.colormap is None:
        raise NotReadable("is a palette TIFF without its palette")
    return (np.asarray(page.colormap).T >> 8).astype(np.uint8)


def _channel_colors(ome_channels: Sequence[dict[str, str]], n_channels: int) -> list[str]:
    """Hexadecimal RGB of each channel: OME's signed RGBA integer, else the usual order."""
    if n_channels == 1:
        return ["FFFFFF"]
    colors = list(CHANNEL_COLORS[:n_channels])
    for index, channel in enumerate(ome_channels[:n_channels]):
        colors[index] = _hexadecimal(channel) or colors[index]
    return colors


def _hexadecimal(channel: dict[str, str]) -> str:
    """A channel's color as hexadecimal RGB, empty where it has none."""
    value = channel.get("Color", "")
    if not re.fullmatch(r"-?\d+", value) or int(value) in (-1, 0):
        return ""
    return f"{(int(value) & 0xFFFFFFFF) >> 8:06X}"
