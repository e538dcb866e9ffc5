"""Checkpoints of the released NH2ST code as models."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.folder import Model, file_sha256
from napari_nh2st.model.network import NH2ST, NH2STHyperparameters
from napari_nh2st.model.released import from_released_state_dict
from napari_nh2st.model.resnet import MAP_CHANNELS, MAP_STRIDE


def import_checkpoint(
    checkpoint: Path,
    panel: tuple[str, ...],
    *,
    name: str,
    mpp: float,
    pitch_um: float,
    heads: int = 8,
) -> Model:
    """Take over the weights of a checkpoint of the released code.

    The checkpoint is a pickle; it is read with ``weights_only=True``, which builds tensors and
    plain containers and executes nothing.

    Parameters
    ----------
    checkpoint
        Holds ``{"state_dict": ...}`` with the released network's keys.
    panel
        The genes, in the order of the network's outputs; the checkpoint does not name them.
    name
        Of the model.
    mpp
        µm/px of the tiles it was trained on.
    pitch_um
        Distance between its training spots.
    heads
        Of the cross-attention; no weight's shape tells.

    Raises
    ------
    InputError
        The file cannot be read, holds more than weights, or is no NH2ST checkpoint; or the panel
        does not fit.
    """
    released = _read_state_dict(checkpoint)
    try:
        state = from_released_state_dict(released)
    except KeyError as error:
        raise InputError(
            f"{checkpoint} is no NH2ST checkpoint: the network has no {error.args[0]}"
        ) from None
    try:
        hyperparameters = _hyperparameters(state, heads)
    except (KeyError, IndexError) as error:
        raise InputError(f"{checkpoint} is no NH2ST checkpoint: it lacks {error}") from None
    if len(panel) != hyperparameters.panel_size:
        raise InputError(
            f"{checkpoint} predicts {hyperparameters.panel_size} genes, the list has {len(panel)}"
        )
    network = NH2ST(hyperparameters).eval()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip()
        raise InputError(f"{checkpoint} does not fit the NH2ST network: {detail}") from None
    kept = ("dim", "depth", "heads", "mlp_ratio", "hidden", "hypergraph_hidden")
    config = replace(
        untrained_config(name, panel, mpp=mpp, pitch_um=pitch_um),
        hyperparameters={field: getattr(hyperparameters, field) for field in kept},
        tile_px=hyperparameters.tile_px,
        training={
            "trained": True,
            "summary": (
                f"Imported from {checkpoint.name}, a checkpoint of the released NH2ST code. "
                "What it was trained on is not recorded in it."
            ),
            "checkpoint_sha256": file_sha256(checkpoint),
        },
    )
    return Model(config, network, str(checkpoint))


def _read_state_dict(checkpoint: Path) -> Mapping[str, Tensor]:
    try:
        content: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{checkpoint} cannot be read: {error.strerror}") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{checkpoint} holds more than weights, or is no checkpoint. Nothing in it was "
            "executed; save it again as {'state_dict': network.state_dict()} to import it."
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{checkpoint} is damaged or no checkpoint: {reason}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{checkpoint} is no NH2ST checkpoint: it has no state_dict of tensors")
    return state


def _hyperparameters(state: Mapping[str, Tensor], heads: int) -> NH2STHyperparameters:
    """What the shapes of the weights say."""
    dim, map_features = state["query_head.weight"].shape
    side = round((map_features / MAP_CHANNELS) ** 0.5)
    depth = 0
    while f"cross_encoder.layers.{depth}.mlp.0.weight" in state:
        depth += 1
    return NH2STHyperparameters(
        panel_size=len(state["decoder.1.bias"]),
        tile_px=side * MAP_STRIDE,
        dim=dim,
        depth=depth,
        heads=heads,
        mlp_ratio=len(state["cross_encoder.layers.0.mlp.0.bias"]) / dim,
        hidden=len(state["decoder.0.bias"]),
        hypergraph_hidden=len(state["neighbor_image_encoder.conv1.bias"]),
    )
