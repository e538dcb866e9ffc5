"""NH2ST: the network as published, and its contexts (Qu et al. 2025, arXiv 2506.23827)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.attention import CrossEncoder
from napari_nh2st.model.config import Context
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS, MAP_STRIDE, ResNet18Encoder
from napari_nh2st.model.hypergraph import (
    NeighborhoodEncoder,
    convolution_operator,
    incidence_from_similarity,
    masked_mean,
)


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
    """(b, panel). With ``context="average"`` the query's own, which is what is trained there:
    the mean over the neighborhood is taken of a trained network, see :meth:`NH2ST.predict`."""
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

    def hypergraph(self, maps: Tensor, neighborhoods: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolution operator of neighborhoods: maps (n, 512, 7, 7), (b, 9) → (b, 9, 9).

        Hyperedges come from the images alone, and serve the expression side too. Which node is
        most like which has no gradient.
        """
        # Which similarity is larger is a matter of digits that lower precisions do not have.
        with torch.no_grad(), torch.autocast(maps.device.type, enabled=False):
            # Of the distinct tiles once: neighborhoods share most of their pairs.
            unit = functional.normalize(maps.flatten(1).float(), dim=-1)
            similarity = unit @ unit.T
            around = similarity[neighborhoods[:, :, None], neighborhoods[:, None, :]]
            others = self.hyperparameters.hyperedge_others
            return convolution_operator(incidence_from_similarity(around, others, mask))

    def neighbor_features(
        self, maps: Tensor, neighborhoods: Tensor, operator: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Image side of the neighbor branch: maps (n, 512, 7, 7), (b, 9) → (b, dim)."""
        # In (d, h, w) order, unlike the query's.
        return _around(self.neighbor_image_encoder, maps.flatten(1), neighborhoods, operator, mask)

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
        operator = self.hypergraph(maps, neighborhoods, mask)
        neighbor = self.neighbor_features(maps, neighborhoods, operator, mask)
        return self.decoder(torch.cat([query, neighbor], dim=-1))

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
        return self.outputs(self.encode(tiles), expression, neighborhoods, mask)

    def outputs(
        self,
        maps: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
    ) -> NH2STOutputs:
        """:meth:`forward` from feature maps (n, 512, 7, 7) that are there already."""
        queries = neighborhoods[:, 0]
        encoded = self.expression_encoder(expression)
        each = self.query_features(maps)
        query_image, query_expression = self.cross_encoder(each[queries], encoded[queries])
        operator = self.hypergraph(maps, neighborhoods, mask)
        neighbor = self.neighbor_features(maps, neighborhoods, operator, mask)
        neighbor_image, neighbor_expression = self.cross_encoder(
            neighbor,
            _around(self.neighbor_expression_encoder, encoded, neighborhoods, operator, mask),
        )
        seen = each[queries]
        if self.hyperparameters.context == "neighborhood":
            seen = torch.cat([seen, neighbor], dim=-1)
        prediction = self.decoder(seen)
        return NH2STOutputs(
            prediction, query_image, query_expression, neighbor_image, neighbor_expression
        )


def _around(
    encoder: NeighborhoodEncoder,
    nodes: Tensor,
    neighborhoods: Tensor,
    operator: Tensor,
    mask: Tensor | None,
) -> Tensor:
    """Encode neighborhoods, applying the first linear map once per tile: (n, d) → (b, dim)."""
    projected = encoder.conv1.lin(nodes)
    return encoder.from_projected(projected[neighborhoods], operator.to(projected.dtype), mask)
