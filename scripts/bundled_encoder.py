"""Training of the bundled model's image encoder, without labels.

Tiles from all over some sections, in the reference stain; each is described by simple measures of
stain and texture, which the encoder learns to tell from the tile as other scanners and
laboratories might show it: larger or smaller, paler or darker, blurred, noisy.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import hed_from_rgb
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from napari_nh2st.analysis.stain_normalization import REFERENCE, normalization, slide_stain_colors
from napari_nh2st.model.encoders import ResNet18Encoder, normalize_tiles
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.slide import open_slide
from napari_nh2st.tiles import find_tissue, tile_grid
from napari_nh2st.training import AugmentationSettings, MeasuredSection
from napari_nh2st.training.augmentation import augment, draw
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint
from napari_nh2st.training.optimization import learning_rate_factor
from napari_nh2st.training.slide_tiles import read_tiles

TILE_PX, MPP = 64, 4.8


@dataclass(frozen=True)
class EncoderRecipe:
    """How the image encoder is trained without labels.

    A tile's place is moved by up to ``shift_px``; what the encoder sees of it is larger or smaller
    by up to ``scale``, in other stain, and blurred and noisy as slides are. What it has to say is
    of the tile as it is.
    """

    pitch_um: float = 50.0
    shift_px: float = 5.0
    scale: float = 0.12
    stain_jitter: float = 0.15
    blur_px: float = 1.2
    noise: float = 10.0
    steps: int = 338
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.1
    averaging: float = 0.99
    seed: int = 0


class DescriptorNetwork(nn.Module):
    """The encoder, pooled, and a linear map to the descriptors."""

    def __init__(self, descriptors: int) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder()
        self.head = nn.Linear(MAP_CHANNELS, descriptors)

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, 3, tile, tile) normalized → (n, descriptors)."""
        return self.head(self.encoder(tiles).float().mean((2, 3)))


def tile_descriptors(tiles: Tensor) -> Tensor:
    """Stain and texture of tiles: (n, side, side, 3) in 0–255 → (n, descriptors).

    Mean, spread and percentiles of red, green, blue and of the three stains; spread and contrast
    of haematoxylin and spread of brightness over blocks of 1, 2, 4, ... pixels; share of glass.
    """
    colors = tiles.float() / 255
    to_stains = torch.from_numpy(hed_from_rgb).to(colors)
    stains = (colors.clamp(min=1e-6).log() / math.log(1e-6) @ to_stains).clamp(min=0)
    n, side = tiles.shape[:2]
    ranks = torch.tensor((0.05, 0.25, 0.5, 0.75, 0.95)).mul(side * side - 1).round().long()
    parts = []
    for image in (colors, stains):
        pixels = image.reshape(n, -1, 3)
        parts += [pixels.mean(1), pixels.std(1, correction=0)]
        parts += pixels.sort(1).values[:, ranks.to(tiles.device)].unbind(1)
    block = 1
    while side // block >= 4:
        k = side // block
        for image, contrast in ((stains[..., 0], True), (colors.mean(-1), False)):
            blocks = image.reshape(n, k, block, k, block).mean((2, 4))
            parts.append(blocks.std((1, 2), correction=0)[:, None])
            if contrast:
                steps = (blocks.diff(dim=axis).abs().mean((1, 2)) for axis in (1, 2))
                parts.append(sum(steps)[:, None])
        block *= 2
    parts.append((colors.amin(-1) > 0.85).float().mean((1, 2))[:, None])
    return torch.cat(parts, 1)


class DescriptorTargets:
    """Targets of the encoder: descriptors standardized in each section, and their components.

    Descriptors go up and down together; principal components brought to the same spread make
    the encoder learn the finer differences too.
    """

    def __init__(self, by_section: list[Tensor]) -> None:
        self.mean = torch.stack([d.mean(0) for d in by_section])
        self.spread = torch.stack([d.std(0) for d in by_section]) + 1e-6
        every = torch.cat([(d - d.mean(0)) / (d.std(0) + 1e-6) for d in by_section]).double()
        _, size, axes = torch.linalg.svd(every - every.mean(0), full_matrices=False)
        kept = size > 0.02 * size[0]
        self.axes = (axes[kept].T / size[kept] * math.sqrt(len(every))).float()
        self.count = every.shape[1] + self.axes.shape[1]

    def __call__(self, tiles: Tensor, section: Tensor) -> Tensor:
        """(n, side, side, 3) and the number of each one's section → (n, count)."""
        standard = (tile_descriptors(tiles) - self.mean[section]) / self.spread[section]
        return torch.cat([standard, standard @ self.axes], 1).clamp(-5, 5)


