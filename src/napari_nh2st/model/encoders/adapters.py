"""Low-rank adapters: what a training changes of an encoder whose own weights stay (after LoRA).

Hu et al., ICLR 2022: to the output ``W x + b`` of a linear layer comes ``16 / rank · B A x``. A
(rank, inputs) starts at random and B (outputs, rank) at zero, so that an encoder with new adapters
gives what it gave without, to the bit. A prediction multiplies them out, ``W + 16 / rank · B A``,
and costs what it did.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.errors import InputError

_STRENGTH = 16.0
"""Divided by the rank, so that how far a step goes depends little on it."""

_DOWN, _UP = "adapter_down", "adapter_up"


@dataclass(frozen=True)
class Adapter:
    """Which layers of an encoder have adapters, and how wide these are.

    Parameters
    ----------
    rank
        Rows of A and columns of B.
    layers
        Names of the linear layers in the encoder.
    """

    rank: int
    layers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What a model's config says of it."""
        return {"rank": self.rank, "layers": list(self.layers)}


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter.

    Its weight and bias keep their names, so that those of the encoder can be read into it.

    Shapes: as of the linear layer.

    Parameters
    ----------
    linear
        Whose weight and bias it shares.
    rank
        Of the adapter, whose product is zero.
    """

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        nn.Module.__init__(self)  # nn.Linear's would make a weight of its own
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.adapter_down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.adapter_up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.uniform_(self.adapter_down, -(self.in_features**-0.5), self.in_features**-0.5)
        self._scale = _STRENGTH / rank

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) → (..., outputs)."""
        # Scaled where it is thin: as wide as the output, it would be kept for the gradients.
        thin = self._scale * functional.linear(x, self.adapter_down)
        return super().forward(x) + functional.linear(thin, self.adapter_up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A linear layer that gives the same."""
        result = nn.utils.skip_init(
            nn.Linear, self.in_features, self.out_features, self.bias is not None
        ).to(self.weight)
        result.weight.copy_(self.weight + self._scale * (self.adapter_up @ self.adapter_down))
        if self.bias is not None:
            result.bias.copy_(self.bias)
        return result.train(self.training)


def is_adapter_tensor(name: str) -> bool:
    """Whether a tensor of a state dict is an adapter's."""
    return name.rpartition(".")[2] in (_DOWN, _UP)


def adapter_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of the adapters in a module."""
    return (tensor for name, tensor in module.named_parameters() if is_adapter_tensor(name))


@torch.no_grad()
def layers_to_adapt(encoder: nn.Module, tile_px: int) -> tuple[str, ...]:
    """Names of the linear layers in an encoder's blocks: of attention and MLP.

    A layer counts if it is called: what a library does with the weight alone, an adapter would not
    see.

    Parameters
    ----------
    encoder
        With its weights; it encodes an empty tile.
    tile_px
        Side of its tiles.
    """
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in encoder.named_modules()
        if type(module) is nn.Linear and any(part.isdigit() for part in name.split("."))
    ]
    try:
        if hooks:
            encoder(torch.zeros(1, 3, tile_px, tile_px))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(dict.fromkeys(called))


def insert_adapters(encoder: nn.Module, adapter: Adapter, key: str) -> None:
    """Give layers adapters whose product is zero.

    Parameters
    ----------
    encoder
        Changed in place.
    adapter
        Which layers get some.
    key
        The encoder's, for the message.

    Raises
    ------
    InputError
        It has no such linear layer.
    """
    modules = dict(encoder.named_modules())
    for name in adapter.layers:
        linear = modules.get(name)
        if type(linear) is not nn.Linear:
            raise InputError(f"encoder {key} has no linear layer {name!r}, which has an adapter")
        _replace(modules, name, AdaptedLinear(linear, adapter.rank))


def merge_adapters(encoder: nn.Module) -> None:
    """Multiply all adapters out into the weights, in place."""
    modules = dict(encoder.named_modules())
    for name, module in modules.items():
        if isinstance(module, AdaptedLinear):
            _replace(modules, name, module.merged())


def load_beneath(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict that lacks the adapters, which stay as they are.

    Raises
    ------
    RuntimeError
        It does not fit otherwise.
    """
    own = {name: t for name, t in module.state_dict().items() if is_adapter_tensor(name)}
    module.load_state_dict({**state, **own})


def described_adapter(description: Mapping[str, Any] | None) -> Adapter | None:
    """The adapter that a config describes; None without."""
    if description is None:
        return None
    return Adapter(int(description["rank"]), tuple(cast(Sequence[str], description["layers"])))


def _replace(modules: Mapping[str, nn.Module], name: str, new: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(modules[parent], own, new)
