"""Networks over pooled features: a linear tile head, and a context that corrects it."""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from napari_nh2st.model.encoders import Encoder, load_encoder
from napari_nh2st.model.hyperparameters import Hyperparameters
from napari_nh2st.model.network import Network, RidgeSolution


class PooledNetwork(Network):
    """A network that predicts from each tile's mean features, and may correct that by others.

    A subclass gives its ``reach``, :meth:`rows` and, where it reaches beyond a tile,
    :meth:`combine` or :meth:`combine_slide`. With a correction that starts at zero it begins as
    the ridge regression that fills ``tile_head``.

    Parameters
    ----------
    hyperparameters
        Of the subclass.
    encoder
        Tiles to maps; the published one by default.
    """

    gene_layers: tuple[str, ...] = ("tile_head",)
    """Names of the linear layers whose outputs are the genes of the panel."""

    sees_rows_alike = False
    """Whether the rows for :meth:`combine_slide` are the same whatever the weights after the
    encoder: then those of one head serve all."""

    tile_head: nn.Linear

    def __init__(self, hyperparameters: Hyperparameters, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.hyperparameters = hyperparameters
        self.image_encoder = encoder or load_encoder(tile_px=hyperparameters.tile_px)
        self.tile_head = zero_linear(self.tile_encoder.spec.n_features, hyperparameters.panel_size)

    @property
    def gene_bias(self) -> Tensor:
        return self.tile_head.bias

    def guided(self, maps: Tensor, tiles: Tensor) -> Tensor:
        """Maps of ``tile_encoder`` from those of ``image_encoder``.

        Parameters
        ----------
        maps
            (n, d, h, h)
        tiles
            (n, t, t, 3) RGB in 0–255, from which further channels may be computed.
        """
        return maps

    def rows(self, maps: Tensor) -> tuple[Tensor, ...]:
        """What is computed once per tile.

        Parameters
        ----------
        maps
            (n, d, h, h)

        Returns
        -------
        tuple of Tensor
            Of n rows each; the first is the tile's prediction (n, panel). Where the reach is
            ``"slide"`` there are two: what :meth:`combine_slide` takes, (n, d), which is kept of
            all tiles in half precision; and the tile's prediction, which is shown meanwhile.
        """
        return (self.tile_head(pooled(maps)),)

    def combine(
        self, gathered: tuple[Tensor, ...], mask: Tensor, offsets: Tensor | None = None
    ) -> Tensor:
        """Predictions (b, panel) of the first tile of neighborhoods.

        Parameters
        ----------
        gathered
            The :meth:`rows` of each tile, (b, k, ...).
        mask
            (b, k) bool, which places are filled.
        offsets
            (b, k, 2) positions in µm relative to the first.
        """
        raise NotImplementedError("a prediction of each tile for itself needs no neighbors")

    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """Predictions (n, panel) of all tiles of a slide.

        Parameters
        ----------
        rows
            (n, d), the first of :meth:`rows`.
        centers
            (n, 2) in units of the pitch.
        """
        raise NotImplementedError("it does not predict whole slides")

    def predict(
        self,
        maps: Tensor,
        neighborhoods: Tensor | None = None,
        mask: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> Tensor:
        if self.reach == "slide":
            raise ValueError("it predicts whole slides: call predict_slide")
        rows = self.rows(maps)
        if self.reach == "tile":
            return rows[0] if neighborhoods is None else rows[0][neighborhoods[:, 0]]
        if neighborhoods is None:
            raise ValueError("it predicts from neighborhoods: pass their indices")
        if mask is None:
            mask = torch.ones_like(neighborhoods, dtype=torch.bool)
        return self.combine(tuple(row[neighborhoods] for row in rows), mask, offsets)

    def predict_slide(self, maps: Tensor, centers: Tensor) -> Tensor:
        if self.reach != "slide":
            return super().predict_slide(maps, centers)
        return self.combine_slide(self.rows(maps)[0], centers)

    def keep_genes(self, genes: Sequence[int]) -> None:
        """Drop the other genes' outputs.

        Parameters
        ----------
        genes
            Positions in the panel, in the order of the outputs.
        """
        rows = torch.as_tensor(list(genes), dtype=torch.long)
        for name in self.gene_layers:
            layer = cast(nn.Linear, self.get_submodule(name))
            layer.weight = nn.Parameter(layer.weight[rows], requires_grad=False)
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[rows], requires_grad=False)

    # --- how a training starts it ---

    def take_over(self, other: Network, here: Tensor, there: Tensor) -> None:
        old = other.state_dict()
        of_genes = tuple(f"{name}." for name in self.gene_layers)
        for name, tensor in self.state_dict().items():
            if name.startswith(of_genes):
                tensor[here] = old[name][there]
            else:
                tensor.copy_(old[name])

    def ridge_design(
        self, maps: Tensor, neighborhoods: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return (pooled(maps),)

    def start_from_ridge(self, solution: RidgeSolution, maps: Iterable[Tensor]) -> None:
        (factor,) = solution.factors
        weight = solution.axes @ factor.to(solution.axes)
        self.tile_head.weight.copy_(weight)
        self.tile_head.bias.copy_(solution.constant)


def pooled(maps: Tensor) -> Tensor:
    """Mean over the positions of maps: (n, d, h, w) → (n, d)."""
    return maps.mean((2, 3))


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that gives zero until it is trained or filled."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
