"""Boundary guides: where a tile's hematoxylin lies, and where it changes."""

from dataclasses import replace

import torch
from skimage.color import hed_from_rgb
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.encoders.base import Encoder
from napari_nh2st.slide.optical_density import optical_density

GRID = 32
"""Hematoxylin is looked at on so many fields along a side of a tile."""

WINDOWS = (1, 3, 7, 13)
"""Fields that hematoxylin is averaged over, along a side, before its steps are taken: outlines of
nuclei first, those of tissue parts last (in a tile of 150 µm, over 5 to 60 µm)."""

N_GUIDES = 1 + len(WINDOWS)
"""Channels of :func:`boundary_guides`."""

_FORMAT = 1
"""Raised when the same tile gives other guides than before."""

_HALF_STEP = 0.1
"""A step of this length counts half as much as the largest: there is a boundary, or none."""

_GAIN = 8.0
"""Gives guides of tissue a spread of about 1, so that the ridge regression that they share with
hundreds of features of an encoder does not shrink them away."""


def hematoxylin(tiles: Tensor) -> Tensor:
    """Amount of hematoxylin in each pixel, 0 or more (Ruifrok & Johnston 2001).

    Parameters
    ----------
    tiles
        (..., 3) RGB in 0–255, uint8 or float.

    Returns
    -------
    Tensor
        (...) float32 in units of the stain vectors of scikit-image, where the optical density is a
        natural logarithm.
    """
    density = optical_density(tiles)
    red, green, blue = (float(weight) for weight in hed_from_rgb[:, 0])
    # Channel by channel, not as a product of matrices: that rounds by the number of tiles.
    amount = density[..., 0] * red + density[..., 1] * green + density[..., 2] * blue
    return amount.clamp_(min=0)


@torch.no_grad()
def boundary_guides(tiles: Tensor, side: int) -> Tensor:
    """Guides of tiles, as maps beside those of an encoder.

    The first is the mean hematoxylin of a position, the others how much of it lies at a boundary,
    from 0 to 1, from fine ones to coarse. A tile's guides depend on nothing but the tile.

    Parameters
    ----------
    tiles
        (n, t, t, 3) RGB in 0–255, uint8 or float.
    side
        Positions along a side of the maps.

    Returns
    -------
    Tensor
        (n, 5, side, side) float32.
    """
    fields = functional.adaptive_avg_pool2d(hematoxylin(tiles)[:, None], GRID)
    maps = [fields]
    for window in WINDOWS:
        smooth = _averaged(_averaged(fields, window), window)
        down, across = torch.gradient(smooth, dim=(2, 3))
        # Averages over more fields differ less from field to field.
        steps = (down.square() + across.square()).sqrt() * window
        maps.append(steps / (steps + _HALF_STEP))
    return _GAIN * functional.adaptive_avg_pool2d(torch.cat(maps, dim=1), side)


def _averaged(fields: Tensor, window: int) -> Tensor:
    """Mean over windows of fields; beyond the tile, its edge goes on."""
    margin = window // 2
    padded = functional.pad(fields, (margin,) * 4, mode="replicate")
    return functional.avg_pool2d(functional.avg_pool2d(padded, (window, 1), 1), (1, window), 1)


class GuidedEncoder(Encoder):
    """An encoder with the guides of a tile as further channels of its maps.

    Shapes: (n, 3, t, t) normalized → (n, d + 5, h, h). Maps between two stages carry the guides
    with them.

    Parameters
    ----------
    encoder
        Gives the first d channels.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.spec = replace(encoder.spec, n_features=encoder.spec.n_features + N_GUIDES)

    @property
    def key(self) -> dict[str, object]:
        """What the guides depend on beside the encoder."""
        return {"guides": [_FORMAT, GRID, *WINDOWS, _HALF_STEP, _GAIN]}

    @property
    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Those of the encoder."""
        return self.encoder.stages

    def forward(self, tiles: Tensor) -> Tensor:
        return self.through(tiles, 0, len(self.stages))

    def through(self, x: Tensor, first: int, stop: int) -> Tensor:
        """Run the stages from ``first`` up to but without ``stop``."""
        if first == stop:
            return x
        if first == 0:
            maps = self.encoder.through(x, first, stop)
            guides = boundary_guides(self._pixels(x), maps.shape[-1])
        else:
            maps = self.encoder.through(x[:, :-N_GUIDES], first, stop)
            guides = functional.adaptive_avg_pool2d(x[:, -N_GUIDES:], maps.shape[-1])
        return torch.cat([maps, guides.to(maps.dtype)], dim=1)

    def _pixels(self, tiles: Tensor) -> Tensor:
        """What :func:`~napari_nh2st.model.encoders.normalize_tiles` got: (n, t, t, 3), 0–255."""
        mean, std = (tiles.new_tensor(each) for each in (self.spec.mean, self.spec.std))
        return ((tiles.detach().permute(0, 2, 3, 1) * std + mean) * 255).clamp_(0, 255)