def cropped(tiles: Tensor, shift_px: Tensor, scale: Tensor) -> Tensor:
    """Middles of wider tiles, moved and scaled.

    Parameters
    ----------
    tiles
        (n, wide, wide, 3)
    shift_px
        (n, 2), of the place in (x, y).
    scale
        (n,), 2 for twice the µm/px.

    Returns
    -------
    Tensor
        (n, tile, tile, 3) float32.
    """
    n, wide = tiles.shape[:2]
    matrix = torch.zeros((n, 2, 3), device=tiles.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * TILE_PX / wide
    matrix[:, :, 2] = shift_px * 2 / wide
    grid = functional.affine_grid(matrix, [n, 3, TILE_PX, TILE_PX], align_corners=False)
    images = tiles.permute(0, 3, 1, 2).float()
    return functional.grid_sample(images, grid, align_corners=False).permute(0, 2, 3, 1)


def blurred(tiles: Tensor, sigma_px: float) -> Tensor:
    """(n, side, side, 3) through a Gaussian filter."""
    radius = math.ceil(3 * sigma_px)
    at = torch.arange(-radius, radius + 1, device=tiles.device)
    kernel = torch.exp(-((at / sigma_px) ** 2) / 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    images = functional.pad(tiles.permute(0, 3, 1, 2), (radius,) * 4, mode="replicate")
    images = functional.conv2d(images, kernel, groups=3)
    return functional.conv2d(images, kernel.mT, groups=3).permute(0, 2, 3, 1)


def disturbed(tiles: Tensor, recipe: EncoderRecipe, generator: torch.Generator) -> Tensor:
    """Other sides, stain, sharpness and noise of tiles (n, side, side, 3)."""
    n, device = len(tiles), tiles.device
    looks = draw(AugmentationSettings(stain_jitter=recipe.stain_jitter), n, generator)
    gain = torch.exp(recipe.stain_jitter * (2 * torch.rand((n, 1, 1), generator=generator) - 1))
    tiles = augment(tiles, replace(looks, stain=looks.stain * gain).to(device))
    parts = list(tiles.chunk(8))
    sigmas = torch.rand(4, generator=generator) * recipe.blur_px
    for number, sigma in enumerate(sigmas.clamp(min=0.2).tolist()):  # the other half stays sharp
        parts[number] = blurred(parts[number], sigma)
    amount = recipe.noise * torch.rand((n, 1, 1, 1), generator=generator).to(device)
    tiles = torch.cat(parts)
    return (tiles + amount * torch.randn_like(tiles)).clamp(0, 255)


def wide_tiles(sections: Sequence[MeasuredSection], pitch_um: float) -> list[NDArray[np.uint8]]:
    """Tiles of half as much again on each side, all over each section, in the reference stain."""
    cut = []
    for section in sections:
        with open_slide(section.section.slide, mpp=section.mpp) as slide:
            tissue = find_tissue(slide)
            grid = tile_grid(slide, tile_um=TILE_PX * MPP / 2, pitch_um=pitch_um, mask=tissue)
            stain = normalization(slide_stain_colors(slide, tissue), REFERENCE)
        tiles, _ = read_tiles(
            section.section.slide,
            section.mpp,
            grid.centers,
            tile_px=TILE_PX * 3 // 2,
            mpp=MPP,
            stain=stain,
        )
        cut.append(tiles)
    return cut


def train_encoder(
    sections: Sequence[MeasuredSection], work: Path, recipe: EncoderRecipe, device: torch.device
) -> None:
    """Train the encoder without labels, into ``work/encoder.pt``."""
    target_file = work / "encoder.pt"
    if target_file.exists():
        return
    cut = wide_tiles(sections, recipe.pitch_um)
    tiles = torch.from_numpy(np.concatenate(cut))
    section = torch.repeat_interleave(torch.arange(len(cut)), torch.tensor([len(c) for c in cut]))
    margin = slice(TILE_PX // 4, -TILE_PX // 4)
    known = [
        torch.cat(
            [tile_descriptors(part[:, margin, margin]) for part in torch.from_numpy(c).split(256)]
        )
        for c in cut
    ]
    targets = DescriptorTargets([d.to(device) for d in known])
    print(f"{len(tiles)} tiles, {targets.count} descriptors and components", flush=True)
    torch.manual_seed(recipe.seed)
    network = DescriptorNetwork(targets.count)
    network.to(device, memory_format=torch.channels_last)
    mean = AveragedModel(
        network,
        avg_fn=lambda old, new, n: (
            torch.lerp(new, old, min(recipe.averaging, (1 + int(n)) / (10 + int(n))))
            if old.is_floating_point()
            else new
        ),
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    kept, first = work / "encoder.checkpoint", 0
    if kept.exists():
        state = read_checkpoint(kept)
        network.load_state_dict(state["network"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    for step in range(first, recipe.steps):
        generator = torch.Generator().manual_seed(1_000_000 * recipe.seed + step)
        for group in optimizer.param_groups:
            done = step / recipe.steps
            group["lr"] = recipe.learning_rate * learning_rate_factor(done, recipe.warm_up)
        n = recipe.batch_size
        rows = torch.randint(len(tiles), (n,), generator=generator)
        wide, of_section = tiles[rows].to(device), section[rows].to(device)
        uniform = (2 * torch.rand((3, n), generator=generator) - 1).to(device)
        shift, scale = recipe.shift_px * uniform[:2].T, torch.exp(recipe.scale * uniform[2])
        target = targets(cropped(wide, shift, torch.ones_like(scale)), of_section)
        seen = disturbed(cropped(wide, shift, scale), recipe, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            predicted = network(normalize_tiles(seen))
        loss = functional.mse_loss(predicted.float(), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        mean.update_parameters(network)
        if (step + 1) % 20 == 0:
            print(f"step {step + 1}: mse {loss.item():.4f}", flush=True)
            state = {"network": network.state_dict(), "mean": mean.state_dict()}
            write_checkpoint(kept, state | {"optimizer": optimizer.state_dict(), "step": step + 1})
    write_checkpoint(target_file, mean.module.encoder.cpu().state_dict())
    kept.unlink(missing_ok=True)
