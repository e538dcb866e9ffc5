"""The network that a training starts from."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.model.architectures import ARCHITECTURES, StartWeights
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.key import FEATURES, EncoderKey, parse_key
from napari_nh2st.model.encoders.readers import describe, gives_same_features, read_encoder
from napari_nh2st.model.folder import Model
from napari_nh2st.model.hyperparameters import names_of
from napari_nh2st.model.network import Network
from napari_nh2st.training.defaults import architecture_of
from napari_nh2st.training.inputs import StudyInputs, TrainedPart
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.validation import predict_section

DEFAULT_TILE_PX = 224
DEFAULT_MPP = 0.5
_DEFAULT_NEIGHBORS = 8

SHAPES = (
    *("tile_px", "dim", "depth", "heads", "mlp_ratio", "hidden", "hypergraph_hidden"),
    *("neighbors", "hyperedge_others", "guides"),
)
"""Settings that are hyperparameters of some architecture, and fix its shape."""


def starting_network(
    panel: Sequence[str],
    target_mean: NDArray[np.floating],
    settings: TrainSettings,
    start: Model | None,
    encoder: ForeignEncoder | None = None,
) -> Network:
    """Build the network, with the weights it starts from.

    Parameters
    ----------
    panel
        Genes to learn.
    target_mean
        (panel,) mean of the target in training: what new genes are predicted as at first.
    settings
        Shapes, seed and file of encoder weights.
    start
        Model to start from: genes that it shares with the panel keep their rows.
    encoder
        Image encoder of another library with its weights, which gets the adapters that the
        settings ask for; None for the published one.

    Raises
    ------
    InputError
        The start model has an architecture that cannot be trained or another shape than asked
        for, the architecture lacks a shape that is given, or the encoder's file cannot be read.
    """
    key = architecture_of(settings, None if start is None else start.config)
    architecture = ARCHITECTURES[key]
    hyperparameters = _hyperparameters(key, len(panel), settings, start)
    if encoder is not None:
        hyperparameters = replace(hyperparameters, tile_px=encoder.spec.tile_px)
    shared = None
    if start is not None and start.config.architecture == key and _has_encoder(start, encoder):
        assert isinstance(start.network, Network)
        shared = StartWeights.of_panels(start.network, start.config.panel, panel)
    network = architecture.start(hyperparameters, target_mean, settings.seed, shared, encoder)
    if start is not None and shared is None and encoder is None:
        assert isinstance(start.network, Network)
        network.image_encoder.load_state_dict(start.network.image_encoder.state_dict())
    if settings.encoder_weights is not None:
        network.image_encoder.load_weights(Path(settings.encoder_weights))
    if settings.adapter_rank and encoder is not None and encoder.adapter is None:
        encoder.adapt(settings.adapter_rank, settings.seed)
    if settings.adapter_rank and settings.gradient_checkpointing and encoder is not None:
        encoder.checkpoint_gradients()
    return network


def image_encoder(settings: TrainSettings, start: Model | None) -> ForeignEncoder | None:
    """The image encoder of a training where another library builds it.

    Parameters
    ----------
    settings
        May name it.
    start
        Model to start from, whose encoder it is otherwise; a copy is given.

    Raises
    ------
    InputError
        It is not on this machine, or something in it is wrong; or one of NH2ST is asked for
        where the start model has another.
    """
    if settings.has_foreign_encoder:
        return read_encoder(parse_key(str(settings.image_encoder)))
    network = None if start is None else start.network
    own = network.image_encoder if isinstance(network, Network) else None
    if not isinstance(own, ForeignEncoder):
        return None
    if settings.image_encoder is not None or settings.encoder not in (None, "frozen"):
        raise InputError(
            f"the start model has the encoder {own.spec.key}, which stays as it is; leave encoder "
            "and image_encoder out, or start without a model"
        )
    return copy.deepcopy(own)


def neighbors_of(settings: TrainSettings, start: ModelConfig | None) -> int:
    """Spots beside the spot itself in the neighborhoods of a training.

    Parameters
    ----------
    settings
        May say how many.
    start
        Config of the model to start from, which says it otherwise; but for an architecture that
        has a number of its own and is not the start model's. None without one.
    """
    if settings.neighbors is not None:
        return settings.neighbors
    key = architecture_of(settings, start)
    kind = ARCHITECTURES[key].hyperparameters
    default = None if kind is None else getattr(kind, "neighbors", None)
    if start is not None and (default is None or start.architecture == key):
        return int(start.neighborhood["size"]) - 1
    return _DEFAULT_NEIGHBORS if default is None else int(default)


def features_key(settings: TrainSettings, start: ModelConfig | None) -> EncoderKey | None:
    """The key of features that take an encoder's place in a training; None for an encoder.

    Parameters
    ----------
    settings
        May name it.
    start
        Config of the model to start from, whose features they are otherwise.
    """
    if settings.has_foreign_encoder:
        key = parse_key(str(settings.image_encoder))
        return key if key.kind == FEATURES else None
    if start is None or start.encoder is None or not start.takes_features:
        return None
    return parse_key(str(start.encoder["key"]))


def _has_encoder(start: Model, encoder: ForeignEncoder | None) -> bool:
    """Whether a start model's head reads what an encoder gives; None for NH2ST's own."""
    described = start.config.encoder
    if described is None or encoder is None:
        return described is None and encoder is None
    return gives_same_features(described, describe(encoder))


@torch.no_grad()
def center_predictions(part: TrainedPart, inputs: StudyInputs) -> None:
    """Move each gene's predictions by a constant, so that their mean is that of the target.

    Those of a start model are off on other slides, and most where the panel is not its own, since
    targets are scaled to the sum of the panel. The first steps would spend themselves on it.

    Parameters
    ----------
    part
        The network; the bias of its genes is changed.
    inputs
        Inputs of the training sections.
    """
    study = inputs.study
    predicted = np.concatenate(
        [predict_section(part, inputs, number) for number in range(len(study.sections))]
    )
    off = study.target.numpy().mean(0, dtype=np.float64) - predicted.mean(0, dtype=np.float64)
    bias = part.network.gene_bias
    bias.add_(torch.from_numpy(off).to(bias))


def _hyperparameters(
    key: str, panel_size: int, settings: TrainSettings, start: Model | None
) -> Any:
    kind = ARCHITECTURES[key].hyperparameters
    network = None if start is None else start.network
    if kind is None or not (network is None or isinstance(network, Network)):
        assert start is not None
        raise InputError(f"{start.source} has another architecture; start from an NH2ST model")
    names = ("tile_px", *names_of(kind))
    shapes = {name for name in SHAPES if getattr(settings, name) is not None}
    if unknown := shapes - set(names):
        raise InputError(f"architecture {key} has no {min(unknown)}; leave it out")
    given = {n: v for n in names if (v := getattr(settings, n, None)) is not None}
    if start is None or network is None or start.config.architecture != key:
        tile_px = DEFAULT_TILE_PX if start is None else start.config.tile_px
        p = kind(panel_size=panel_size, **({"tile_px": tile_px} | given))
        p.check()
        return p
    own = vars(network.hyperparameters)
    for name, value in given.items():
        if name not in _FREE and own[name] != value:
            raise InputError(
                f"{name} is {value}, but the start model {start.config.name} has {own[name]}; "
                "leave it out, or start without a model"
            )
    return kind(**(own | given | {"panel_size": panel_size}))


_FREE = ("context", "dropout")
"""Hyperparameters that fix no weight's shape, or whose change the network knows to start from."""
