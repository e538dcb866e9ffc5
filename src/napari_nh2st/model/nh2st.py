"""NH2ST: the network as published, and its contexts (Qu et al. 2025, arXiv 2506.23827)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.errors import InputError
from napari_nh2st.model.attention import CrossEncoder
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.config import Context
from napari_nh2st.model.encoders import Encoder, load_encoder
from napari_nh2st.model.hypergraph import (
    NeighborhoodEncoder,
    convolution_operator,
    incidence_from_similarity,
    masked_mean,
)
from napari_nh2st.model.hyperparameters import AtMost, Below, Hyperparameters
from napari_nh2st.model.network import Network, Outputs, RidgeSolution

_WIDEST = 65_536
"""Hidden units of a layer, many times what was published."""

_MARGIN = 2.0
"""Distance of the neighbor branch's ReLUs from their bend, in units of the largest input seen."""


@dataclass(frozen=True)
class NH2STHyperparameters(Hyperparameters):
    """Sizes and connections of the network; defaults as published.

    Parameters
    ----------
    context
        What a prediction sees: ``"query"`` the tile alone (published), ``"average"`` the mean of
        the neighborhood's query predictions, ``"neighborhood"`` the query and the image side of
        the neighbor branch.
    dim, depth, heads, mlp_ratio, dropout
        Width of both branches; layers, heads, feed-forward ratio and dropout of the
        cross-attention.
    hidden
        Width between the two linear layers of the prediction head.
    hypergraph_hidden
        Width between the two hypergraph convolutions.
    neighbors
        Number of tiles in a neighborhood, without the query.
    hyperedge_others
        Number of nodes in a hyperedge, without its own.
    """

    context: Context = "query"
    dim: Annotated[int, AtMost(16_384)] = 512
    depth: Annotated[int, AtMost(64)] = 1
    heads: Annotated[int, AtMost(1024)] = 8
    mlp_ratio: float = 1.0
    dropout: Annotated[float, Below(1)] = 0.5
    hidden: Annotated[int, AtMost(65_536)] = 256
    hypergraph_hidden: Annotated[int, AtMost(65_536)] = 1024
    neighbors: Annotated[int, AtMost(1024)] = 8
    hyperedge_others: Annotated[int, AtMost(1024)] = 3

    def check(self) -> None:
        """Check what has to fit together.

        Raises
        ------
        InputError
            Naming the hyperparameter that does not.
        """
        if self.mlp_ratio * self.dim > _WIDEST:
            raise InputError(
                f"mlp_ratio is {self.mlp_ratio!r}; with dim it can make {_WIDEST:,} at most"
            )
        if self.mlp_ratio * self.dim < 1:
            raise InputError(f"mlp_ratio is {self.mlp_ratio!r}; it must be above 0")
        if self.dim % self.heads:
            raise InputError(f"dim is {self.dim}; it must be a multiple of heads ({self.heads})")


