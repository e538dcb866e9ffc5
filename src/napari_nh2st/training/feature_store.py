"""Store of what was computed of tiles: on disk, up to a size, read by memory map."""

import hashlib
import json
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_nh2st.cache import (
    EMPTIED_TO,
    bounded_cache_folder,
    mark_used,
    remove_least_used,
    total_bytes,
)
from napari_nh2st.errors import InputError
from napari_nh2st.files import recover_all_in, whole_output

VARIABLE = "NH2ST_FEATURE_CACHE_GB"
"""Environment variable: GB that features take on disk, at most; 0 keeps none."""

_DEFAULT_GB = 4.0
_HEADER = 4096
"""Bytes: what a file has beside its tensors, at most."""

_SUFFIX = ".safetensors"


class FeatureStore:
    """Tensors by a key that says all they depend on.

    A key is a file, written whole or not at all, with a checksum of each tensor: what was damaged
    since counts as absent. Several processes may use one folder. Where room is needed, what was
    not used for longest goes, but for what this process has used: of a study that is larger than
    the store, part is kept, and not each section in turn thrown away before it is needed again.

    Parameters
    ----------
    folder
        Of the files.
    max_bytes
        Size of all, at most; 0 keeps none.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._used: set[str] = set()
        self._lock = threading.Lock()
        self._is_writable = max_bytes > 0

    @property
    def n_bytes(self) -> int:
        """Size of all that is kept."""
        return total_bytes(self._files())

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, mapped from their file; None where it is not there or damaged."""
        if not self.max_bytes:
            return None
        path = self._path(key)
        try:
            mark_used(path, path.stat().st_mtime)
            with safe_open(path, framework="pt") as file:
                sums = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            # One that is damaged is replaced once it was computed again.
            return None
        if sums != _checksums(tensors):
            return None
        self._used.add(path.name)
        return tensors

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> bool:
        """Keep the tensors of a key; whether there is room, and the disk lets us."""
        size = sum(tensor.nbytes for tensor in tensors.values()) + _HEADER
        with self._lock:
            if not self._is_writable or not self._make_room(size):
                return False
        path = self._path(key)
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            with whole_output(path) as draft:
                save_file(contiguous, draft, _checksums(contiguous))
        except (InputError, SafetensorError):  # the disk is full or went away: go on without it
            self._is_writable = False
            return False
        self._used.add(path.name)
        return True

    def clear(self) -> None:
        """Remove all that is kept; what is mapped just now stays readable where it is mapped."""
        remove_least_used(self._files(), 0)

    def _make_room(self, size: int) -> bool:
        if self.n_bytes + size <= self.max_bytes:
            return True
        recover_all_in(self.folder)  # drafts of killed processes
        left = remove_least_used(self._files(), EMPTIED_TO * self.max_bytes - size, keep=self._used)
        return left + size <= self.max_bytes

    def _files(self) -> list[Path]:
        with suppress(OSError):
            return list(self.folder.glob(f"*{_SUFFIX}"))
        return []

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def digest(content: Mapping[str, Any]) -> str:
    """A key for what is described by plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksums(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """CRC-32 of each tensor's bytes, as text, which is what a file's header can hold."""
    return {
        name: f"{zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data):08x}"
        for name, tensor in tensors.items()
    }


def feature_store() -> FeatureStore:
    """The store of this process, in the folder and of the size that are set now.

    Raises
    ------
    InputError
        The environment variable is not a number.
    """
    return _store_of(*bounded_cache_folder("features", VARIABLE, _DEFAULT_GB))


@cache
def _store_of(folder: Path, max_bytes: int) -> FeatureStore:
    return FeatureStore(folder, max_bytes)
