"""Deep-set architecture: a tile as the sum of its parts, its neighborhood as their maximum.

After DeepSpot (Nonchev et al. 2025): one layer encodes the sub-tiles of a tile, which are added up;
of the neighbors the maximum is taken; both together give the prediction. Sub-tiles are here the
positions of the encoder's map. The last layer starts at zero, beside a linear tile head.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.hyperparameters import AtMost, Below, Hyperparameters
from napari_nh2st.model.pooled import PooledNetwork, pooled, zero_linear
from napari_nh2st.model.prepared import prepare_pooled


@dataclass(frozen=True)
class DeepSetHyperparameters(Hyperparameters):
    """Sizes of the network.

    Parameters
    ----------
    hidden
        Width of what a sub-tile is encoded to.
    neighbors
        Number of tiles in a neighborhood, without the query.
    dropout
        On what is encoded of tile and neighborhood.
    """

    hidden: Annotated[int, AtMost(65_536)] = 256
    neighbors: Annotated[int, AtMost(1024)] = 8
    dropout: Annotated[float, Below(1)] = 0.5


class DeepSetNetwork(PooledNetwork):
    """Tile prediction + ρ(sum of the tile's sub-tiles, maximum of the neighbors).

    In which order the neighbors come does not matter.
    """

    gene_layers = ("tile_head", "correction")
    hyperparameters: DeepSetHyperparameters

    def __init__(
        self, hyperparameters: DeepSetHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        p, features = hyperparameters, self.image_encoder.spec.n_features
        self.part = nn.Linear(features, p.hidden)
        self.norm = nn.LayerNorm(p.hidden)
        self.mixed = nn.Linear(2 * p.hidden, p.hidden)
        self.dropout = nn.Dropout(p.dropout)
        self.correction = zero_linear(p.hidden, p.panel_size)

    @property
    def reach(self) -> Reach:
        return "neighborhood"

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        parts = functional.relu(self.part(maps.flatten(2).mT))
        # Sums grow with the number of sub-tiles; what follows is made for one scale.
        return self.tile_head(pooled(maps)), self.norm(parts.sum(1))

    def combine(
        self, gathered: tuple[Tensor, ...], mask: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        predicted, encoded = gathered
        own, neighbors = encoded[:, 0], encoded[:, 1:]
        # A tile that has no neighbor is its own.
        there = neighbors.masked_fill(~mask[:, 1:, None], -torch.inf)
        around = torch.where(mask[:, 1:].any(1)[:, None], there.amax(1), own)
        mixed = functional.relu(self.mixed(torch.cat([own, around], dim=1)))
        return predicted[:, 0] + self.correction(self.dropout(mixed))


ARCHITECTURE = trainable(
    DeepSetHyperparameters,
    DeepSetNetwork,
    prepare_pooled,
    lambda config: ("tile_head.", "part.", "norm.", "mixed.", "correction."),
    MAP_CHANNELS,
)
