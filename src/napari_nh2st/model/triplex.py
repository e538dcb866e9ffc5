"""TRIPLEX architecture: branches for a tile and for its neighborhood, fused by attention.

After Chung et al., CVPR 2024 (TRIPLEX), and BG-TRIPLEX (arXiv 2412.04072), whose guides show where
boundaries are. Each branch has a linear head, and learns from the fused prediction as well. Here
all of it corrects the linear head of the tile, and starts at zero; neighbors are tiles of the grid
instead of the pixels around; guides are computed from the tile's hematoxylin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.errors import InputError
from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.attention import CrossAttentionLayer
from napari_nh2st.model.catalogue import Guides, Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.guides import N_GUIDES, GuidedEncoder, boundary_guides
from napari_nh2st.model.hyperparameters import AtMost, Below, Hyperparameters
from napari_nh2st.model.network import Outputs
from napari_nh2st.model.pooled import PooledNetwork, pooled, zero_linear
from napari_nh2st.model.prepared import prepare_pooled
from napari_nh2st.model.sepal import WAVELENGTHS_UM, place_code

TOKEN_SIDE = 3
"""A tile has so many tokens along a side, at most: all tiles of a neighborhood are kept."""


@dataclass(frozen=True)
class TriplexHyperparameters(Hyperparameters):
    """Sizes of the network.

    Narrow, so that a training takes a minute on a CPU; published are a width of 512, up to 5
    layers, and 24 neighbors.

    Parameters
    ----------
    guides
        What the branches see besides the encoder's maps.
    dim
        Width of a branch.
    depth, heads, mlp_ratio
        Layers of the neighbor branch, and heads and feed-forward ratio of all attention.
    neighbors
        Number of tiles in a neighborhood, without the query.
    dropout
        Dropout in the attention, and before each head of a branch.
    """

    guides: Guides = "none"
    dim: Annotated[int, AtMost(16_384)] = 64
    depth: Annotated[int, AtMost(64)] = 1
    heads: Annotated[int, AtMost(1024)] = 4
    mlp_ratio: float = 1.0
    neighbors: Annotated[int, AtMost(1024)] = 8
    dropout: Annotated[float, Below(1)] = 0.5

    def check(self) -> None:
        """Check what has to fit together."""
        if not 1 <= self.mlp_ratio * self.dim <= 65_536:
            raise InputError(f"mlp_ratio is {self.mlp_ratio!r}; with dim it makes no layer")
        if self.dim % self.heads:
            raise InputError(f"dim is {self.dim}; it must be a multiple of heads ({self.heads})")


class TriplexNetwork(PooledNetwork):
    """Tile prediction + correction from a query that attends to the tile and to its neighbors.

    With tokens ``T`` of the tile and ``N = layers(neighbors)`` of its neighborhood, itself first:
    ``f = norm(layer(N₀, T) + layer(N₀, N))``, one layer for both. The prediction is
    ``tile_head(x) + correction(f)``, that of the neighbor branch ``tile_head(x) +
    neighbor_head(mean N)``; both last layers start at zero. The target branch's own is
    ``tile_head(x)``, which the ridge regression that a training starts from fills, and which stays.
    """

    gene_layers: tuple[str, ...] = ("tile_head", "correction", "neighbor_head")
    hyperparameters: TriplexHyperparameters

    def __init__(
        self, hyperparameters: TriplexHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        if hyperparameters.guides == "boundary" and self.image_encoder.spec.takes_features:
            raise InputError(
                "guides is boundary, but guides are computed from the pixels of tiles, which "
                "features that are given do not have; leave guides out"
            )
        p, features = hyperparameters, self.tile_encoder.spec.n_features
        shape = (p.dim, p.heads, p.mlp_ratio, p.dropout)
        self.tile_head.requires_grad_(False)
        self.token = nn.Linear(features, p.dim)
        self.guiding = GuidingLayer(*shape) if p.guides == "boundary" else None
        self.neighbor = nn.Linear(features, p.dim)
        self.place = nn.Linear(2 * len(WAVELENGTHS_UM), p.heads)
        self.layers = nn.ModuleList(CrossAttentionLayer(*shape) for _ in range(p.depth))
        self.fusion = CrossAttentionLayer(*shape)
        self.norm = nn.LayerNorm(p.dim)
        self.dropout = nn.Dropout(p.dropout)
        self.neighbor_head = zero_linear(p.dim, p.panel_size)
        self.correction = zero_linear(p.dim, p.panel_size)

    @property
    def reach(self) -> Reach:
        return "neighborhood"

    @property
    def tile_encoder(self) -> Encoder:
        encoder = self.image_encoder
        return GuidedEncoder(encoder) if self.hyperparameters.guides == "boundary" else encoder

    def guided(self, maps: Tensor, tiles: Tensor) -> Tensor:
        if self.hyperparameters.guides == "none":
            return maps
        return torch.cat([maps, boundary_guides(tiles, maps.shape[-1])], dim=1)

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        features = pooled(maps)
        side = min(TOKEN_SIDE, maps.shape[-1])
        tokens = _in_whole_sixteens(self.token, maps.flatten(2).mT)
        if self.guiding is not None:
            tokens = self.guiding(tokens, maps[:, -N_GUIDES:].flatten(2).mT)
        # (n, tokens · dim): a row of numbers, whatever the side of the maps.
        tokens = functional.adaptive_avg_pool2d(tokens.mT.unflatten(2, maps.shape[2:]), side)
        of_tile, around = (
            _in_whole_sixteens(layer, features) for layer in (self.tile_head, self.neighbor)
        )
        return of_tile, around, tokens.flatten(2).mT.flatten(1)

    def combine(
        self, gathered: tuple[Tensor, ...], mask: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        return self._fused(gathered, mask, offsets)[0]

    def outputs(
        self,
        maps: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Outputs:
        """The prediction, and that of the branch ``neighbor``."""
        if mask is None:
            mask = torch.ones_like(neighborhoods, dtype=torch.bool)
        gathered = tuple(row[neighborhoods] for row in self.rows(maps))
        prediction, around = self._fused(gathered, mask, offsets)
        neighbor = gathered[0][:, 0] + self.neighbor_head(self.dropout(around))
        return Outputs(prediction, branches={"neighbor": neighbor})

    def _fused(
        self,
        gathered: Sequence[Tensor],
        mask: Tensor,
        offsets: Tensor | None,
        query: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Prediction (b, panel), and mean (b, dim) of the neighbor branch's tokens.

        A query (b, 1, dim) is given where the tile's own token is not to ask.
        """
        of_tile, around, tokens = gathered
        if offsets is None:
            raise ValueError("it needs to know where the neighbors lie: pass their offsets")
        outside = torch.zeros_like(mask, dtype=around.dtype).masked_fill(~mask, -torch.inf)
        bias = self._of_places(offsets) + outside[:, None, None]
        for layer in self.layers:
            around = layer(around, around, bias)
        query = around[:, :1] if query is None else query
        target = tokens[:, 0].unflatten(1, (-1, self.hyperparameters.dim))
        fused = self.fusion(query, target) + self.fusion(query, around, outside[:, None, None])
        correction = self.correction(self.dropout(self.norm(fused)[:, 0]))
        share = mask[..., None] / mask.sum(1)[:, None, None]
        return of_tile[:, 0] + correction, (around * share).sum(1)

    def _of_places(self, offsets: Tensor) -> Tensor:
        """Bias (b, heads, k, k) of attention by how far tiles are apart along each axis."""
        apart = (offsets[:, :, None] - offsets[:, None]).abs()
        # Of a distance along an axis, the cosines alone: at the sines' bend it has no direction.
        cosines = place_code(apart)[..., 2 * len(WAVELENGTHS_UM) :]
        return self.place(cosines).permute(0, 3, 1, 2)


