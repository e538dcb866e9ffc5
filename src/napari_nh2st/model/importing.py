"""Checkpoints of the released NH2ST code as models."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS, MAP_STRIDE
from napari_nh2st.model.folder import Model
from napari_nh2st.model.hyperparameters import checked_hyperparameters
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.weights_file import file_sha256, misfit, read_state_dict, shapes_of

_STAGES = {
    "target_encoder.0.": "image_encoder.conv1.",
    "target_encoder.1.": "image_encoder.bn1.",
    "target_encoder.4.": "image_encoder.layer1.",
    "target_encoder.5.": "image_encoder.layer2.",
    "target_encoder.6.": "image_encoder.layer3.",
    "target_encoder.7.": "image_encoder.layer4.",
    "exp_encoder.": "expression_encoder.",
    "fc.": "query_head.",
    "neighbor_encoder.layer1.conv.": "neighbor_image_encoder.conv1.",
    "neighbor_encoder.layer2.conv.": "neighbor_image_encoder.conv2.",
    "neighbor_exp_encoder.layer1.conv.": "neighbor_expression_encoder.conv1.",
    "neighbor_exp_encoder.layer2.conv.": "neighbor_expression_encoder.conv2.",
    "cross_encoder.norm.": "cross_encoder.norm.",
    "decoder.fc1.": "decoder.0.",
    "decoder.fc2.": "decoder.1.",
}
_LAYER_PARTS = {
    "0.norm.": "norm_attention.",
    "0.fn.to_q.": "attention.to_q.",
    "0.fn.to_kv.": "attention.to_kv.",
    "0.fn.to_out.0.": "attention.to_out.",
    "1.norm.": "norm_mlp.",
    "1.fn.net.": "mlp.",
}
_LAYER_PREFIX = "cross_encoder.fusion_layer.layers."
_UNUSED = ("fc_target.", "fc_neighbor.", "fc_nuclei.", "fc_global.")
"""Layers the released network holds and never calls."""


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
        Name of the model.
    mpp
        µm/px of the tiles it was trained on.
    pitch_um
        Distance between its training spots.
    heads
        Heads of the cross-attention, which no weight's shape shows.

    Raises
    ------
    InputError
        The file cannot be read, holds more than weights, or is no NH2ST checkpoint; or the panel
        does not fit.
    """
    released = read_state_dict(checkpoint, ("state_dict",))
    try:
        state = from_released_state_dict(released)
    except KeyError as error:
        raise InputError(
            f"{checkpoint} is not an NH2ST checkpoint: the network has no {error.args[0]}"
        ) from None
    try:
        hyperparameters = _hyperparameters(state, heads)
    except KeyError as error:
        raise InputError(f"{checkpoint} is not an NH2ST checkpoint: it lacks {error}") from None
    except (IndexError, TypeError, ValueError, ZeroDivisionError):
        raise InputError(
            f"{checkpoint} is not an NH2ST checkpoint: its tensors have other shapes"
        ) from None
    if len(panel) != hyperparameters.panel_size:
        raise InputError(
            f"{checkpoint} predicts {hyperparameters.panel_size} genes, the list has {len(panel)}"
        )
    kept = ("dim", "depth", "heads", "mlp_ratio", "hidden", "hypergraph_hidden")
    config = replace(
        untrained_config(name, panel, mpp=mpp, pitch_um=pitch_um),
        hyperparameters={field: getattr(hyperparameters, field) for field in kept},
        tile_px=hyperparameters.tile_px,
        training={
            "trained": True,
            "summary": (
                f"Imported from {checkpoint.name}, a checkpoint of the released NH2ST code. It "
                "does not record what it was trained on."
            ),
            "checkpoint_sha256": file_sha256(checkpoint),
        },
    )
    try:
        checked_hyperparameters(config, NH2STHyperparameters)
    except InputError as error:
        raise InputError(f"{checkpoint} is not an NH2ST checkpoint: {error}") from None
    with torch.device("meta"):  # shapes, and no memory
        expected = shapes_of(NH2ST(hyperparameters).state_dict())
    if wrong := misfit(expected, shapes_of(state)):
        raise InputError(f"{checkpoint} does not fit the NH2ST network: {wrong}")
    network = NH2ST(hyperparameters).eval()
    network.load_state_dict(state)
    return Model(config, network, str(checkpoint))


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


def from_released_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the released code's keys to those of :class:`~napari_nh2st.model.nh2st.NH2ST`.

    Raises
    ------
    KeyError
        A key that the released network does not have; the key is the error's argument.
    """
    return {
        ours: tensor for key, tensor in state_dict.items() if (ours := _our_key(key)) is not None
    }


def _our_key(key: str) -> str | None:
    if key.startswith(_UNUSED):
        return None
    if key.startswith(_LAYER_PREFIX):
        depth, _, part = key.removeprefix(_LAYER_PREFIX).partition(".")
        for theirs, ours in _LAYER_PARTS.items():
            if part.startswith(theirs):
                return f"cross_encoder.layers.{depth}.{ours}{part.removeprefix(theirs)}"
    for theirs, ours in _STAGES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    raise KeyError(key)
