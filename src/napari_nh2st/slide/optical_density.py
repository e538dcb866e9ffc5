"""Optical density of pixels: the natural logarithm of the light that stains take away.

One definition for stain normalization, stain jitter and hematoxylin, so that what one of them
changes another sees. Black, which has none, counts as the 256th part of white.
"""

from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

WHITE = 256


@overload
def optical_density(light: NDArray[Any]) -> NDArray[np.float64]: ...


@overload
def optical_density(light: "Tensor") -> "Tensor": ...


def optical_density(light: Any) -> Any:
    """Optical density, 0 for white.

    Parameters
    ----------
    light
        Values in 0–255 of any shape: an array, or a tensor on any device.

    Returns
    -------
    ndarray or Tensor
        Of the same shape; float64 of an array, float32 of a tensor.
    """
    if isinstance(light, np.ndarray):
        return -np.log((light.astype(np.float64) + 1) / WHITE)
    # One new tensor: those of a batch are large.
    return light.float().add(1).div_(WHITE).log_().neg_()


def transmitted_light(density: "Tensor") -> "Tensor":
    """The inverse of :func:`optical_density`, clipped to 0–255; takes the place of `density`."""
    return density.neg_().exp_().mul_(WHITE).sub_(1).clamp_(0, WHITE - 1)
