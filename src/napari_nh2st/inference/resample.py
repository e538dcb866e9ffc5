"""Tiles brought to the model's µm/px, on the device that predicts."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.slide.optical_density import optical_density, transmitted_light
from napari_nh2st.tiles import resampling_weights

SAME_SCALE = 0.01
"""A slide's µm/px this near to the model's (as a share) is taken as the same."""

_CPU_BLOCK = 8
"""Rows of new pixels in one product. Each is made of a few source rows, so the weights of all of
them are mostly zeros: one product for the whole tile takes 28 times as long for 448 → 224 px."""

_GPU_BLOCK = 32
"""The same on a GPU, where zeros cost less than calls."""


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
        block = _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK
        vertical, horizontal = (_bands(resampling_weights(e, size), block) for e in extent)
        self._vertical = [(source, torch.from_numpy(w).to(device)) for source, w in vertical]
        # The three colors of a pixel lie beside each other: one product takes them all.
        self._horizontal = [
            (slice(3 * source.start, 3 * source.stop), torch.from_numpy(_per_color(w)).to(device))
            for source, w in horizontal
        ]

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """(n, h, w, 3) uint8 → (n, size, size, 3), float unless nothing has to be done."""
        tiles = self._resampled(tiles)
        return tiles if self._stain is None else with_stain(tiles, self._stain)

    def _resampled(self, tiles: Tensor) -> Tensor:
        if self.identity:
            return tiles
        n, h, w, c = tiles.shape
        lines = tiles.reshape(n, h, w * c)
        rows = torch.cat([wt @ lines[:, source].float() for source, wt in self._vertical], 1)
        size = rows.shape[1]
        lines = rows.reshape(n * size, w * c)
        pixels = torch.cat([lines[:, source] @ wt for source, wt in self._horizontal], 1)
        return pixels.reshape(n, size, size, c)


def _bands(weights: NDArray[np.float32], block: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Split (size, n) weights into blocks of rows: source pixels that count for any, weights."""
    for first in range(0, len(weights), block):
        rows = weights[first : first + block]
        counting = np.flatnonzero(rows.any(0))
        source = slice(int(counting[0]), int(counting[-1]) + 1)
        yield source, np.ascontiguousarray(rows[:, source])


def _per_color(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """(size, n) → (3 n, 3 size), for rows of pixels of three colors."""
    return np.ascontiguousarray(np.kron(weights.T, np.eye(3, dtype=np.float32)))


def with_stain(tiles: Tensor, stain: Tensor) -> Tensor:
    """Multiply optical densities: (n, h, w, 3) in 0–255, (3, 3) → (n, h, w, 3) float32."""
    return transmitted_light(optical_density(tiles) @ stain)
