"""Tiles brought to the model's µm/px, on the device that predicts."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.slide.optical_density import optical_density, transmitted_light
from napari_nh2st.tiles import resampling_weights

SAME_SCALE = 0.01
"""A slide's µm/px this near to the model's (as a share) is taken as the same."""


class Resampler:
    """Averages square tiles down (or interpolates them up) to the network's size.

    Parameters
    ----------
    extent
        (height, width) in source pixels that a tile covers; need not be whole.
    size
        Side of the result in pixels.
    device
        Where.
    stain
        (3, 3) by which optical densities are multiplied, see
        :func:`~napari_nh2st.analysis.stain_normalization.normalization`; None for none.
    """

    def __init__(
        self,
        extent: tuple[float, float],
        size: int,
        device: torch.device,
        stain: NDArray[np.float32] | None = None,
    ) -> None:
        self._stain = None if stain is None else torch.from_numpy(stain).to(device)
        self.identity = all(e == size for e in extent)
        weights = (torch.from_numpy(resampling_weights(e, size)).to(device) for e in extent)
        self._vertical, self._horizontal = weights

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """(n, h, w, 3) uint8 → (n, size, size, 3), float unless nothing has to be done."""
        tiles = self._resampled(tiles)
        return tiles if self._stain is None else with_stain(tiles, self._stain)

    def _resampled(self, tiles: Tensor) -> Tensor:
        if self.identity:
            return tiles
        n, h, w, c = tiles.shape
        rows = self._vertical @ tiles.to(torch.float32).reshape(n, h, w * c)
        columns = self._horizontal @ rows.reshape(n * len(self._vertical), w, c)
        return columns.reshape(n, len(self._vertical), len(self._horizontal), c)


def with_stain(tiles: Tensor, stain: Tensor) -> Tensor:
    """Multiply optical densities: (n, h, w, 3) in 0–255, (3, 3) → (n, h, w, 3) float32."""
    return transmitted_light(optical_density(tiles) @ stain)
