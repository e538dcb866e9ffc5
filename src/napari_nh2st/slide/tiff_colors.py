"""How the samples of a TIFF page become RGB."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from .colors import (
    CHANNEL_COLORS,
    Alpha,
    FluorescenceColors,
    Kind,
    StoredColors,
    ToRGB,
    contrast_limits,
    full_scale,
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
        Where colours are described.
    channels
        The pages whose samples together are a pixel.
    ome_channels
        Attributes of the channels in OME-XML, if any.
    sample
        Gives samples of some pixels, (pixels, samples); asked when the first pixel is shown.

    Raises
    ------
    NotReadable
        The colours are of a kind not known here.
    """
    dtype = channels[0].dtype
    n_samples = sum(channel.samples for channel in channels)
    kind = _KINDS.get(int(page.photometric))
    if kind is None:
        raise NotReadable(f"is a TIFF of colours that are not known here ({page.photometric})")
    if n_samples == 3 and dtype == np.uint8 and kind == "grey":
        kind = "rgb"  # three planes of 8 bits, which their writer did not call colours
    elif kind == "rgb" and n_samples < 3:
        kind = "grey"
    alpha = _alpha(page)
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
    reason = f"{dtype.itemsize * 8}-bit values" if is_deep else "8-bit colours"
    if is_fluorescence:
        reason = "fluorescence channels"
    return TiffColors(convert, WHITE, not (is_deep or is_fluorescence), reason)


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
        value = channel.get("Color", "")
        if re.fullmatch(r"-?\d+", value) and int(value) not in (-1, 0):
            colors[index] = f"{(int(value) & 0xFFFFFFFF) >> 8:06X}"
    return colors
