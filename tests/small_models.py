"""Tiny models: NH2ST with random weights, and one whose prediction is a tile's mean color."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from napari_nh2st.model.architectures import Architecture
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.folder import Model, new_model
from napari_nh2st.model.heads import stacked_heads
from small_configs import small_config


def small_model(context: str = "query", **changed: Any) -> Model:
    """NH2ST with random weights and BatchNorm statistics as after training.

    ``changed`` are fields of the config that do not change the network, which is shared.
    """
    return replace(_small_model(context), config=small_config(context, **changed))


@cache
def _small_model(context: str) -> Model:
    seed = zlib.crc32(context.encode())
    model = new_model(small_config(context), seed)
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in model.network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return model


def model_with_heads(context: str = "query", count: int = 3, **changed: Any) -> Model:
    """A small model with heads drawn anew, and features of a slide of noise around it."""
    model = small_model(context, **changed)
    networks = [new_model(model.config, 100 + seed).network for seed in range(count)]
    generator = torch.Generator().manual_seed(7)
    n = model.architecture.n_features(model.config)
    mean = torch.rand(n, generator=generator)
    whitening = torch.randn(n, n, generator=generator) / 100
    parts = model.architecture.head_parts(model.config)
    return replace(model, heads=stacked_heads(networks, parts, mean, whitening))


class MeanColor:
    """A predictor whose "genes" are the mean red, green and blue of a tile in 0–255.

    ``context="average"`` averages them over the neighborhood.
    """

    encoded = 0
    """Tiles encoded by all predictors of this kind."""

    def __init__(self, context: str, genes: Sequence[int]) -> None:
        self.reach: Reach = "neighborhood" if context == "average" else "tile"
        self._genes = list(genes)

    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        # A short batch is filled up with copies of its last tile.
        type(self).encoded += len(torch.unique(tiles, dim=0))
        return (tiles.float().mean((1, 2))[:, self._genes],)

    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        weights = mask.float()[..., None]
        return (gathered[0] * weights).sum(1) / weights.sum(1)


class _NoNetwork(nn.Module):
    def __init__(self, context: str) -> None:
        super().__init__()
        self.context = context
        self.weight = nn.Parameter(torch.zeros(1))


MEAN_COLOR = Architecture(
    lambda config: _NoNetwork(config.context),
    lambda network, genes, device, dtype, heads: MeanColor(str(network.context), genes),
)


def color_model(context: str = "query", **changed: Any) -> Model:
    """Needs the fixture `mean_color`, which makes its architecture known."""
    fields: dict[str, Any] = {
        "name": "mean color",
        "architecture": "mean-color",
        "panel": ("RED", "GREEN", "BLUE"),
        "hyperparameters": {"context": context},
    }
    return Model(small_config(context, **(fields | changed)), _NoNetwork(context), "a test")
