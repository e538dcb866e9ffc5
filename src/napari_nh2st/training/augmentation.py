"""Augmentation: flips, quarter turns and stain jitter."""

from dataclasses import dataclass

import torch
from skimage.color import hed_from_rgb, rgb_from_hed
from torch import Tensor

from napari_nh2st.slide.optical_density import optical_density, transmitted_light
from napari_nh2st.training.augmentation_settings import AugmentationSettings

_LOG_AMOUNTS = (1.1, 1.1, 0.6)
"""Largest logarithm of the factors on hematoxylin, eosin and the residual: 3, 3 and 1.8."""

_TURN = 0.15
"""Standard deviation of what is added to a stain's optical density, of length 1, in each color."""

_LEAST_DENSITY = 0.02


@dataclass(frozen=True)
class AugmentationDraw:
    """One look for each of n images, or of n neighborhoods.

    Parameters
    ----------
    turns
        (n,) int64, 0 to 3 turns by 90°.
    flipped
        (n,) bool, mirrored left to right after the turn.
    stain, shift
        (n, 3, 3) and (n, 3): optical densities become ``density @ stain + shift``.
    """

    turns: Tensor
    flipped: Tensor
    stain: Tensor
    shift: Tensor

    def __getitem__(self, index: Tensor) -> "AugmentationDraw":
        """The looks of some of the images, each as often as it is in the index."""
        return AugmentationDraw(
            self.turns[index], self.flipped[index], self.stain[index], self.shift[index]
        )

    def to(self, device: torch.device) -> "AugmentationDraw":
        """Move the draw to a device."""
        return AugmentationDraw(
            *(t.to(device) for t in (self.turns, self.flipped, self.stain, self.shift))
        )


def draw(settings: AugmentationSettings, n: int, generator: torch.Generator) -> AugmentationDraw:
    """Draw n looks, on the CPU, from nothing but the generator."""
    turns = torch.randint(4 if settings.quarter_turns else 1, (n,), generator=generator)
    flipped = torch.randint(2 if settings.flips else 1, (n,), generator=generator).bool()
    uniform = 2 * torch.rand((2, n, 3), generator=generator) - 1
    factor = 1 + settings.stain_jitter * uniform[0]
    to_stains = torch.from_numpy(hed_from_rgb).float()
    to_density = torch.from_numpy(rgb_from_hed).float()
    shift = (settings.stain_jitter / 5 * uniform[1]) @ to_density
    if settings.stain_colors > 0:
        amounts, to_density = _other_stains(settings.stain_colors, n, generator)
        factor = factor * amounts
    stain = (to_stains * factor[:, None, :]) @ to_density
    return AugmentationDraw(turns, flipped, stain, shift)


def _other_stains(strength: float, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Amounts (n, 3) of the three stains as a factor, and their optical densities (n, 3, 3)."""
    uniform = 2 * torch.rand((n, 3), generator=generator) - 1
    amounts = torch.exp(strength * uniform * torch.tensor(_LOG_AMOUNTS))
    own = torch.from_numpy(rgb_from_hed).float()
    turned = own + strength * _TURN * torch.randn((n, 3, 3), generator=generator)
    turned = turned.clamp(min=_LEAST_DENSITY)  # no stain shines
    size = own.norm(dim=1, keepdim=True) / turned.norm(dim=2, keepdim=True)
    return amounts, turned * size


def augment(tiles: Tensor, looks: AugmentationDraw) -> Tensor:
    """Give each tile its look.

    Parameters
    ----------
    tiles
        (n, side, side, 3), RGB in 0–255, uint8 or float.
    looks
        n of them, on the same device.

    Returns
    -------
    Tensor
        (n, side, side, 3) float32 in 0–255.
    """
    n, height, width, _ = tiles.shape
    density = optical_density(tiles).reshape(n, height * width, 3)
    density = torch.baddbmm(looks.shift[:, None, :], density, looks.stain)
    light = transmitted_light(density).reshape(n, height, width, 3)
    # One group a look: eight rotations of blocks, where rolling each tile would be n of them.
    result = torch.empty_like(light)
    for turns in range(4):
        for flipped in (False, True):
            chosen = ((looks.turns == turns) & (looks.flipped == flipped)).nonzero()[:, 0]
            if len(chosen):
                turned = torch.rot90(light[chosen], turns, (1, 2))
                result[chosen] = turned.flip(2) if flipped else turned
    return result


def turned_offsets(offsets: Tensor, turns: Tensor, flipped: Tensor) -> Tensor:
    """Where neighbors lie in a picture that is turned and mirrored as :func:`augment` does it.

    Parameters
    ----------
    offsets
        (b, k, 2), (y, x) relative to the query.
    turns, flipped
        (b,) of each query's look.
    """
    y, x = offsets.unbind(-1)
    turns = turns[:, None]
    across = torch.where(turns % 2 == 0, y, -x), torch.where(turns % 2 == 0, x, y)
    sign = torch.where(turns < 2, 1, -1)
    mirror = torch.where(flipped[:, None], -1, 1)
    return torch.stack([sign * across[0], sign * mirror * across[1]], dim=-1)
