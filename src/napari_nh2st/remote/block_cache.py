"""Blocks of remote files in memory and on disk, each up to a size."""

import hashlib
import json
import os
import tempfile
import threading
import zlib
from collections import OrderedDict
from contextlib import suppress
from functools import cache
from pathlib import Path

from napari_nh2st.cache import (
    EMPTIED_TO,
    bounded_cache_folder,
    mark_used,
    remove_least_used,
    total_bytes,
)

from .transport import Version

VARIABLE = "NH2ST_REMOTE_CACHE_GB"
"""Environment variable: GB that blocks of remote files take on disk, at most; 0 keeps none."""

_DEFAULT_GB = 4.0
_MEMORY = 64 * 1024**2
"""Bytes: what some readers look at together, and what they read ahead."""

_SUM_BYTES = 4
_LOOKED_AT_EVERY = 16
"""The size is looked at when a sixteenth of what is allowed was written."""


class BlockCache:
    """Blocks by file, version and number.

    Each block is a file with a checksum, moved into its place when it is whole: what a killed
    process left, or what was damaged since, counts as absent. Several processes may use one
    folder. Beyond the size, what was not used for longest goes.

    Parameters
    ----------
    folder
        Where they lie; made when the first is kept.
    max_bytes
        Size of all, at most; exceeded for moments by a sixteenth.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._unseen_bytes = max_bytes  # of other processes, or earlier ones
        self._is_writable = max_bytes > 0
        self._memory: OrderedDict[Path, bytes] = OrderedDict()
        self._memory_bytes = 0

    def version(self, name: str) -> Version | None:
        """The version of a file that was there last, None where it is not known."""
        try:
            size, mark = json.loads((self._of(name) / "version.json").read_bytes())
            return Version(int(size), str(mark))
        except (OSError, ValueError, TypeError):
            return None

    def note_version(self, name: str, version: Version) -> None:
        """Remember a file's version."""
        text = json.dumps([version.size, version.mark])
        self._write(self._of(name) / "version.json", text.encode())

    def get(self, name: str, version: Version, number: int) -> bytes | None:
        """A block, None where it is not there or is damaged."""
        path = self._block(name, version, number)
        with self._lock:
            if path in self._memory:
                self._memory.move_to_end(path)
                return self._memory[path]
        try:
            with path.open("rb") as file:
                data = file.read()
                last_used = os.fstat(file.fileno()).st_mtime
            mark_used(path, last_used)
        except OSError:
            return None
        body = data[_SUM_BYTES:]
        if data[:_SUM_BYTES] != _sum(body):
            return None
        self._remember(path, body)
        return body

    def put(self, name: str, version: Version, number: int, data: bytes) -> None:
        """Keep a block, on disk if that lets us."""
        path = self._block(name, version, number)
        self._remember(path, data)
        if not self._write(path, _sum(data) + data):
            return
        with self._lock:
            self._unseen_bytes += len(data)
            is_time = self._unseen_bytes * _LOOKED_AT_EVERY > self._max_bytes
            if is_time:
                self._unseen_bytes = 0
        if is_time:
            self._remove_oldest()

    def _remember(self, path: Path, data: bytes) -> None:
        with self._lock:
            self._memory_bytes += len(data) - len(self._memory.pop(path, b""))
            self._memory[path] = data
            while self._memory_bytes > _MEMORY:
                self._memory_bytes -= len(self._memory.popitem(last=False)[1])

    def _remove_oldest(self) -> None:
        files = self._files()
        if total_bytes(files) <= self._max_bytes:
            return
        remove_least_used(files, EMPTIED_TO * self._max_bytes)
        with suppress(OSError):
            for folder in self._folder.iterdir():
                with suppress(OSError):  # not empty
                    folder.rmdir()

    def _files(self) -> list[Path]:
        found: list[Path] = []
        with suppress(OSError):
            for folder in self._folder.iterdir():
                with suppress(OSError):
                    found += folder.iterdir()
        return found

    def _write(self, path: Path, data: bytes) -> bool:
        if not self._is_writable:
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            number, draft = tempfile.mkstemp(".part", dir=path.parent)
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(data)
                Path(draft).replace(path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise
        except (FileNotFoundError, PermissionError):
            # Another process removed the empty folder, or (Windows) reads the block just now.
            return False
        except OSError:  # the disk is full or went away: read on without it
            self._is_writable = False
            return False
        return True

    def _of(self, name: str) -> Path:
        return self._folder / hashlib.sha256(name.encode()).hexdigest()[:40]

    def _block(self, name: str, version: Version, number: int) -> Path:
        state = hashlib.sha256(f"{version.size}:{version.mark}".encode()).hexdigest()[:16]
        return self._of(name) / f"{state}-{number}"


def _sum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_SUM_BYTES, "little")


def block_cache() -> BlockCache:
    """The cache of this process, in the folder and of the size that are set now.

    Raises
    ------
    InputError
        The environment variable is not a number.
    """
    return _cache_of(*bounded_cache_folder("remote", VARIABLE, _DEFAULT_GB))


@cache
def _cache_of(folder: Path, max_bytes: int) -> BlockCache:
    return BlockCache(folder, max_bytes)
