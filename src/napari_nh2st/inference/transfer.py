"""Transfers between host and device that do not keep a GPU waiting.

What a CUDA device is sent must lie in page-locked memory for the copy to run beside its work, and
what it sends back must be asked for at once, not when it is wanted: a copy waits for all that was
given to the device before it.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A small array on a device, without waiting for the device."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Sender:
    """Brings tiles to a device; on CUDA, while it works on others.

    Parameters
    ----------
    device
        Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def empty(self, *shape: int) -> Tensor:
        """Memory of uint8 to read tiles into, of the kind that is sent fastest."""
        if self._copies is not None:
            try:
                return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
            except RuntimeError:  # the system locks no more memory
                pass
        return torch.empty(shape, dtype=torch.uint8)

    def send(self, tiles: Tensor) -> Tensor:
        """Tiles on the device, to be used by what is given to it from now on."""
        if self._copies is None:
            return tiles.to(self._device)
        with torch.cuda.stream(self._copies):
            sent = tiles.to(self._device, non_blocking=True)
        work = torch.cuda.current_stream(self._device)
        work.wait_stream(self._copies)
        sent.record_stream(work)  # its memory is not given away before that work is done
        return sent


class Fetched:
    """Values on their way from a device.

    Parameters
    ----------
    values
        (n, columns), of any float type.
    """

    def __init__(self, values: Tensor) -> None:
        values = values.float()
        self._arrived: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=torch.float32, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(values.device))
        else:
            self._values = values

    def numpy(self) -> NDArray[np.float32]:
        """The values, float32, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return np.asarray(self._values.cpu().numpy(), np.float32)
