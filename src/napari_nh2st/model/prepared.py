"""Networks over pooled features made ready to predict."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import encoder_dtype, encoder_input
from napari_nh2st.model.heads import Heads, head_columns, unfamiliarity
from napari_nh2st.model.network import Network
from napari_nh2st.model.pooled import PooledNetwork, pooled


class Prepared(ABC):
    """A :class:`~napari_nh2st.model.architecture.Predictor` whose encoder is a module of its own.

    Parameters
    ----------
    network
        Left as it is.
    device, dtype
        Where and in which type the encoder runs.

    Attributes
    ----------
    encoder
        Normalized tiles to maps, in the precision of the prediction.
    sees_tiles
        Whether anything but the encoder looks at the tiles.
    keeps_head_values
        Whether rows end with the values of each head, where there are heads.
    """

    sees_tiles = False
    keeps_head_values = False

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype) -> None:
        self.reach: Reach = network.reach
        self._spec = network.image_encoder.spec
        self.dtype = encoder_dtype(self._spec, dtype)
        self.encoder: nn.Module = network.image_encoder.prepared().to(device, self.dtype)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _maps(self, tiles: Tensor) -> Tensor:
        """(n, d, h, h) in the precision of the prediction."""
        maps: Tensor = self.encoder(encoder_input(tiles, self._spec, self.dtype))
        return maps

    @abstractmethod
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""

    @abstractmethod
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""

    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        raise NotImplementedError("it does not predict whole slides")


class PreparedNetwork(Prepared):
    """A network over pooled features, for prediction only, on one device, for some genes.

    The encoder runs in ``dtype`` and what follows it in float32.

    Parameters
    ----------
    network
        Left as it is.
    genes
        Positions in the panel, in the order of the result's columns.
    device, dtype
        Where and in which type the encoder runs.
    heads
        Give the spread and the unfamiliarity, in further columns; the values are the same to the
        bit with and without.
    """

    def __init__(
        self,
        network: PooledNetwork,
        genes: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        heads: Heads | None = None,
    ) -> None:
        super().__init__(network, device, dtype)
        # Not the encoder once more, which may be large.
        memo = {id(network.image_encoder): nn.Identity()}
        head = copy.deepcopy(network, memo).eval().requires_grad_(False)
        others = [copy.deepcopy(head) for _ in range(0 if heads is None else heads.count)]
        self._head, *self._others = (each.to(device, torch.float32) for each in (head, *others))
        if heads is not None:
            for number, other in enumerate(self._others):
                state = {name: each[number] for name, each in heads.state.items()}
                other.load_state_dict(state)
            self._mean, self._whitening = heads.mean.to(device), heads.whitening.to(device)
        for each in (self._head, *self._others):
            each.keep_genes(genes)
        self.sees_tiles = type(self._head).guided is not PooledNetwork.guided

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        maps = self._maps(tiles).float()
        seen = self._head.guided(maps, tiles)
        rows = self._head.rows(seen)
        if not self._others:
            return rows
        distance = unfamiliarity(pooled(maps), self._mean, self._whitening)
        of_others = [other.rows(seen) for other in self._others]
        if self.reach == "tile":
            said = head_columns([each[0] for each in of_others], distance, self.keeps_head_values)
            return (torch.cat([rows[0], said], dim=1),)
        if self.reach == "slide":
            of_model = [rows, *of_others]
            kept = [each[0] for each in (of_model[:1] if self._head.sees_rows_alike else of_model)]
            said = head_columns([each[1] for each in of_others], distance, self.keeps_head_values)
            return (
                torch.cat([*kept, distance], dim=1),
                torch.cat([rows[1], said], dim=1),
            )
        return (*rows, distance, *(row for each in of_others for row in each))

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        if not self._others:
            return self._head.combine(gathered, mask, *offsets)
        # Rows of the model itself, the unfamiliarity, then as many rows of each head.
        count = (len(gathered) - 1) // (1 + len(self._others))
        predicted = self._head.combine(gathered[:count], mask, *offsets)
        distance, of_others = gathered[count], gathered[count + 1 :]
        values = [
            other.combine(of_others[number * count : (number + 1) * count], mask, *offsets)
            for number, other in enumerate(self._others)
        ]
        said = head_columns(values, distance[:, 0], self.keeps_head_values)
        return torch.cat([predicted, said], dim=1)

    @torch.inference_mode()
    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        if not self._others:
            return self._head.combine_slide(rows.float(), centers)
        # As without heads: products of what lies otherwise in memory round otherwise.
        kept, distance = rows[:, :-1].float().contiguous(), rows[:, -1:].float()
        every = (self._head, *self._others)
        parts = (
            [kept] * len(every)
            if self._head.sees_rows_alike
            else [part.contiguous() for part in kept.chunk(len(every), 1)]
        )
        predicted, *values = (
            each.combine_slide(part, centers) for each, part in zip(every, parts, strict=True)
        )
        said = head_columns(values, distance, self.keeps_head_values)
        return torch.cat([predicted, said], dim=1)


def prepare_pooled(
    network: nn.Module,
    genes: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    heads: Heads | None,
) -> PreparedNetwork:
    """:class:`PreparedNetwork` as an architecture asks for it."""
    assert isinstance(network, PooledNetwork)
    return PreparedNetwork(network, genes, device, dtype, heads)
