"""MERGE architecture: a tile prediction, corrected by attention over a graph of the whole slide.

After Ganguly et al., CVPR 2025 (arXiv 2412.02601): see
:mod:`~napari_nh2st.model.slide_graph` for the graph. Ours is that the attention corrects a linear
tile head, by a last layer that starts at zero, where published it predicts by itself; that layers
are narrow, for CPUs; and that LayerNorm is over each node, so that a prediction does not depend on
how many others the slide has.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.errors import InputError
from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.graph_attention import GraphAttention
from napari_nh2st.model.hyperparameters import AtMost, Below, Hyperparameters
from napari_nh2st.model.pooled import PooledNetwork, pooled, zero_linear
from napari_nh2st.model.prepared import prepare_pooled
from napari_nh2st.model.slide_graph import slide_graph


@dataclass(frozen=True)
class MergeHyperparameters(Hyperparameters):
    """Sizes of the network.

    Parameters
    ----------
    hidden
        Width of the graph's nodes; published: 3,584, 3,072 and 2,048.
    heads
        Heads of the attention; published: 8.
    depth
        Layers of attention: three reach over the slide, from a tile by two centers to another.
    neighbors
        Largest number of tiles joined with a tile.
    dropout
        Share of the edges that a training step leaves out.
    """

    hidden: Annotated[int, AtMost(65_536)] = 256
    heads: Annotated[int, AtMost(1024)] = 4
    depth: Annotated[int, AtMost(64)] = 3
    neighbors: Annotated[int, AtMost(1024)] = 8
    dropout: Annotated[float, Below(1)] = 0.2

    def check(self) -> None:
        """Check what has to fit together."""
        if self.hidden % self.heads:
            raise InputError(f"hidden is {self.hidden}, which {self.heads} heads cannot share")


class MergeNetwork(PooledNetwork):
    """Tile prediction + a correction by graph attention over all tiles of the slide.

    Each layer is attention, ReLU and LayerNorm. The tile head is filled by the ridge regression
    that a training starts from, and stays.
    """

    sees_means_alone = True
    sees_rows_alike = True
    gene_layers = ("tile_head", "correction")
    hyperparameters: MergeHyperparameters

    def __init__(
        self, hyperparameters: MergeHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        p = hyperparameters
        self.tile_head.requires_grad_(False)
        widths = [self.image_encoder.spec.n_features, *[p.hidden] * p.depth]
        self.attention = nn.ModuleList(
            GraphAttention(inputs, p.hidden // p.heads, p.heads, p.dropout)
            for inputs in widths[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(p.hidden) for _ in range(p.depth))
        self.correction = zero_linear(p.hidden, p.panel_size)

    @property
    def reach(self) -> Reach:
        return "slide"

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        features = pooled(maps)
        return features, self.tile_head(features)

    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        features, positions = (each.detach().float().cpu().numpy() for each in (rows, centers))
        graph = slide_graph(features, positions, self.hyperparameters.neighbors).to(rows.device)
        nodes = rows
        for attention, norm in zip(self.attention, self.norms, strict=True):
            nodes = norm(functional.relu(attention(nodes, graph)))
        return self.tile_head(rows) + self.correction(nodes)


ARCHITECTURE = trainable(
    MergeHyperparameters,
    MergeNetwork,
    prepare_pooled,
    lambda config: ("tile_head.", "attention.", "norms.", "correction."),
    MAP_CHANNELS,
)
