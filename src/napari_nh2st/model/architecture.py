"""What an architecture is: how a network is built, started and made ready to predict.

Inference, training, widgets and the command line know models through :class:`Architecture`,
:class:`Predictor` and :class:`~napari_nh2st.model.network.Network` alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders import Encoder
from napari_nh2st.model.encoders.readers import build_described
from napari_nh2st.model.heads import Heads
from napari_nh2st.model.hyperparameters import checked_hyperparameters
from napari_nh2st.model.network import Network


class Predictor(Protocol):
    """A network made ready to predict some genes on one device.

    What it predicts of a tile is a row: a value for each gene, and where it was prepared with heads
    their spread for each gene and the tile's unfamiliarity behind them, see
    :mod:`napari_nh2st.prediction.rows`.
    """

    reach: Reach
    """What a prediction depends on; with ``"tile"`` :meth:`encode` gives predictions already."""

    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """What is computed once per tile.

        Takes (n, tile, tile, 3) RGB tiles in 0–255 on the predictor's device, uint8 or float; where
        the encoder takes features, these, (n, d).
        Returns tensors of n rows; the first is (n, columns) predictions where the
        reach is ``"tile"``. Where it is ``"slide"``, the first is what :meth:`combine_slide` takes
        of a tile, (n, d), and a second, if there is one, (n, columns) predictions of each tile for
        itself: a preview.
        """
        ...

    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """Predictions from the encoded rows of neighborhoods.

        Takes for each tensor of :meth:`encode` its rows gathered as (b, k, ...), and the (b, k)
        mask of present tiles; where the architecture's entry has ``offsets``, also the (b, k, 2)
        positions in µm relative to the first. Returns (b, columns).
        """
        ...

    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """Predictions of all tiles of a slide, where the reach is ``"slide"``.

        Takes the (n, d) rows of :meth:`encode`, in half precision, and the tiles' (n, 2) centers
        (y, x) in units of the pitch. Returns (n, columns).
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
    published_features
        Length of the features of a tile whose unfamiliarity is given, with the published encoder;
        see :meth:`n_features`.
    hyperparameters
        Dataclass of its hyperparameters, see
        :class:`~napari_nh2st.model.hyperparameters.Hyperparameters`; None where it has none, and
        cannot be trained.
    network
        From the hyperparameters and, where it is not the published one, the image encoder; None
        likewise.
    """

    build: Callable[[ModelConfig], nn.Module]
    prepare: Callable[
        [nn.Module, Sequence[int], torch.device, torch.dtype, Heads | None], Predictor
    ]
    head_parts: Callable[[ModelConfig], tuple[str, ...]] = lambda config: ()
    published_features: int = 0
    hyperparameters: type | None = None
    network: Callable[..., Network] | None = None

    def n_features(self, config: ModelConfig) -> int:
        """Length of the features of a tile whose unfamiliarity a model gives."""
        described = config.encoder
        return self.published_features if described is None else int(described["n_features"])

    @torch.no_grad()
    def start(
        self,
        hyperparameters: Any,
        target_mean: NDArray[np.floating],
        seed: int,
        shared: "StartWeights | None" = None,
        encoder: Encoder | None = None,
    ) -> Network:
        """A network to train, with the weights that it starts from.

        Parameters
        ----------
        hyperparameters
            Of the class of this architecture.
        target_mean
            (panel,) mean of the target in training: what new genes are predicted as at first.
        seed
            Of random weights. The caller's random state is left as it was.
        shared
            Weights to take over; None for random ones.
        encoder
            Image encoder with its weights; None for the published one with random weights.
        """
        if self.network is None:
            raise InputError("this architecture cannot be trained")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self.network(hyperparameters, encoder)
        network.gene_bias.copy_(torch.from_numpy(np.asarray(target_mean, np.float32)))
        if shared is not None:
            network.take_over(shared.network, shared.here, shared.there)
        return network


@dataclass(frozen=True, eq=False)
class StartWeights:
    """Weights that a network starts from.

    Parameters
    ----------
    network
        Of the same architecture.
    here, there
        Positions of the shared genes in the new panel and in the network's own.
    """

    network: Network
    here: Tensor
    there: Tensor

    @classmethod
    def of_panels(
        cls, network: Network, own: Sequence[str], panel: Sequence[str]
    ) -> "StartWeights":
        """Of a network with its own panel, for another: genes are matched by name."""
        rows = {gene: row for row, gene in enumerate(own)}
        shared = [(k, rows[gene]) for k, gene in enumerate(panel) if gene in rows]
        here, there = torch.tensor(shared, dtype=torch.long).reshape(-1, 2).T
        return cls(network, here, there)


def trainable(
    kind: type,
    network: Callable[..., Network],
    prepare: Callable[
        [nn.Module, Sequence[int], torch.device, torch.dtype, Heads | None], Predictor
    ],
    head_parts: Callable[[ModelConfig], tuple[str, ...]] = lambda config: (),
    published_features: int = 0,
) -> Architecture:
    """The architecture of a :class:`~napari_nh2st.model.network.Network`.

    Parameters
    ----------
    kind
        Dataclass of its hyperparameters.
    network
        From these and an image encoder or None, with random weights.
    prepare, head_parts, published_features
        See :class:`Architecture`.
    """
    return Architecture(
        lambda config: network(
            checked_hyperparameters(config, kind),
            None if config.encoder is None else build_described(config.encoder),
        ),
        prepare,
        head_parts,
        published_features,
        kind,
        network,
    )
