"""Heads of the models of a cross-validation, around one encoder, and the features they know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_nh2st.model.weights_file import Shapes

_HEAD = "heads."
_MEAN, _WHITENING = "features.mean", "features.whitening"


@dataclass(frozen=True, eq=False)
class Heads:
    """Further heads of a model, which tell how far a value can be trusted at a place.

    Parameters
    ----------
    state
        Parameters of a network's head by their names in the network, each (heads, ...): one from
        each model of a cross-validation. How much they differ is the spread of a value.
    mean
        (features,) float32 mean features of the tiles in training.
    whitening
        (features, features) float32 W: the unfamiliarity of a tile is the length of (its features
        minus the mean) times W. It is 1 or less for 99 % of the tiles of sections like those in
        training.
    """

    state: Mapping[str, Tensor]
    mean: Tensor
    whitening: Tensor

    @property
    def count(self) -> int:
        """How many heads there are."""
        return len(next(iter(self.state.values())))

    def tensors(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """What is written: heads in a type, features in float32."""
        heads = {
            _HEAD + name: tensor.detach().to("cpu", dtype) for name, tensor in self.state.items()
        }
        return heads | {_MEAN: self.mean.float(), _WHITENING: self.whitening.float()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Heads":
        """Take over what :meth:`tensors` gave, in float32."""
        state = {
            name.removeprefix(_HEAD): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(_HEAD)
        }
        return cls(state, tensors[_MEAN].float(), tensors[_WHITENING].float())


def stacked_heads(
    networks: Sequence[nn.Module], parts: Sequence[str], mean: Tensor, whitening: Tensor
) -> Heads:
    """The heads of networks of the same shapes.

    Parameters
    ----------
    networks
        Two or more.
    parts
        What the names of a head's parameters begin with, see
        :class:`~napari_nh2st.model.architectures.Architecture`.
    mean, whitening
        As in :class:`Heads`.
    """
    states = [network.state_dict() for network in networks]
    names = _names_in_head(states[0], parts)
    stacked = {name: torch.stack([state[name].cpu() for state in states]) for name in names}
    return Heads(stacked, mean, whitening)


def head_columns(values: Sequence[Tensor], distance: Tensor, keep_values: bool) -> Tensor:
    """What heads say of tiles: spread and unfamiliarity, and where wanted their own values.

    Parameters
    ----------
    values
        Of each head, (n, genes).
    distance
        (n, 1) unfamiliarity.
    keep_values
        Whether they are wanted.

    Returns
    -------
    Tensor
        (n, genes + 1), and as many times genes more as there are heads.
    """
    # Head by head, as a network alone does it: products and sums over all heads at once round
    # otherwise at the end of a batch than within, and a tile's spread would change with its
    # place there.
    count = len(values)
    mean = sum(values[1:], values[0]) / count
    squares = [(value - mean).square() for value in values]
    spread = (sum(squares[1:], squares[0]) / count).sqrt()
    return torch.cat([spread, distance, *(values if keep_values else ())], dim=1)


def unfamiliarity(means: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    """(n, 1) distance of tiles from those of training, from their features (n, features)."""
    off = (means - mean) @ whitening
    return torch.linalg.vector_norm(off, dim=1, keepdim=True)


def head_shapes(network: Shapes, parts: Sequence[str], n_features: int, count: int) -> Shapes:
    """Shapes of the tensors of so many heads, of a network whose own shapes are given."""
    shapes = {_HEAD + name: (count, *network[name]) for name in _names_in_head(network, parts)}
    return shapes | {_MEAN: (n_features,), _WHITENING: (n_features, n_features)}


def _names_in_head(state: Mapping[str, object], parts: Sequence[str]) -> list[str]:
    return [name for name in state if name.startswith(tuple(parts))]
