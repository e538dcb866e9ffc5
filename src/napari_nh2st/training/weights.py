"""Weights that a training keeps: all but those of an encoder of another library.

Such an encoder stays as it is, but for its adapters, and its sha256 is part of what a run is known
by: in a checkpoint it would be gigabytes that are read from elsewhere anyway.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from napari_nh2st.model.encoders.adapters import is_adapter_tensor
from napari_nh2st.model.encoders.foreign import ForeignEncoder


def kept_weights(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of a module, without what stays as it is."""
    as_it_is = _as_it_is(module)
    return {name: t for name, t in module.state_dict().items() if name not in as_it_is}


def load_kept(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of :func:`kept_weights`.

    Raises
    ------
    RuntimeError
        They do not fit.
    """
    state = module.state_dict()
    own = {name: state[name] for name in _as_it_is(module)}
    module.load_state_dict({**own, **weights})


def _as_it_is(module: nn.Module) -> frozenset[str]:
    """Names of the tensors that no training changes."""
    return frozenset(
        f"{prefix}.{name}"
        for prefix, encoder in module.named_modules()
        if isinstance(encoder, ForeignEncoder)
        for name in encoder.state_dict()
        if not is_adapter_tensor(name)
    )
