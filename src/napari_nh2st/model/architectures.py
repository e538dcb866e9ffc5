"""The networks a model folder can name.

Another network joins by an entry here: inference, widgets and the command line know models
through :class:`Architecture` and :class:`Predictor` alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONTEXTS, ModelConfig
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.heads import Heads
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST

_LARGEST = {
    "dim": 16_384,
    "depth": 64,
    "heads": 1024,
    "hidden": 65_536,
    "hypergraph_hidden": 65_536,
    "neighbors": 1024,
    "hyperedge_others": 1024,
}
"""Whole numbers from 1 on, up to many times what was published: more is a mistake, or meant to
use up a machine."""


class Predictor(Protocol):
    """A network made ready to predict some genes on one device.

    What it predicts of a tile is a row: a value for each gene, and where it was prepared with heads
    their spread for each gene and the tile's unfamiliarity behind them, see
    :mod:`napari_nh2st.prediction.rows`.
    """

    uses_neighborhood: bool
    """False where :meth:`encode` gives predictions already."""

    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """What is computed once per tile.

        Takes (n, tile, tile, 3) RGB tiles in 0–255 on the predictor's device, uint8 or float.
        Returns tensors of n rows; the first is (n, columns) predictions where
        ``uses_neighborhood`` is False.
        """
        ...

    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """Predictions from the encoded rows of neighborhoods.

        Takes for each tensor of :meth:`encode` its rows gathered as (b, 9, ...), and the (b, 9)
        mask of present tiles; returns (b, columns).
        """
        ...


@dataclass(frozen=True)
class Architecture:
    """How a network is built from a config, and made ready to predict.

    Parameters
    ----------
    build
        The network, with random weights.
    prepare
        The network made ready to predict the genes of some columns of the panel, with or without
        heads.
    head_parts
        What the names of the parameters begin with that follow the encoder in a prediction; empty
        where a network cannot have several heads.
    n_features
        Length of the features of a tile whose unfamiliarity is given.
    """

    build: Callable[[ModelConfig], nn.Module]
    prepare: Callable[
        [nn.Module, Sequence[int], torch.device, torch.dtype, Heads | None], Predictor
    ]
    head_parts: Callable[[ModelConfig], tuple[str, ...]] = lambda config: ()
    n_features: int = 0


def nh2st_hyperparameters(config: ModelConfig) -> NH2STHyperparameters:
    """The hyperparameters of an NH2ST model's config, checked.

    Raises
    ------
    InputError
        Naming the hyperparameter that is unknown or out of range.
    """
    given: Mapping[str, Any] = config.hyperparameters
    known = {f.name: f for f in fields(NH2STHyperparameters)}
    for name, value in given.items():
        if name not in known or name in ("panel_size", "tile_px"):
            raise InputError(f"hyperparameters.{name} is not one of architecture 'nh2st'")
        if name == "context":
            if value not in CONTEXTS:
                raise InputError(
                    f"hyperparameters.context is {value!r}; it must be one of {', '.join(CONTEXTS)}"
                )
        elif not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise InputError(f"hyperparameters.{name} is {value!r}; it must be a number from 0 on")
    p = NH2STHyperparameters(len(config.panel), tile_px=config.tile_px, **given)
    for name, largest in _LARGEST.items():
        value = getattr(p, name)
        if not isinstance(value, int) or value < 1:
            raise InputError(
                f"hyperparameters.{name} is {value!r}; it must be a whole number above 0"
            )
        if value > largest:
            raise InputError(f"hyperparameters.{name} is {value!r}; it can be {largest:,} at most")
    if p.mlp_ratio * p.dim > _LARGEST["hidden"]:
        raise InputError(
            f"hyperparameters.mlp_ratio is {p.mlp_ratio!r}; with dim it can make "
            f"{_LARGEST['hidden']:,} at most"
        )
    if p.mlp_ratio * p.dim < 1:
        raise InputError(f"hyperparameters.mlp_ratio is {p.mlp_ratio!r}; it must be above 0")
    if p.dropout >= 1:
        raise InputError(f"hyperparameters.dropout is {p.dropout!r}; it must be below 1")
    if p.dim % p.heads:
        raise InputError(f"hyperparameters.dim ({p.dim}) must be a multiple of heads ({p.heads})")
    if config.neighborhood["size"] != p.neighbors + 1:
        raise InputError(
            f"neighborhood.size is {config.neighborhood['size']}, but hyperparameters.neighbors "
            f"{p.neighbors} and the tile itself make {p.neighbors + 1}"
        )
    return p


def _prepare_nh2st(
    network: nn.Module,
    genes: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    heads: Heads | None,
) -> Predictor:
    assert isinstance(network, NH2ST)
    return PreparedNH2ST(network, genes, device, dtype, heads)


def _nh2st_head_parts(config: ModelConfig) -> tuple[str, ...]:
    around = ("neighbor_image_encoder.",) if config.context == "neighborhood" else ()
    return ("query_head.", *around, "decoder.")


ARCHITECTURES: dict[str, Architecture] = {
    "nh2st": Architecture(
        lambda config: NH2ST(nh2st_hyperparameters(config)),
        _prepare_nh2st,
        _nh2st_head_parts,
        MAP_CHANNELS,
    )
}
