"""Files of weights: what they hold, before it is read, and without running anything."""

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from napari_nh2st.errors import InputError, first_line

Shapes = Mapping[str, tuple[int, ...]]

_LARGEST_WEIGHTS = 4 * 1024**3
"""Bytes; the published network has 0.2 GB."""

_LARGEST_HEADER = 16 * 1024**2
"""Bytes; that of the published network has 15 kB."""


def checked_shapes(path: Path, described: Mapping[str, Any], where: str) -> Shapes:
    """Names and shapes of the tensors of the file that a config describes.

    Parameters
    ----------
    path
        The file.
    described
        Has its ``sha256``.
    where
        Field of the config that says so.

    Raises
    ------
    InputError
        It is too large or another file, or as :func:`safetensors_shapes`.
    """
    if (size := path.stat().st_size) > _LARGEST_WEIGHTS:
        raise InputError(
            f"{path} has {size / 1024**3:.1f} GB; weights have at most "
            f"{_LARGEST_WEIGHTS / 1024**3:.0f}"
        )
    found, expected = file_sha256(path), described["sha256"]
    if found != expected:
        raise InputError(
            f"{path} is not the file that config.json was written with ({where}.sha256 "
            f"{expected[:12]}…, found {found[:12]}…). Copy the folder again."
        )
    return safetensors_shapes(path)


def read_finite(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file whose shapes were checked.

    Raises
    ------
    InputError
        A value is not finite.
    """
    state = load_file(path)
    check_finite(state, str(path))
    return state


def check_finite(state: Mapping[str, Tensor], where: str) -> None:
    """See that every value is a number.

    Raises
    ------
    InputError
        Naming the tensor.
    """
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{where}: {name} has values that are not finite")


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safetensors_shapes(path: Path) -> Shapes:
    """Names and shapes of a file's tensors, from its header alone.

    Raises
    ------
    InputError
        It is damaged or not a safetensors file, or has tensors of another type than numbers.
    """
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _LARGEST_HEADER:
        raise InputError(
            f"{path} is not a safetensors file: its header would have {header:,} bytes"
        )
    shapes = {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  # it is no mapping
                part = file.get_slice(name)
                if part.get_dtype() not in ("F64", "F32", "F16", "BF16", "I64", "I32"):
                    raise InputError(f"{path}: {name} is of type {part.get_dtype()}")
                shapes[str(name)] = tuple(part.get_shape())
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from None
    return shapes


def read_state_dict(path: Path, keys: tuple[str, ...] = ()) -> Mapping[str, Tensor]:
    """Read the tensors of a file: safetensors by its suffix, else one that torch wrote.

    The latter is a pickle; with ``weights_only=True`` it builds tensors and plain containers and
    executes nothing.

    Parameters
    ----------
    path
        The file.
    keys
        Where the tensors may lie; the first that is there is taken, else the file's own top level.

    Returns
    -------
    Mapping
        Each tensor is on the CPU and no larger than what the file stores of it.

    Raises
    ------
    InputError
        It cannot be read, holds more than weights, or says that it holds more than it does.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path} cannot be read: it is not a file")
    try:
        content: Any
        if path.suffix.lower() == ".safetensors":
            safetensors_shapes(path)
            content = load_file(path)
        else:
            _check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise InputError(
            f"{path} holds more than weights, or is not a checkpoint. Nothing in it was executed; "
            f"save it again as {{'state_dict': network.state_dict()}}."
        ) from None
    except Exception as error:  # whatever a file that is none does to its reader
        reason = first_line(error)
        raise InputError(f"{path} is damaged or not a checkpoint: {reason}") from None
    for key in keys:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not all(map(_is_named_tensor, content.items())):
        raise InputError(f"{path} has no state_dict of tensors")
    for name, tensor in content.items():
        if not _is_stored(tensor):
            raise InputError(f"{path}: {name} is larger than the data that the file stores for it")
    return content


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """Names and shapes of tensors."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def misfit(expected: Shapes, found: Shapes) -> str | None:
    """The first tensor that is missing, does not belong, or has another shape, in words."""
    missing, unknown = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing:
        return f"it lacks {min(missing)}"
    if unknown:
        return f"it has {min(unknown)}, which does not belong"
    for name, shape in expected.items():
        if found[name] != shape:
            return f"{name} has shape {found[name]}, panel and hyperparameters make {shape}"
    return None


def _check_archive(path: Path) -> None:
    """See that nothing grows when it is read: torch itself stores without compression."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if compressed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise InputError(f"{path} is compressed, which torch's checkpoints never are")


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, Tensor)


def _is_stored(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()
