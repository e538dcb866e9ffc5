"""Networks over pooled features made ready to predict."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.heads import Heads
from napari_nh2st.model.pooled import PooledNetwork


class Prepared:
    """A predictor whose encoder is a module of its own.

    Attributes
    ----------
    encoder
        Normalized tiles to maps, in the precision of the prediction.
    """

    encoder: nn.Module


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
    """

    def __init__(
        self,
        network: PooledNetwork,
        genes: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.reach: Reach = network.reach
        self.dtype = dtype
        self._spec = network.image_encoder.spec
        self.encoder: nn.Module = network.image_encoder.prepared().to(device, dtype)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Not the encoder once more, which may be large.
        memo = {id(network.image_encoder): nn.Identity()}
        head = copy.deepcopy(network, memo).eval().requires_grad_(False)
        head.keep_genes(genes)
        self._head = head.to(device, torch.float32)

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        spec = self._spec
        maps = self.encoder(normalize_tiles(tiles, self.dtype, spec.mean, spec.std))
        return self._head.rows(maps.float())

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architecture.Predictor`."""
        return self._head.combine(gathered, mask, *offsets)


def prepare_pooled(
    network: nn.Module,
    genes: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    heads: Heads | None,
) -> PreparedNetwork:
    """:class:`PreparedNetwork` as an architecture asks for it; these have no further heads."""
    assert isinstance(network, PooledNetwork)
    assert heads is None
    return PreparedNetwork(network, genes, device, dtype)
