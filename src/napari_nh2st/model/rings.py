"""Rings architecture: ridge regression on the features of a tile and of the rings around it.

The nearest eight tiles are the first ring, the next 16 the second, as squares around a tile of a
square array are. Each ring's mean features have a linear layer of their own, so that tissue around
a tile says something else than the tile itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.hypergraph import masked_mean
from napari_nh2st.model.hyperparameters import AtMost, Hyperparameters
from napari_nh2st.model.network import RidgeSolution
from napari_nh2st.model.pooled import PooledNetwork, pooled
from napari_nh2st.model.prepared import prepare_pooled


@dataclass(frozen=True)
class RingsHyperparameters(Hyperparameters):
    """Sizes of the network.

    Parameters
    ----------
    neighbors
        Number of tiles in a neighborhood, without the query: 8 make one ring, 24 two, 48 three.
        The last ring may be incomplete.
    """

    neighbors: Annotated[int, AtMost(1024)] = 24


class RingsNetwork(PooledNetwork):
    """Sum of a linear tile head and of a linear head for the mean features of each ring.

    It is linear in the features, so a training is one ridge regression, in closed form. Tiles that
    are missing are left out of a ring's mean; a ring without any is as the one inside it.
    """

    sees_means_alone = True
    balances_blocks = True
    hyperparameters: RingsHyperparameters

    def __init__(
        self, hyperparameters: RingsHyperparameters, encoder: Encoder | None = None
    ) -> None:
        super().__init__(hyperparameters, encoder)
        self._rings = rings_of(hyperparameters.neighbors)
        features = self.image_encoder.spec.n_features
        self.ring_heads = nn.ModuleList(
            nn.Linear(features, hyperparameters.panel_size, bias=False) for _ in self._rings
        )
        names = [f"ring_heads.{number}" for number in range(len(self._rings))]
        self.gene_layers = ("tile_head", *names)
        for head in self._heads:
            nn.init.zeros_(head.weight)

    @property
    def _heads(self) -> list[nn.Linear]:
        """The head of each ring."""
        return [cast(nn.Linear, self.get_submodule(name)) for name in self.gene_layers[1:]]

    @property
    def reach(self) -> Reach:
        return "neighborhood"

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        features = pooled(maps)
        return self.tile_head(features), *(head(features) for head in self._heads)

    def combine(
        self, gathered: tuple[Tensor, ...], mask: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        predicted = gathered[0][:, 0]
        for number, row in enumerate(gathered[1:], start=1):
            predicted = predicted + ring_mean(row, mask, self._rings[:number])
        return predicted

    # --- how a training starts it ---

    @property
    def ridge_reach(self) -> Reach:
        return "neighborhood"

    def ridge_design(
        self, maps: Tensor, neighborhoods: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The tile's mean features, and those of each ring."""
        if neighborhoods is None or mask is None:
            raise ValueError("it predicts from neighborhoods: pass their indices and mask")
        around = pooled(maps)[neighborhoods]
        numbers = range(1, len(self._rings) + 1)
        return around[:, 0], *(ring_mean(around, mask, self._rings[:n]) for n in numbers)

    def start_from_ridge(self, solution: RidgeSolution, maps: Iterable[Tensor]) -> None:
        of_tile, *of_rings = solution.factors
        super().start_from_ridge(RidgeSolution([of_tile], solution.axes, solution.constant), maps)
        for head, factor in zip(self._heads, of_rings, strict=True):
            head.weight.copy_(solution.axes @ factor.to(solution.axes))


def rings_of(neighbors: int) -> tuple[slice, ...]:
    """Places of each ring in a neighborhood, whose first place is the tile itself."""
    first, rings = 1, list[slice]()
    while first <= neighbors:
        rings.append(slice(first, min(first + 8 * (len(rings) + 1), neighbors + 1)))
        first = rings[-1].stop
    return tuple(rings)


def ring_mean(gathered: Tensor, mask: Tensor, rings: Sequence[slice]) -> Tensor:
    """Mean over the tiles of the last ring that there are.

    Parameters
    ----------
    gathered
        (b, k, d) rows of neighborhoods.
    mask
        (b, k) bool, which places are filled.
    rings
        Places of the rings from the inmost out. Where the last is empty the mean is that of the
        one inside it, and where all are, the tile's own row.

    Returns
    -------
    Tensor
        (b, d)
    """
    mean = gathered[:, 0]
    for ring in rings:
        there = mask[:, ring]
        mean = torch.where(there.any(1)[:, None], masked_mean(gathered[:, ring], there), mean)
    return mean


ARCHITECTURE = trainable(
    RingsHyperparameters,
    RingsNetwork,
    prepare_pooled,
    lambda config: ("tile_head.", "ring_heads."),
    MAP_CHANNELS,
)