class GuidingLayer(nn.Module):
    """Tokens that ask where boundaries are, then where nuclei are; what they hear is added.

    One attention serves both, as in BG-TRIPLEX. Shapes: tokens (n, t, dim), guides (n, t, 5) →
    (n, t, dim).
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float, dropout: float) -> None:
        super().__init__()
        self.boundaries = _guide_encoder(N_GUIDES - 2, dim)
        self.nuclei = _guide_encoder(2, dim)
        self.layer = CrossAttentionLayer(dim, heads, mlp_ratio, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, guides: Tensor) -> Tensor:
        # Amount and finest steps tell nuclei, coarser steps boundaries of tissue.
        nuclei, boundaries = self.nuclei(guides[..., :2]), self.boundaries(guides[..., 2:])
        return self.norm(self.layer(tokens, boundaries) + self.layer(tokens, nuclei))


def _in_whole_sixteens(layer: nn.Linear, rows: Tensor) -> Tensor:
    """A linear layer, on rows filled up with zeros to a multiple of 16 numbers.

    With guides there are five more than that, and products of such rows round by their place in
    the batch: a tile's value would not be the same in every region and part.
    """
    missing = (0, -rows.shape[-1] % 16)
    weight = functional.pad(layer.weight, missing)
    return functional.linear(functional.pad(rows, missing), weight, layer.bias)


def _guide_encoder(channels: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, dim), nn.GELU(), nn.Linear(dim, dim))


HEAD_PARTS = (  # names of the parameters begin with one of these
    *("tile_head.", "token.", "guiding.", "neighbor.", "place.", "layers.", "fusion.", "norm."),
    *("neighbor_head.", "correction."),
)

ARCHITECTURE = trainable(
    TriplexHyperparameters, TriplexNetwork, prepare_pooled, lambda config: HEAD_PARTS, MAP_CHANNELS
)
