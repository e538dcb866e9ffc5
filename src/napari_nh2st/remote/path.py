"""Paths of remote files and OME-Zarr folders, used as `pathlib.Path` is where slides are read."""

import io
import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from napari_nh2st.errors import RemoteError

from .file import RemoteFile, in_threads
from .transport import Forbidden
from .urls import HIDDEN_QUERY, child_url, file_name, is_url, parent_url, restored, shown_url

_ZARR_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


class RemotePath:
    """A URL with the part of `pathlib.Path` that reading slides needs.

    As text it has neither user, password nor query, which may be keys: `url` has all. Files are
    opened once, for this path and all that are made from it, so that they stay of one version;
    a path that was unpickled, or :meth:`again`, opens them anew.

    Parameters
    ----------
    url
        The whole URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened = _OpenedFiles()

    def __str__(self) -> str:
        return shown_url(self.url)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (self.url,)

    def __truediv__(self, name: str) -> "RemotePath":
        return self._sharing(child_url(self.url, name)) if str(name) else self

    @property
    def name(self) -> str:
        """The last part, as a file would be called."""
        return file_name(self.url)

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's suffix."""
        return PurePosixPath(self.name).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """Protocol, host and parts of the path."""
        return PurePosixPath(str(self)).parts

    @property
    def parent(self) -> "RemotePath":
        """The folder that it lies in."""
        return self._sharing(parent_url(self.url))

    @property
    def parents(self) -> "tuple[RemotePath, ...]":
        """The folders that it lies in, the nearest first."""
        folders = [self]
        while urlsplit(folders[-1].url).path.strip("/"):
            folders.append(folders[-1].parent)
        return tuple(folders[1:])

    def absolute(self) -> "RemotePath":
        """Itself."""
        return self

    def resolve(self) -> "RemotePath":
        """Itself."""
        return self

    def again(self) -> "RemotePath":
        """The same path, of the files as they are now."""
        return RemotePath(self.url)

    def file(self) -> RemoteFile:
        """What it leads to.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        RemoteError
            It cannot be asked for, or it is a URL as it is shown, without its query.
        """
        if self.url.endswith(HIDDEN_QUERY):
            raise RemoteError(
                f"{self}: the rest of the URL is not stored. Give the whole URL again."
            )
        return self._opened.file(self.url)

    def exists(self) -> bool:
        """Whether there is a file, or a zarr folder."""
        return self._is_there() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is a file that we may read.

        Some servers do not say whether a file is not there, or only not for us.
        """
        try:
            return self._is_there()
        except Forbidden:
            return False

    def is_dir(self) -> bool:
        """Whether it is a zarr folder: servers have no others."""
        is_named_so = urlsplit(self.url).path.endswith("/") or self.suffix.lower() == ".zarr"
        if not is_named_so and self.is_file():
            return False
        return any((self / name).is_file() for name in _ZARR_METADATA)

    def stat(self) -> os.stat_result:
        """Mode and size of the file; other values are zero.

        Raises
        ------
        FileNotFoundError, RemoteError
            As :meth:`file`.
        """
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, self.file().size, 0, 0, 0))

    def open(self, mode: str = "rb", buffering: int = -1) -> Any:
        """Open the file for reading bytes.

        Raises
        ------
        FileNotFoundError, RemoteError
            As :meth:`file`.
        """
        if mode != "rb":
            raise ValueError(f"a remote file is read as bytes, not opened as {mode!r}")
        stream = self.file().stream()
        return stream if buffering == 0 else io.BufferedReader(stream)

    def read_bytes(self) -> bytes:
        """All bytes of the file."""
        file = self.file()
        return file.read(0, file.size)

    def _is_there(self) -> bool:
        try:
            self.file()
        except FileNotFoundError:
            return False
        return True

    def _sharing(self, url: str) -> "RemotePath":
        path = RemotePath(url)
        path._opened = self._opened
        return path


def prefetch_files(paths: Iterable[RemotePath], *, whole: bool) -> None:
    """Open files, several at a time; those that are not there are no error.

    Parameters
    ----------
    paths
        The files.
    whole
        Fetch all of each, not the beginning alone.
    """

    def fetch(path: RemotePath) -> None:
        with suppress(FileNotFoundError):
            file = path.file()
            if whole:
                file.prefetch([(0, file.size)])

    in_threads(fetch, paths)


SlidePath: TypeAlias = Path | RemotePath
"""Where a slide is."""


def slide_path(place: "str | os.PathLike[str] | RemotePath") -> SlidePath:
    """A path of this machine, or what is at a URL.

    Parameters
    ----------
    place
        A path; a URL such as ``https://…`` or ``s3://…``; ``file://…`` is a path.
    """
    if isinstance(place, RemotePath):
        return place
    text = restored(os.fspath(place))
    if not is_url(text):
        return Path(place)
    parts = urlsplit(text)
    if parts.scheme.lower() == "file":
        from urllib.request import url2pathname

        return Path(url2pathname(parts.path))
    return RemotePath(text)


class _OpenedFiles:
    """Remote files that were opened together, and those found missing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._files: dict[str, RemoteFile | FileNotFoundError | Forbidden] = {}

    def file(self, url: str) -> RemoteFile:
        """The file at a URL, opened the first time."""
        with self._lock:
            lock = self._locks.setdefault(url, threading.Lock())
        with lock:
            if url not in self._files:
                try:
                    self._files[url] = RemoteFile(url)
                except (FileNotFoundError, Forbidden) as error:
                    self._files[url] = error
            found = self._files[url]
        if isinstance(found, RemoteFile):
            return found
        raise found.with_traceback(None)
