"""What every network is: an image encoder, what follows it, and how a training starts it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import Encoder


class Outputs(NamedTuple):
    """Everything a training step compares, for b queries."""

    prediction: Tensor
    """(b, panel)"""
    branches: dict[str, Tensor] = {}  # noqa: RUF012
    """(b, panel) predictions of single branches, by name."""
    pairs: dict[str, tuple[Tensor, Tensor]] = {}  # noqa: RUF012
    """(b, dim) of the image side and (b, dim) of the expression side of a branch, by name."""


@dataclass(frozen=True, eq=False)
class RidgeSolution:
    """A ridge regression of the target on the blocks of a :meth:`Network.ridge_design`.

    Parameters
    ----------
    factors
        (rank, features) of each block; what they make of a spot is added up.
    axes
        (panel, rank) float64: a prediction is ``constant + axes @ sum(factors @ block)``.
    constant
        (panel,) float64.
    """

    factors: Sequence[Tensor]
    axes: Tensor
    constant: Tensor


class Network(nn.Module, ABC):
    """A network that predicts the expression of a panel from tiles.

    Tiles are encoded once, whoever's neighborhood they are in: what follows takes the distinct
    tiles of a batch and the neighborhoods as indices into them. Prediction needs images only.

    Attributes
    ----------
    image_encoder
        Tiles to feature maps (n, d, h, h).
    hyperparameters
        What the network is built from.
    tile_head
        What predicts (n, panel) of each tile for itself, from its map or its pooled features; None
        without such a part.
    """

    image_encoder: Encoder
    hyperparameters: Any

    sees_means_alone = False
    """Whether nothing of a map counts but the mean of each channel: then (n, d, 1, 1) serves."""

    balances_blocks = False
    """Whether a ridge regression brings the blocks of :meth:`ridge_design` to the same variance:
    means over many tiles, which vary less, are then not held back more than single tiles."""

    tile_head: nn.Module | None

    @property
    def tile_encoder(self) -> Encoder:
        """What makes the maps that the network takes: ``image_encoder``, or more channels of it."""
        return self.image_encoder

    @property
    @abstractmethod
    def reach(self) -> Reach:
        """What the prediction of a tile depends on: tile, neighborhood or slide."""

    @property
    @abstractmethod
    def gene_bias(self) -> Tensor:
        """(panel,) parameter that is added to a prediction."""

    @abstractmethod
    def predict(
        self,
        maps: Tensor,
        neighborhoods: Tensor | None = None,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
        """Predicted expression from feature maps, images only.

        Parameters
        ----------
        maps
            (n, d, h, h), maps of the distinct tiles.
        neighborhoods
            (b, k) indices into ``maps``, the query itself first. Not needed where the reach is
            ``"tile"``; without it every map is a query.
        mask
            (b, k) bool, False where a neighborhood has no more tiles; None for all True.
        offsets
            (b, k, 2) positions in µm relative to the query's; only where the architecture's entry
            has ``offsets``.

        Returns
        -------
        Tensor
            (b, panel) in the units of the model's target.

        Raises
        ------
        ValueError
            Neighborhoods are needed and none came, or it predicts whole slides.
        """

    def predict_slide(self, maps: Tensor, centers: Tensor) -> Tensor:
        """Predicted expression of a slide's tiles, images only, where the reach is ``"slide"``.

        Parameters
        ----------
        maps
            (n, d, h, h), maps of all its tiles.
        centers
            (n, 2) where they lie, (y, x) in units of the pitch of the array that they are on.

        Returns
        -------
        Tensor
            (n, panel) in the units of the model's target.

        Raises
        ------
        ValueError
            It does not predict whole slides.
        """
        raise ValueError("it does not predict whole slides: call predict")

    def slide_outputs(self, maps: Tensor, expression: Tensor, centers: Tensor) -> Outputs:
        """All outputs of a training step, of a whole section.

        Parameters
        ----------
        maps, centers
            As for :meth:`predict_slide`.
        expression
            (n, panel), the target of each tile.
        """
        return Outputs(self.predict_slide(maps, centers))

    def outputs(
        self,
        maps: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Outputs:
        """All outputs of a training step.

        Parameters
        ----------
        maps, neighborhoods, mask, offsets
            As for :meth:`predict`.
        expression
            (n, panel), the target of each tile.
        """
        return Outputs(self.predict(maps, neighborhoods, mask, offsets))

    def encode(self, tiles: Tensor) -> Tensor:
        """Feature maps of tiles: (n, 3, tile, tile) normalized → (n, d, h, h)."""
        return self.tile_encoder(tiles)

    def forward(
        self,
        tiles: Tensor,
        expression: Tensor,
        neighborhoods: Tensor,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Outputs:
        """:meth:`outputs` from tiles (n, 3, tile, tile) normalized, each distinct tile once."""
        return self.outputs(self.encode(tiles), expression, neighborhoods, mask, offsets)

    # --- how a training starts it ---

    @abstractmethod
    def take_over(self, other: "Network", here: Tensor, there: Tensor) -> None:
        """Copy the weights of a network of the same kind, of genes those that both have.

        Parameters
        ----------
        other
            Of the same shapes, but for its panel and its context.
        here, there
            Positions of the shared genes in this network's panel and in the other's.
        """

    @property
    def ridge_rank(self) -> int:
        """How many directions of the panel the head can hold of a ridge regression."""
        return len(self.gene_bias)

    @property
    def ridge_reach(self) -> Reach:
        """What a spot's row in :meth:`ridge_design` depends on."""
        return "tile"

    @abstractmethod
    def ridge_design(
        self, maps: Tensor, neighborhoods: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Features (b, features), in one block or several, that the head is linear in.

        Parameters
        ----------
        maps, neighborhoods, mask
            As for :meth:`predict`; no neighborhoods where ``ridge_reach`` is ``"tile"``.
        """

    @abstractmethod
    def start_from_ridge(self, solution: RidgeSolution, maps: Iterable[Tensor]) -> None:
        """Fill the head so that it predicts what a ridge regression on its features does.

        Parameters
        ----------
        solution
            Of the features of :meth:`ridge_design`.
        maps
            Maps (n, d, h, h) of all spots of the training, for what has to know their range.
        """

    def in_context(self, context: str) -> "Network":
        """The same weights with another context of the architecture.

        Raises
        ------
        ValueError
            The weights cannot serve it.
        """
        raise ValueError(f"the weights cannot serve {context}")
