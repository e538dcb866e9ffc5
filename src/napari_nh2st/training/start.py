"""The network that a training starts from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.model.folder import Model
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.weights_file import read_state_dict
from napari_nh2st.training.inputs import StudyInputs, TrainedPart
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.validation import predict_section

DEFAULT_TILE_PX = 224
DEFAULT_MPP = 0.5


def starting_network(
    panel: Sequence[str],
    target_mean: NDArray[np.floating],
    settings: TrainSettings,
    start: Model | None,
) -> NH2ST:
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

    Raises
    ------
    InputError
        The start model is no NH2ST, has another shape than asked for, or the encoder's file
        cannot be read.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = NH2ST(_hyperparameters(len(panel), settings, start))
    with torch.no_grad():
        last = network.decoder[-1]
        assert isinstance(last, nn.Linear)
        last.bias.copy_(torch.from_numpy(np.asarray(target_mean, np.float32)))
        if start is not None:
            _take_over(network, start, panel)
    if settings.encoder_weights is not None:
        load_encoder_weights(network, Path(settings.encoder_weights))
    return network


@torch.no_grad()
def center_predictions(part: TrainedPart, inputs: StudyInputs) -> None:
    """Move each gene's predictions by a constant, so that their mean is that of the target.

    Those of a start model are off on other slides, and most where the panel is not its own, since
    targets are scaled to the sum of the panel. The first steps would spend themselves on it.

    Parameters
    ----------
    part
        The network; the bias of its last layer is changed.
    inputs
        Inputs of the training sections.
    """
    study = inputs.study
    predicted = np.concatenate(
        [predict_section(part, inputs, number) for number in range(len(study.sections))]
    )
    off = study.target.numpy().mean(0, dtype=np.float64) - predicted.mean(0, dtype=np.float64)
    last = part.network.decoder[-1]
    assert isinstance(last, nn.Linear)
    last.bias.add_(torch.from_numpy(off).to(last.bias))


def load_encoder_weights(network: NH2ST, path: Path) -> None:
    """Fill the image encoder from a file of a ResNet-18's weights.

    Parameters
    ----------
    network
        Its image encoder is filled.
    path
        ``.safetensors``, or a pickled state dict read with ``weights_only=True``; by itself or
        under ``"state_dict"``, ``"model"`` or ``"encoder"``. Names are torchvision's, with or
        without a prefix in front of all of them, such as ``"backbone."``; the classifier
        ``fc`` is left out.

    Raises
    ------
    InputError
        It cannot be read, or is not a ResNet-18.
    """
    state = _without_prefix(read_state_dict(path, ("state_dict", "model", "encoder")))
    wanted = network.image_encoder.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):  # older files do without
                state[name] = tensor
                continue
            raise InputError(f"{path} is not a ResNet-18: it has no {name}")
        if state[name].shape != tensor.shape:
            raise InputError(
                f"{path} is not a ResNet-18: {name} has shape {tuple(state[name].shape)} "
                f"instead of {tuple(tensor.shape)}"
            )
    network.image_encoder.load_state_dict({name: state[name] for name in wanted})


def _hyperparameters(
    panel_size: int, settings: TrainSettings, start: Model | None
) -> NH2STHyperparameters:
    given = settings.shapes
    dropout = {} if settings.dropout is None else {"dropout": settings.dropout}
    if start is None:
        shapes: dict[str, Any] = {"tile_px": DEFAULT_TILE_PX} | given
        p = NH2STHyperparameters(
            panel_size, **(shapes | dropout | {"context": settings.context or "query"})
        )
        if p.dim % p.heads:
            raise InputError(f"dim is {p.dim}; it must be a multiple of heads ({p.heads})")
        return p
    network = start.network
    if not isinstance(network, NH2ST):
        raise InputError(f"{start.source} has another architecture; start from an NH2ST model")
    own = vars(network.hyperparameters)
    for name, value in given.items():
        if own[name] != value:
            raise InputError(
                f"{name} is {value}, but the start model {start.config.name} has {own[name]}; "
                "leave it out, or start without a model"
            )
    changed: dict[str, Any] = dropout | {"panel_size": panel_size}
    if settings.context is not None:
        changed["context"] = settings.context
    return NH2STHyperparameters(**(own | changed))


def _take_over(network: NH2ST, start: Model, panel: Sequence[str]) -> None:
    """Copy the start model's weights: of genes those that both have, by name."""
    old = start.network.state_dict()
    new = network.state_dict()
    rows = {gene: row for row, gene in enumerate(start.config.panel)}
    shared = [(k, rows[gene]) for k, gene in enumerate(panel) if gene in rows]
    here = torch.tensor([pair[0] for pair in shared], dtype=torch.long)
    there = torch.tensor([pair[1] for pair in shared], dtype=torch.long)
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


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors, whatever stands in front of torchvision's names."""
    prefixes = [
        name.removesuffix("conv1.weight") for name in state if name.endswith("conv1.weight")
    ]
    prefix = min(prefixes, key=len, default="")
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
