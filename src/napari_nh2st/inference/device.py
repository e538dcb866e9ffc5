"""Device and precision of a run."""

import os
from dataclasses import dataclass, replace

import torch

from napari_nh2st.errors import InputError
from napari_nh2st.model.int8 import has_int8
from napari_nh2st.prediction.schema import RunNotes

PRECISION_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.float32,
}


@dataclass(frozen=True)
class Placement:
    """Where and how the network runs.

    Parameters
    ----------
    device
        torch's device.
    dtype
        Type of the convolutions.
    batch_size
        Tiles per step.
    reader_threads
        Threads that decode the slide.
    is_int8
        Whether the encoder computes in int8; the rest does in ``dtype``.
    """

    device: torch.device
    dtype: torch.dtype
    batch_size: int
    reader_threads: int
    is_int8: bool = False

    @property
    def precision(self) -> str:
        """The name of ``dtype``, or ``"int8"``."""
        return "int8" if self.is_int8 else str(self.dtype).removeprefix("torch.")

    def with_precision(self, precision: str) -> "Placement":
        """The same in another precision that this device has, but for int8."""
        return replace(self, dtype=PRECISION_DTYPES[precision], is_int8=False)

    def notes(self) -> RunNotes:
        """Device and precision, as a prediction records them."""
        return {"device": str(self.device), "precision": self.precision}


def available_devices() -> dict[str, str]:
    """The devices of this machine: torch's name → what it is, best first."""
    devices = {
        f"cuda:{i}" if i else "cuda": torch.cuda.get_device_name(i)
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    }
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    return devices | {"cpu": f"{torch.get_num_threads()} threads"}


def missing_devices() -> dict[str, str]:
    """The kinds of devices that this machine or this torch lacks: torch's name → why."""
    missing = {}
    if not torch.cuda.is_available():
        missing["cuda"] = (
            "this build of torch is without CUDA"
            if torch.version.cuda is None
            else "no NVIDIA GPU was found, or its driver does not suit this build of torch"
        )
    if not torch.backends.mps.is_available():
        missing["mps"] = (
            "this macOS is too old for it"
            if torch.backends.mps.is_built()
            else "only Apple silicon has it"
        )
    return missing


def place(
    device: str, precision: str, batch_size: int | None, reader_threads: int | None
) -> Placement:
    """Settle what was left to ``"auto"`` or None.

    Raises
    ------
    InputError
        The device is not there, or cannot run the precision.
    """
    there = available_devices()
    chosen = next(iter(there)) if device == "auto" else device
    if chosen == "cuda:0":
        chosen = "cuda"
    if chosen not in there:
        raise InputError(
            f"device {device!r} does not exist; this machine has {', '.join(there)}"
            + (
                " (this build of torch has no CUDA)"
                if device.startswith("cuda") and torch.version.cuda is None
                else ""
            )
        )
    on_cpu = chosen == "cpu"
    if precision == "auto":
        dtype = _fast_dtype(chosen)
    elif precision not in PRECISION_DTYPES:
        raise InputError(
            f"precision {precision!r} is not one of auto, {', '.join(PRECISION_DTYPES)}"
        )
    else:
        dtype = PRECISION_DTYPES[precision]
    if on_cpu and dtype == torch.float16:
        raise InputError(
            "float16 on a CPU is many times slower than float32; use auto, float32 or bfloat16"
        )
    if precision == "int8" and not (on_cpu and has_int8()):
        raise InputError(
            "precision int8 needs an x86 CPU and a torch that supports it, which is not so for "
            f"{chosen} here; take auto"
        )
    cores = os.cpu_count() or 1
    return Placement(
        torch.device(chosen),
        dtype,
        batch_size or (16 if on_cpu else 256),
        # On a CPU the network wants the cores: decoding takes a hundredth of its time. More than 8
        # threads wait for the interpreter's lock, and read less.
        reader_threads or (min(2, cores) if on_cpu else min(8, cores)),
        precision == "int8",
    )


def _fast_dtype(device: str) -> torch.dtype:
    if device.startswith("cuda"):
        # Without bfloat16 in hardware (before Ampere) it is emulated, float16 is not.
        capable = torch.cuda.get_device_capability(torch.device(device)) >= (8, 0)
        return torch.bfloat16 if capable else torch.float16
    if device == "mps":
        return torch.float32
    # A CPU without these instructions emulates bfloat16, some 8 times slower than float32.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32
