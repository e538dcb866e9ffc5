"""TRIPLEX with its third branch: what is fused is asked for by a token that has seen the slide.

After Chung et al., CVPR 2024, as :mod:`~napari_nh2st.model.triplex` is. Where they lie, tiles know
by how far they are apart (after Press et al. 2022, ALiBi), where published a convolution over the
grid of spots says it: a slide has tiles where no spot was.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.attention import CrossAttentionLayer
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.network import Outputs
from napari_nh2st.model.pooled import zero_linear
from napari_nh2st.model.prepared import prepare_pooled
from napari_nh2st.model.triplex import HEAD_PARTS, TriplexHyperparameters, TriplexNetwork

MOST_TILES = 20_000
"""Of larger slides, tiles attend to cells of them: time grows with the square of their number."""

CELL = 8
"""Side of a cell in pitches."""

_PITCH_UM = 200.0
"""What a pitch counts as in the code of places, whose wavelengths are in µm."""

_MOST_LOGITS = 2**24
"""Pairs of tiles that are looked at together: 64 MB."""

_TILES_TOGETHER = 4096
"""Whose neighborhoods are gathered together."""


class Context(NamedTuple):
    """What the tiles of a slide attend to: m tiles, or cells of tiles."""

    members: Tensor
    """(m, k) indices of tiles."""
    share: Tensor
    """(m, k) what each member counts in the mean of its cell; 0 for places that are not filled."""
    centers: Tensor
    """(m, 2) in units of the pitch."""
    bias: Tensor
    """(m,) logarithm of the number of members: a cell counts as its tiles do."""


class TriplexSlideNetwork(TriplexNetwork):
    """Tile prediction + correction from a token of the whole slide.

    ``G = layers(all tiles)``, whose attention falls with the distance by a learned slope for each
    head; then as in :class:`~napari_nh2st.model.triplex.TriplexNetwork`, with ``G`` of the tile in
    the place of ``N₀``. The third branch's own prediction is ``tile_head(x) + global_head(G)``.
    """

    gene_layers = (*TriplexNetwork.gene_layers, "global_head")

    def __init__(
        self, hyperparameters: TriplexHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        p = hyperparameters
        shape = (p.dim, p.heads, p.mlp_ratio, p.dropout)
        self.slide_layers = nn.ModuleList(CrossAttentionLayer(*shape) for _ in range(p.depth))
        # From heads that hardly look beyond the tiles beside to such as see the whole slide.
        self.slope = nn.Parameter(torch.linspace(0.0, -6.0, p.heads))
        self.global_head = zero_linear(p.dim, p.panel_size)

    @property
    def reach(self) -> Reach:
        return "slide"

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        rows = super().rows(maps)
        return torch.cat(rows, dim=1), rows[0]

    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        return self._of_slide(rows, centers)[0]

    def slide_outputs(self, maps: Tensor, expression: Tensor, centers: Tensor) -> Outputs:
        """The prediction, and those of the branches ``neighbor`` and ``global``."""
        kept, of_tile = self.rows(maps)
        prediction, around, seen = self._of_slide(kept, centers)
        return Outputs(
            prediction,
            branches={
                "neighbor": of_tile + self.neighbor_head(self.dropout(around)),
                "global": of_tile + self.global_head(self.dropout(seen)),
            },
        )

    def _of_slide(self, rows: Tensor, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prediction (n, panel), mean (n, dim) of each neighborhood, and G (n, dim)."""
        p = self.hyperparameters
        of_tile, nodes, tokens = rows.tensor_split(
            (len(self.gene_bias), p.dim + len(self.gene_bias)), 1
        )
        centers = centers.float()  # whatever the precision of a training makes of them
        seen = self._seen(nodes, centers)
        index, mask = (each.to(rows.device) for each in nearest(centers, 1 + p.neighbors))
        parts = []
        for chosen in torch.arange(len(rows), device=rows.device).split(_TILES_TOGETHER):
            near, there = index[chosen], mask[chosen]
            offsets = _PITCH_UM * (centers[near] - centers[chosen][:, None])
            # Tokens are asked for of the tile itself alone.
            gathered = (of_tile[chosen][:, None], nodes[near], tokens[chosen][:, None])
            parts.append(self._fused(gathered, there, offsets, seen[chosen][:, None]))
        prediction, around = (torch.cat(each) for each in zip(*parts, strict=True))
        return prediction, around, seen

    def _seen(self, nodes: Tensor, centers: Tensor) -> Tensor:
        """G (n, dim): each tile, having attended to all."""
        context = slide_context(centers, MOST_TILES)
        slope = functional.softplus(self.slope)[None, :, None, None]
        together = max(1, _MOST_LOGITS // (len(self.slope) * len(context.centers)))
        for layer in self.slide_layers:
            seen = (nodes[context.members] * context.share[..., None]).sum(1)[None]
            nodes = torch.cat(
                [
                    layer(
                        part[None],
                        seen,
                        context.bias - slope * torch.cdist(at, context.centers)[None, None],
                    )[0]
                    for part, at in zip(nodes.split(together), centers.split(together), strict=True)
                ]
            )
        return nodes


def nearest(centers: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Indices (n, size) of the nearest tiles, itself first, and which of these places are filled.

    Places that are not hold the tile itself.
    """
    at = centers.detach().float().cpu().numpy()
    _, index = KDTree(at).query(at, k=np.arange(1, size + 1))
    filled = index < len(at)
    index = np.where(filled, index, np.arange(len(at))[:, None])
    return torch.from_numpy(index), torch.from_numpy(filled)


def slide_context(centers: Tensor, most: int) -> Context:
    """The tiles of a slide; of more than `most`, cells of 8 × 8 pitches of them.

    By gathers alone, so that the same tiles give the same bits on any device.
    """
    count = len(centers)
    if count <= most:
        every = torch.arange(count, device=centers.device)[:, None]
        share = torch.ones_like(every, dtype=centers.dtype)
        return Context(every, share, centers, centers.new_zeros(count))
    at = centers.detach().float().cpu().numpy().astype(np.float64)
    cell = np.floor((at - at.min(0)) / CELL).astype(np.int64)
    _, number, sizes = np.unique(
        cell @ [int(cell[:, 1].max()) + 1, 1], return_inverse=True, return_counts=True
    )
    order = np.argsort(number, kind="stable")
    first = np.cumsum(sizes) - sizes
    place = np.arange(sizes.max())
    filled = place < sizes[:, None]
    members = order[np.where(filled, first[:, None] + place, first[:, None])]
    of_member = filled / sizes[:, None]
    middle = (at[members] * of_member[..., None]).sum(1)
    return Context(
        torch.from_numpy(members).to(centers.device),
        torch.from_numpy(of_member).to(centers),
        torch.from_numpy(middle).to(centers),
        torch.from_numpy(np.log(sizes)).to(centers),
    )


ARCHITECTURE = trainable(
    TriplexHyperparameters,
    TriplexSlideNetwork,
    prepare_pooled,
    lambda config: (*HEAD_PARTS, "slide_layers.", "slope", "global_head."),
    MAP_CHANNELS,
)
