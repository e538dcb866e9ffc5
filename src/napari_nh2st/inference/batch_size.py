"""Batch size on a GPU: as many tiles as fit its free memory and keep it busy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from napari_nh2st.inference.device import Placement

LEAST, MOST = 64, 256
"""Tiles of 224 px on an H100: batches of 64 have 0.87 of the speed of 1,024, of 256 have 0.97. More
than that would wait in memory, and make fewer batches for as many readers."""

_SHARE = 0.5
"""Of the free memory: other programs use it, and batches whose values are fetched late."""

_FEWEST_BATCHES = 4
"""Of a short run, so that tiles are read while others are encoded."""

_PROBED = 8, 32


class Memory(Protocol):
    """Memory of a device, while a model encodes on it."""

    def peak_bytes(self, n_tiles: int) -> float:
        """The most that is in use while so many tiles are encoded.

        Raises
        ------
        torch.OutOfMemoryError
            It is too little.
        """
        ...

    def free_bytes(self) -> float:
        """What is free, also for other programs."""
        ...


class CudaMemory:
    """Memory of a CUDA device.

    Parameters
    ----------
    encode
        Takes (n, height, width, 3) uint8 tiles on the device.
    size
        (height, width) of tiles as they are read.
    device
        Which.
    """

    def __init__(
        self, encode: Callable[[Tensor], object], size: tuple[int, int], device: torch.device
    ) -> None:
        self._encode, self._size, self._device = encode, size, device

    def peak_bytes(self, n_tiles: int) -> float:
        """See :class:`Memory`."""
        torch.cuda.reset_peak_memory_stats(self._device)
        shape = n_tiles, *self._size, 3
        self._encode(torch.zeros(shape, dtype=torch.uint8, device=self._device))
        return torch.cuda.max_memory_allocated(self._device)

    def free_bytes(self) -> float:
        """See :class:`Memory`."""
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self._device)[0]


def with_fitting_batch(placement: Placement, memory: Memory, n_tiles: int) -> Placement:
    """A placement with the batch size that its device's memory suits.

    Parameters
    ----------
    placement
        Its own batch size is not looked at.
    memory
        Of its device.
    n_tiles
        That are to be encoded in all.
    """
    few, more = _PROBED
    try:
        bytes_a_tile = (memory.peak_bytes(more) - memory.peak_bytes(few)) / (more - few)
        size = batch_size_that_fits(memory.free_bytes(), bytes_a_tile, n_tiles)
    except torch.OutOfMemoryError:  # batches are halved until they fit
        size = LEAST
    return replace(placement, batch_size=size)


def batch_size_that_fits(free_bytes: float, bytes_a_tile: float, n_tiles: int) -> int:
    """A power of two from 64 to 256.

    Free memory changes from run to run: only powers of two, so that most runs have the same batch
    size and by it the same values to the last digit.

    Parameters
    ----------
    free_bytes
        Of the device.
    bytes_a_tile
        Of them that a tile takes while it is encoded.
    n_tiles
        That are to be encoded in all.
    """
    fits = _SHARE * free_bytes / max(bytes_a_tile, 1.0)
    size = MOST
    while size > LEAST and (size > fits or size * _FEWEST_BATCHES > n_tiles):
        size //= 2
    return size
