"""Density of nuclei in tiles, counted while they are encoded."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.guides import hematoxylin

_COUNTED_AT_MPP = 2.0
"""Finer tiles are averaged to about this: a nucleus has some 3 px, and its texture is gone."""

_CONTRAST = 0.1
"""Hematoxylin that a nucleus has more than the mean of its tile."""

_STEP = 1e-6
"""Hematoxylin that a position is given more than the one before it, far less than light has steps:
of neighbors that are alike, one is the higher."""

_TILES_A_PASS = 256


@torch.no_grad()
def nuclei_per_mm2(tiles: Tensor, mpp: float) -> Tensor:
    """Estimate the density of nuclei: local maxima of hematoxylin above the mean of the tile.

    Nuclei that touch count as one, so that dense tissue has somewhat more than this says. What a
    tile has depends on nothing but the tile.

    Parameters
    ----------
    tiles
        (n, t, t, 3) RGB in 0–255, uint8 or float.
    mpp
        Their µm/px, see :mod:`napari_nh2st.inference.nuclei_limit`.

    Returns
    -------
    Tensor
        (n,) float32, nuclei per mm².
    """
    factor = max(1, round(_COUNTED_AT_MPP / mpp))
    light = tiles.to(torch.float32)
    if factor > 1:
        light = functional.avg_pool2d(light.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)
    amount = hematoxylin(light)[:, None]
    if factor > 1:
        # Averages of pixels stop short at their edges, through the middle of a nucleus.
        amount = _smoothed(_smoothed(amount, (0, 1)), (1, 0))
    # Of a part that is all alike, such as black beyond a scan, one position is the highest.
    height, width = amount.shape[2:]
    place = torch.arange(height * width, device=amount.device).reshape(height, width)
    ranked = amount + _STEP * place
    # A maximum at the edge may belong to the tile beside: both take it, or neither does.
    highest = functional.max_pool2d(ranked, 3, 1, 1)
    least = amount.mean((2, 3), keepdim=True) + _CONTRAST
    count = ((ranked == highest) & (amount > least)).sum((1, 2, 3))
    side_mm = amount.shape[-1] * factor * mpp / 1000
    return count.to(torch.float32) / side_mm**2


def _smoothed(maps: Tensor, along: tuple[int, int]) -> Tensor:
    """Weights 1-2-1 along rows or columns; beyond the tile, its edge goes on."""
    down, across = along
    padded = functional.pad(maps, (across, across, down, down), mode="replicate")
    ends = padded[..., : maps.shape[2], : maps.shape[3]] + padded[..., 2 * down :, 2 * across :]
    return ends / 4 + maps / 2


def nuclei_of_tiles(tiles: NDArray[np.uint8], mpp: float) -> NDArray[np.float32]:
    """:func:`nuclei_per_mm2` of tiles in memory, (n, t, t, 3) uint8."""
    parts = torch.from_numpy(tiles).split(_TILES_A_PASS)
    return torch.cat([nuclei_per_mm2(part, mpp) for part in parts]).numpy()


class WithNuclei:
    """A predictor whose rows end with the density of nuclei.

    Parameters
    ----------
    predictor
        Of any reach.
    mpp
        µm/px of its tiles.
    """

    def __init__(self, predictor: Predictor, mpp: float) -> None:
        self._predictor, self._mpp = predictor, mpp
        self.reach: Reach = predictor.reach

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        rows = self._predictor.encode(tiles)
        density = nuclei_per_mm2(tiles, self._mpp)[:, None]
        if self.reach == "neighborhood":
            return (*rows, density)
        # Of a whole slide, rows are kept in half precision, whose largest number is 65,504.
        return tuple(torch.cat([each, density], dim=1) for each in rows)

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        *rows, density = gathered
        predicted = self._predictor.combine(tuple(rows), mask, *offsets)
        return torch.cat([predicted, density[:, 0]], dim=1)

    @torch.inference_mode()
    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        predicted = self._predictor.combine_slide(rows[:, :-1], centers)
        return torch.cat([predicted, rows[:, -1:].float()], dim=1)
