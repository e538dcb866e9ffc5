"""NH2ST: the network as published, and its contexts (Qu et al. 2025, arXiv 2506.23827)."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, cat, nn

from napari_nh2st.model.attention import CrossEncoder
from napari_nh2st.model.config import Context
from napari_nh2st.model.hypergraph import (
    NeighborhoodEncoder,
    convolution_operator,
    incidence_matrix,
    masked_mean,
)
from napari_nh2st.model.resnet import MAP_CHANNELS, MAP_STRIDE, ResNet18Encoder


@dataclass(frozen=True)
class NH2STHyperparameters:
    """What fixes the shapes and the wiring of the network; defaults as published.

    Parameters
    ----------
    panel_size
        Number of genes.
    context
        What a prediction sees: ``"query"`` the tile alone (published), ``"average"`` the mean of
        the neighborhood's query predictions, ``"neighborhood"`` the image side of the neighbor
        branch beside the query.
    tile_px
        Side of a tile in pixels, a multiple of 32.
    dim, depth, heads, mlp_ratio, dropout
        Width of both branches; layers, heads, feed-forward ratio and dropout of the
        cross-attention.
    hidden
        Width between the two linear layers of the prediction head.
    hypergraph_hidden
        Width between the two hypergraph convolutions.
    neighbors
        Tiles beside the query in a neighborhood.
    hyperedge_others
        Nodes that a hyperedge holds beside its own.
    """

    panel_size: int
    context: Context = "query"
    tile_px: int = 224
    dim: int = 512
    depth: int = 1
    heads: int = 8
    mlp_ratio: float = 1.0
    dropout: float = 0.5
    hidden: int = 256
    hypergraph_hidden: int = 1024
    neighbors: int = 8
    hyperedge_others: int = 3

    @property
    def map_features(self) -> int:
        """Length of a tile's flattened feature map: 512 × 7 × 7 as published."""
        return MAP_CHANNELS * (self.tile_px // MAP_STRIDE) ** 2


class NH2STOutputs(NamedTuple):
    """Everything a training step compares, for b queries."""

    prediction: Tensor
    """(b, panel)"""
    query_image: Tensor
    """(b, dim)"""
    query_expression: Tensor
    """(b, dim)"""
    neighbor_image: Tensor
    """(b, dim)"""
    neighbor_expression: Tensor
    """(b, dim)"""


class NH2ST(nn.Module):
    """The NH2ST network.

    Tiles are encoded once, whoever's neighborhood they are in: :meth:`forward` takes the distinct
    tiles of a batch and the neighborhoods as indices into them. Prediction needs images only;
    measured expression shapes the training alone, through the contrastive losses.
    """

    def __init__(self, hyperparameters: NH2STHyperparameters) -> None:
        super().__init__()
        p = self.hyperparameters = hyperparameters
        self.image_encoder = ResNet18Encoder()
        self.expression_encoder = nn.Sequential(
            nn.Linear(p.panel_size, p.dim), nn.Linear(p.dim, p.dim)
        )
        self.query_head = nn.Linear(p.map_features, p.dim)
        self.neighbor_image_encoder = NeighborhoodEncoder(
            p.map_features, p.hypergraph_hidden, p.dim
        )
        self.neighbor_expression_encoder = NeighborhoodEncoder(p.dim, p.hypergraph_hidden, p.dim)
        self.cross_encoder = CrossEncoder(p.dim, p.depth, p.heads, p.mlp_ratio, p.dropout)
        decoder_in = 2 * p.dim if p.context == "neighborhood" else p.dim
        self.decoder = nn.Sequential(
            nn.Linear(decoder_in, p.hidden), nn.Linear(p.hidden, p.panel_size)
        )

    def encode(self, tiles: Tensor) -> Tensor:
        """Feature maps of tiles: (n, 3, tile, tile) normalized → (n, 512, 7, 7)."""
        return self.image_encoder(tiles)

    def query_features(self, maps: Tensor) -> Tensor:
        """Image side of the query branch: (b, 512, 7, 7) → (b, dim)."""
        # The released weights take the query's map in (h, w, d) order.
        return self.query_head(maps.permute(0, 2, 3, 1).flatten(1))

    def hypergraph(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolution operator of neighborhoods: maps (b, 9, 512, 7, 7) → (b, 9, 9).

        Hyperedges come from the images alone, and serve the expression side too.
        """
        incidence = incidence_matrix(maps.flatten(2), self.hyperparameters.hyperedge_others, mask)
        return convolution_operator(incidence).to(maps.dtype)

    def neighbor_features(
        self, maps: Tensor, operator: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Image side of the neighbor branch: (b, 9, 512, 7, 7) → (b, dim)."""
        # In (d, h, w) order, unlike the query's.
        return self.neighbor_image_encoder(maps.flatten(2), operator, mask)

    def predict(
        self, maps: Tensor, neighborhoods: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Predicted expression from feature maps, images only.

        Parameters
        ----------
        maps
            (n, 512, 7, 7), maps of the distinct tiles.
        neighborhoods
            (b, 9) indices into ``maps``, the query itself first. Not needed, and not looked at,
            where the context is ``"query"``; without it every map is a query.
        mask
            (b, 9) bool, False where a neighborhood has no more tiles; None for all True.

        Returns
        -------
        Tensor
            (b, panel) in the units of the model's target.

        Raises
        ------
        ValueError
            Where the context needs neighborhoods and none came.
        """
        context = self.hyperparameters.context
        if context == "query":
            queries = maps if neighborhoods is None else maps[neighborhoods[:, 0]]
            return self.decoder(self.query_features(queries))
        if neighborhoods is None:
            raise ValueError(f"context {context!r} predicts from neighborhoods: pass their indices")
        if context == "average":
            each = self.decoder(self.query_features(maps))
            return masked_mean(each[neighborhoods], mask)
        query = self.query_features(maps[neighborhoods[:, 0]])
        around = maps[neighborhoods]
        neighbor = self.neighbor_features(around, self.hypergraph(around, mask), mask)
        return self.decoder(cat([query, neighbor], dim=-1))

    def forward(
        self,
        tiles: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
    ) -> NH2STOutputs:
        """All outputs of a training step.

        Parameters
        ----------
        tiles
            (n, 3, tile, tile) normalized, each distinct tile once.
        expression
            (n, panel), the target of each tile.
        neighborhoods
            (b, 9) indices into both, the query itself first.
        mask
            (b, 9) bool, or None for all True.
        """
        maps = self.encode(tiles)
        encoded = self.expression_encoder(expression)
        query_image, query_expression = self.cross_encoder(
            self.query_features(maps[neighborhoods[:, 0]]), encoded[neighborhoods[:, 0]]
        )
        around = maps[neighborhoods]
        operator = self.hypergraph(around, mask)
        neighbor_image, neighbor_expression = self.cross_encoder(
            self.neighbor_features(around, operator, mask),
            self.neighbor_expression_encoder(encoded[neighborhoods], operator, mask),
        )
        return NH2STOutputs(
            self.predict(maps, neighborhoods, mask),
            query_image,
            query_expression,
            neighbor_image,
            neighbor_expression,
        )
