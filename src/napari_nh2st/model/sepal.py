"""SEPAL architecture: a frozen tile prediction, and a correction from the tiles around.

After Mejia et al., ICCVW 2023 (arXiv 2309.01036): each gene's deviation from its training mean is
predicted from the tile, then a graph over the neighborhood, whose nodes know where they lie,
corrects it. Here the mean is the head's bias, and the last layer of the correction starts at zero.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.hypergraph import masked_mean
from napari_nh2st.model.hyperparameters import AtMost, Below, Hyperparameters
from napari_nh2st.model.pooled import PooledNetwork, pooled, zero_linear
from napari_nh2st.model.prepared import prepare_pooled

WAVELENGTHS_UM = (400.0, 800.0, 1600.0)
"""Of the position code: from two pitches of a Visium array, or four of its spots, to several."""


@dataclass(frozen=True)
class SepalHyperparameters(Hyperparameters):
    """Sizes of the network.

    Parameters
    ----------
    hidden
        Width of the graph's nodes.
    neighbors
        Number of tiles in a neighborhood, without the query.
    dropout
        Dropout on the corrected tile's node.
    """

    hidden: Annotated[int, AtMost(65_536)] = 256
    neighbors: Annotated[int, AtMost(1024)] = 8
    dropout: Annotated[float, Below(1)] = 0.5


class SepalNetwork(PooledNetwork):
    """Tile prediction + correction by one graph convolution from the neighbors to the query.

    A neighbor sends ``elu(Wₙ x + C code(offset))``, the query receives the mean of what is sent:
    ``elu(Wₛ x + U mean)``, and a linear layer from there to the genes starts at zero. The tile
    head is filled by the ridge regression that a training starts from, and stays.
    """

    sees_means_alone = True

    gene_layers = ("tile_head", "correction")
    hyperparameters: SepalHyperparameters

    def __init__(
        self, hyperparameters: SepalHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        p, features = hyperparameters, self.image_encoder.spec.n_features
        self.tile_head.requires_grad_(False)
        self.query = nn.Linear(features, p.hidden)
        self.neighbor = nn.Linear(features, p.hidden)
        self.place = nn.Linear(4 * len(WAVELENGTHS_UM), p.hidden, bias=False)
        self.around = nn.Linear(p.hidden, p.hidden, bias=False)
        self.dropout = nn.Dropout(p.dropout)
        self.correction = zero_linear(p.hidden, p.panel_size)

    @property
    def reach(self) -> Reach:
        return "neighborhood"

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        features = pooled(maps)
        return self.tile_head(features), self.query(features), self.neighbor(features)

    def combine(
        self, gathered: tuple[Tensor, ...], mask: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        predicted, query, neighbor = gathered
        if offsets is None:
            raise ValueError("it needs to know where the neighbors lie: pass their offsets")
        sent = functional.elu(neighbor + self.place(place_code(offsets)))[:, 1:]
        received = masked_mean(sent, mask[:, 1:])
        node = functional.elu(query[:, 0] + self.around(received))
        return predicted[:, 0] + self.correction(self.dropout(node))


def place_code(offsets: Tensor) -> Tensor:
    """Sines and cosines of offsets in µm: (..., 2) → (..., 4 · wavelengths)."""
    waves = offsets.new_tensor([2 * math.pi / length for length in WAVELENGTHS_UM])
    angle = (offsets[..., None] * waves).flatten(-2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


ARCHITECTURE = trainable(
    SepalHyperparameters,
    SepalNetwork,
    prepare_pooled,
    lambda config: ("tile_head.", "query.", "neighbor.", "place.", "around.", "correction."),
    MAP_CHANNELS,
)
