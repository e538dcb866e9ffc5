"""Periodic noise textures of a synthetic tissue: collagen, chromatin, fine grain."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from .fields import Floats

N_DIRECTIONS: Final = 10
"""Directions a fibre texture is kept for, evenly over half a turn."""

_FIBRE_PERIOD = 864
_GRAIN_PERIOD = 1000  # another period than the fibres', so that the two never repeat together


@dataclass(frozen=True)
class Textures:
    """Noise of mean 0 and standard deviation about 1, repeating beyond its edges.

    Attributes
    ----------
    fibres
        (N_DIRECTIONS, period, period): wavy fibres; direction k runs at k · π / N_DIRECTIONS,
        counted from x towards y.
    chromatin
        (period, period): clumps of about 1 µm.
    grain, patches
        (period, period): blobs of about 4 µm and 25 µm.
    """

    fibres: Floats
    chromatin: Floats
    grain: Floats
    patches: Floats


@lru_cache(maxsize=2)
def make_textures(mpp: float) -> Textures:
    """Make the textures for slides of `mpp` µm/px."""
    rng = np.random.default_rng(7)

    def noise(period: int, along_um: float, across_um: float, angle: float = 0.0) -> Floats:
        white = rng.standard_normal((period, period), dtype=np.float32)
        return _smoothed(white, along_um / mpp, across_um / mpp, angle)

    # Collagen is wavy: straight fibres, each pixel taken from a little beside its place.
    y, x = np.indices((_FIBRE_PERIOD, _FIBRE_PERIOD), dtype=np.float32)
    y += noise(_FIBRE_PERIOD, 9.0, 9.0) * np.float32(3.2 / mpp)
    x += noise(_FIBRE_PERIOD, 9.0, 9.0) * np.float32(3.2 / mpp)
    fibres = np.empty((N_DIRECTIONS, _FIBRE_PERIOD, _FIBRE_PERIOD), np.float32)
    for k in range(N_DIRECTIONS):
        angle = k * np.pi / N_DIRECTIONS
        straight = 0.6 * noise(_FIBRE_PERIOD, 14.0, 0.8, angle)
        straight += 0.8 * noise(_FIBRE_PERIOD, 32.0, 3.0, angle)
        ndimage.map_coordinates(straight, [y, x], output=fibres[k], order=1, mode="grid-wrap")
    fine, coarse = (noise(_GRAIN_PERIOD, sigma, sigma) for sigma in (0.45, 0.9))
    return Textures(
        fibres=fibres,
        chromatin=np.asarray((fine + 0.7 * coarse) / np.hypot(1, 0.7), np.float32),
        grain=noise(_GRAIN_PERIOD, 2.0, 2.0),
        patches=noise(_GRAIN_PERIOD, 13.0, 13.0),
    )


def cut(
    texture: Floats, y: int, x: int, height: int, width: int, which: NDArray[np.int64] | None = None
) -> Floats:
    """The part of a periodic texture (rows, columns) over a region of the slide.

    From a stack of textures each pixel takes the one that `which` (height, width) names.
    """
    rows = np.arange(y, y + height)[:, None] % texture.shape[-2]
    columns = np.arange(x, x + width)[None, :] % texture.shape[-1]
    return texture[rows, columns] if which is None else texture[which, rows, columns]


def _smoothed(noise: Floats, along: float, across: float, angle: float) -> Floats:
    """Smooth periodically with a Gaussian of `along` × `across` px, its long axis at `angle`."""
    fy = fft.fftfreq(noise.shape[0]).astype(np.float32)[:, None]
    fx = fft.rfftfreq(noise.shape[1]).astype(np.float32)[None, :]
    u = fx * np.float32(np.cos(angle)) + fy * np.float32(np.sin(angle))
    v = fy * np.float32(np.cos(angle)) - fx * np.float32(np.sin(angle))
    response = np.exp(-2 * np.float32(np.pi) ** 2 * ((u * along) ** 2 + (v * across) ** 2))
    smooth: Floats = fft.irfft2(fft.rfft2(noise) * response, s=noise.shape)
    return (smooth - smooth.mean()) / (smooth.std() + np.float32(1e-12))