class NH2ST(Network):
    """The NH2ST network.

    Measured expression shapes the training alone, through the contrastive losses.

    Parameters
    ----------
    hyperparameters
        Shapes and wiring.
    encoder
        Tiles to maps; the published one by default.
    """

    hyperparameters: NH2STHyperparameters

    def __init__(
        self, hyperparameters: NH2STHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        p = self.hyperparameters = hyperparameters
        self.image_encoder = encoder or load_encoder(tile_px=p.tile_px)
        spec = self.image_encoder.spec
        map_features = spec.n_features * spec.map_side**2
        self.expression_encoder = nn.Sequential(
            nn.Linear(p.panel_size, p.dim), nn.Linear(p.dim, p.dim)
        )
        self.query_head = nn.Linear(map_features, p.dim)
        self.neighbor_image_encoder = NeighborhoodEncoder(map_features, p.hypergraph_hidden, p.dim)
        self.neighbor_expression_encoder = NeighborhoodEncoder(p.dim, p.hypergraph_hidden, p.dim)
        self.cross_encoder = CrossEncoder(p.dim, p.depth, p.heads, p.mlp_ratio, p.dropout)
        decoder_in = 2 * p.dim if p.context == "neighborhood" else p.dim
        self.decoder = nn.Sequential(
            nn.Linear(decoder_in, p.hidden), nn.Linear(p.hidden, p.panel_size)
        )

    @property
    def reach(self) -> Reach:
        return "tile" if self.hyperparameters.context == "query" else "neighborhood"

    @property
    def tile_head(self) -> nn.Module | None:  # type: ignore[override]
        """None for the context ``"neighborhood"``, whose head needs both branches."""
        if self.hyperparameters.context == "neighborhood":
            return None
        return nn.Sequential(_InPublishedOrder(), self.query_head, *self.decoder)

    @property
    def gene_bias(self) -> Tensor:
        return cast(nn.Linear, self.decoder[-1]).bias

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
        self,
        maps: Tensor,
        neighborhoods: Tensor | None = None,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
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

    def outputs(
        self,
        maps: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Outputs:
        """All outputs of a training step.

        With ``context="average"`` the prediction is the query's own, which is what is trained
        there: the mean over the neighborhood is taken of a trained network, see :meth:`predict`.
        """
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
        return Outputs(
            prediction,
            pairs={
                "query": (query_image, query_expression),
                "neighbor": (neighbor_image, neighbor_expression),
            },
        )

    # --- how a training starts it ---

    def take_over(self, other: Network, here: Tensor, there: Tensor) -> None:
        old, new = other.state_dict(), self.state_dict()
        for name, tensor in new.items():
            if name in ("decoder.1.weight", "decoder.1.bias"):
                tensor[here] = old[name][there]
            elif name == "expression_encoder.0.weight":
                tensor[:, here] = old[name][:, there]
            elif name == "decoder.0.weight" and tensor.shape != old[name].shape:
                # The neighbor branch joins or leaves the prediction: at first it adds nothing.
                width = min(tensor.shape[1], old[name].shape[1])
                tensor.zero_()
                tensor[:, :width] = old[name][:, :width]
            else:
                tensor.copy_(old[name])

    @property
    def ridge_rank(self) -> int:
        p = self.hyperparameters
        widths = [p.dim, p.hidden, p.panel_size]
        if p.context == "neighborhood":
            widths.append(p.hypergraph_hidden)
        return min(widths)

    @property
    def ridge_reach(self) -> Reach:
        return "neighborhood" if self.hyperparameters.context == "neighborhood" else "tile"

    def ridge_design(
        self, maps: Tensor, neighborhoods: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """A tile's flattened map (h, w, d), and beside it where the neighbor branch predicts its
        neighborhood's (d, h, w) as two hypergraph convolutions without ReLU mean them.
        """
        if neighborhoods is None or mask is None:
            return (maps.permute(0, 2, 3, 1).flatten(1),)
        operator = self.hypergraph(maps, neighborhoods, mask)
        present = mask.to(maps.dtype)[:, None, :] / mask.sum(1)[:, None, None]
        share = (present @ operator @ operator)[:, 0]
        mixed = torch.einsum("bn,bnd->bd", share, maps.flatten(1)[neighborhoods])
        return maps[neighborhoods[:, 0]].permute(0, 2, 3, 1).flatten(1), mixed

    def start_from_ridge(self, solution: RidgeSolution, maps: Iterable[Tensor]) -> None:
        """Maps → (rank,) → panel; the neighbor branch's ReLUs are kept in their linear range."""
        factors, axes = solution.factors, solution.axes
        rank, dim = axes.shape[1], self.hyperparameters.dim
        largest = torch.zeros(0)
        if len(factors) > 1:
            # A convolution takes means over nodes: it makes nothing larger.
            largest = torch.stack([(m.flatten(1) @ factors[1].T).abs().amax(0) for m in maps])
            largest = largest.amax(0)
        first, last = cast(tuple[nn.Linear, nn.Linear], tuple(self.decoder))
        self.query_head.weight[:rank] = factors[0].to(self.query_head.weight)
        self.query_head.bias[:rank] = 0
        units = torch.arange(rank)
        first.weight.zero_()
        first.bias.zero_()
        first.weight[units, units] = 1
        last.weight.zero_()
        last.weight[:, :rank] = axes.to(last.weight)
        last.bias.copy_(solution.constant)
        if len(factors) == 1:
            return
        encoder = self.neighbor_image_encoder
        shift = (_MARGIN * largest).to(encoder.conv1.bias)
        encoder.conv1.lin.weight[:rank] = factors[1].to(encoder.conv1.lin.weight)
        # Rows of the operator add up to 1, so the shift comes through both convolutions as it is.
        encoder.conv1.bias[:rank] = shift
        encoder.conv2.lin.weight[:rank] = 0
        encoder.conv2.lin.weight[units, units] = 1
        encoder.conv2.bias[:rank] = 0
        first.weight[units, dim + units] = 1
        first.bias[:rank] = -shift.to(first.bias)

    def in_context(self, context: str) -> "NH2ST":
        """Between ``"query"`` and ``"average"``, which train the same weights."""
        own = self.hyperparameters.context
        if "neighborhood" in (own, context) and own != context:
            raise ValueError(f"context {own}; its weights cannot serve {context}")
        p = replace(self.hyperparameters, context=cast(Context, context))
        other = NH2ST(p, self.image_encoder).eval()
        other.load_state_dict(self.state_dict())
        return other


class _InPublishedOrder(nn.Module):
    """Maps (n, d, h, w) flattened as the query branch takes them, in (h, w, d) order."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


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
