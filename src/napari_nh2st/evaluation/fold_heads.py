"""Heads of a model from the folds of its cross-validation, and the features of its tiles."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_nh2st.analysis.unfamiliarity import fit_familiar
from napari_nh2st.errors import InputError
from napari_nh2st.model.folder import Model, load_model_folder
from napari_nh2st.model.heads import Heads, stacked_heads
from napari_nh2st.model.network import Network
from napari_nh2st.training.features import FrozenStages, without_progress
from napari_nh2st.training.study import MeasuredSection, tiles_for

Features = NDArray[np.float64]


class NoHeads(InputError):
    """A cross-validation gives no heads; the message says why, in a clause."""


def fold_heads(model: Model, folds: Sequence[Path], sections: Sequence[MeasuredSection]) -> Heads:
    """The heads of the models of folds, around the encoder of a model of all sections.

    Parameters
    ----------
    model
        Trained on all sections.
    folds
        Model folders of the folds, of the same panel and context.
    sections
        Those that the model was trained on: features of their tiles are the familiar ones.

    Raises
    ------
    NoHeads
        There is one fold only, the encoders differ, or the tiles are too few.
    """
    if len(folds) < 2:
        raise NoHeads("there is one fold only")
    network = model.network
    assert isinstance(network, Network)
    parts = model.architecture.head_parts(model.config)
    if not parts:
        raise NoHeads(f"architecture {model.config.architecture} cannot have several")
    networks: list[nn.Module] = []
    for folder in folds:
        other = load_model_folder(folder).network
        assert isinstance(other, Network)
        if not _same(network.image_encoder, other.image_encoder):
            raise NoHeads("each fold has an encoder of its own (a frozen one is shared)")
        other.image_encoder = network.image_encoder  # does not stay in memory for every fold
        networks.append(other)
    try:
        familiar = fit_familiar([section_features(model, section) for section in sections])
    except InputError as error:
        raise NoHeads(f"familiar features are not known: {error}") from None
    mean, whitening = (
        torch.from_numpy(values.astype(np.float32))
        for values in (familiar.mean, familiar.whitening / familiar.far)
    )
    return stacked_heads(networks, parts, mean, whitening)


def section_features(model: Model, measured: MeasuredSection) -> Features:
    """(tiles, features) of a section's spots: the mean of each channel of the encoder's map."""
    network, config = model.network, model.config
    assert isinstance(network, Network)
    encoder = network.image_encoder
    tiles = tiles_for(measured, config, ())
    stages = FrozenStages(encoder, len(encoder.stages), torch.device("cpu"))
    return without_progress(stages.means(tiles)).double().numpy()


def _same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
