"""Colors of a scan, made from amounts of stain by the Beer–Lambert law."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .fields import Floats, Positions

STAIN_VECTORS: Final = np.array(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32
)
"""Optical density per unit of stain in (red, green, blue): hematoxylin, eosin and, for what else
absorbs blue light in fixed tissue, the third of the vectors in Ruifrok & Johnston, Quantification
of histochemical staining by color deconvolution, Anal Quant Cytol Histol 23:291–299 (2001)."""

WHITE: Final = np.array([246.0, 244.0, 245.0], np.float32)
"""Grey values of bare glass."""

_UNEVENNESS = 0.008  # of the illumination
_NOISE = 1.1  # grey values


def light_through(
    stains: Floats | None, y_um: Positions, x_um: Positions, inner: slice, noise: Floats
) -> NDArray[np.uint8]:
    """Grey values behind stains, a little blurred, under uneven light and with sensor noise.

    Parameters
    ----------
    stains
        (3, n, n) optical densities along `STAIN_VECTORS`, with a margin; None for bare glass.
    y_um, x_um
        (n,) positions of the rows and columns in µm.
    inner
        The rows (and columns) without the margin.
    noise
        (m, m, 3) standard normal, for the inner part.

    Returns
    -------
    ndarray
        uint8 RGB (m, m, 3).
    """
    light = 1 + np.float32(_UNEVENNESS) * (
        np.sin(y_um[inner] / 910.0)[:, None] * np.cos(x_um[inner] / 730.0)[None, :]
    ).astype(np.float32)
    grey = noise * np.float32(_NOISE)
    if stains is None:
        grey += light[..., None] * WHITE
    else:
        blurred = [_blur(stain)[inner, inner] for stain in stains]
        for channel in range(3):
            density = sum(
                stain * np.float32(-np.log(10) * vector[channel])
                for stain, vector in zip(blurred, STAIN_VECTORS, strict=True)
            )
            grey[..., channel] += np.exp(density) * light * WHITE[channel]
    return (np.clip(grey, 0, 255) + 0.5).astype(np.uint8)


def _blur(image: Floats) -> Floats:
    """Binomial blur, 1-2-1 along both axes (σ = 0.7 px); the outermost pixels stay."""
    blurred = image.copy()
    blurred[1:-1] += 0.5 * (image[:-2] + image[2:])
    blurred[1:-1] *= 0.5
    rows = blurred.copy()
    blurred[:, 1:-1] += 0.5 * (rows[:, :-2] + rows[:, 2:])
    blurred[:, 1:-1] *= 0.5
    return blurred
