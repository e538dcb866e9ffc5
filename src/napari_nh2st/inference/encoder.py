"""Encoding of batches on the device, in parts where its memory is short."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.transfer import Sender
from napari_nh2st.model.architectures import Predictor

_MOST_NUMBERS = 2**31
"""Kernels may count the numbers of a tensor with 32 bits."""

_NUMBERS_A_PIXEL = 16
"""Of the largest tensor within an encoder: 64 channels at half the resolution."""


class Encoder:
    """Brings batches to the device and encodes them.

    A batch that does not fit its memory is halved until it does, and the later ones with it.

    Parameters
    ----------
    predictor, resample
        On the device of `placement`.
    placement
        Where the network runs.
    tile_px
        Side of the tiles that it takes.
    """

    def __init__(
        self, predictor: Predictor, resample: Resampler, placement: Placement, tile_px: int
    ) -> None:
        self._predictor, self._resample = predictor, resample
        self._placement = placement
        self._sender = Sender(placement.device)
        at_once = max(1, _MOST_NUMBERS // (_NUMBERS_A_PIXEL * tile_px**2))
        self._parts = -(-placement.batch_size // at_once)

    def empty_batch(self, height: int, width: int) -> Tensor:
        """Memory for a batch of tiles, (batch size, height, width, 3) uint8."""
        return self._sender.empty(self._placement.batch_size, height, width, 3)

    def __call__(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Encode a batch, (n, height, width, 3) uint8 in the host's memory.

        Raises
        ------
        InputError
            Not even a single tile fits the device's memory.
        """
        while True:
            try:
                with _exact_float32(self._placement):
                    return self._encoded(tiles)
            except torch.OutOfMemoryError:
                if self._parts >= len(tiles):
                    raise InputError(
                        "the device has too little free memory for a single tile; close other "
                        "programs that use it, or take device cpu"
                    ) from None
            self._parts *= 2
            if self._placement.device.type == "cuda":
                torch.cuda.empty_cache()

    def _encoded(self, tiles: Tensor) -> tuple[Tensor, ...]:
        parts = [
            self._predictor.encode(self._resample(self._sender.send(part)))
            for part in tiles.chunk(self._parts)
        ]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))


@contextmanager
def _exact_float32(placement: Placement) -> Iterator[None]:
    """Convolutions of float32 in float32: by default CUDA rounds what they multiply to 10 bits."""
    if placement.device.type != "cuda" or placement.dtype != torch.float32:
        yield
        return
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
