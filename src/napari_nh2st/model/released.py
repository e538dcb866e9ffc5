"""State dicts of the released NH2ST code: their keys, and their way into our network."""

from collections.abc import Mapping

from torch import Tensor

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


def from_released_state_dict(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the released code's keys to those of :class:`~napari_nh2st.model.network.NH2ST`.

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
