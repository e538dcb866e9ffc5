"""Reads bytes of a file at given offsets, from several threads at once."""

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath


class FileBytes:
    """An open file, read at offsets.

    It is read and not mapped into memory: mapped pages that were touched count as memory of
    the process, so a mapped slide would seem to fill the memory while it is predicted.

    Raises
    ------
    InputError
        It is a pipe, a socket or a device, which would block or never end.
    """

    def __init__(self, path: Path) -> None:
        check_regular(path)
        self.path = path
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer at the end of the file.

        A damaged file may ask for more than there is, or from behind its end.

        Raises
        ------
        OSError
            The file was closed or cannot be read.
        """
        size = min(size, self.size - offset)
        if offset < 0 or size <= 0:
            return b""
        try:
            if hasattr(os, "pread"):
                return os.pread(self._file.fileno(), size, offset)
            with self._lock:
                self._file.seek(offset)
                return self._file.read(size)
        except ValueError:  # what a closed file raises
            raise OSError(f"{self.path.name} is closed") from None

    def close(self) -> None:
        """Close the file; reads fail from here on."""
        self._file.close()


class RemoteBytes:
    """A file at a URL, read at offsets as `FileBytes` is.

    Raises
    ------
    RemoteError
        It cannot be asked for.
    """

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self._file = path.file()
        self._is_open = True
        self.size = self._file.size

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer at the end of the file.

        Raises
        ------
        OSError
            It was closed.
        RemoteError
            They cannot be read now, or the file was changed.
        """
        if not self._is_open:
            raise OSError(f"{self.path.name} is closed")
        return self._file.read(offset, size)

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch some ranges, (offset, bytes), several at a time; they are read soon."""
        self._file.prefetch(ranges)

    def close(self) -> None:
        """Reads fail from here on."""
        self._is_open = False


SlideBytes: TypeAlias = FileBytes | RemoteBytes


def open_bytes(path: SlidePath) -> SlideBytes:
    """The bytes of a file of this machine or at a URL."""
    return RemoteBytes(path) if isinstance(path, RemotePath) else FileBytes(path)
