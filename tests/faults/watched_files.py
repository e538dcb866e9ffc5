"""Operations on files: counted, and made to fail or to be the last.

:func:`watch` puts a function before every operation of this process on files below a folder:
those of :mod:`os`, and those of opened files. It is for a process that ends after its case (see
:mod:`forking`); nothing is put back.

Not seen is what libraries in C or Rust do by themselves to a file of which they were given the
name. Operations of several threads come in any order.
"""

import builtins
import errno
import functools
import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHANGING = frozenset(
    {"mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "chmod"}
    | {"truncate", "ftruncate", "fsync", "fdatasync", "write", "pwrite"}
)
_READING = frozenset(["scandir", "listdir", "stat", "lstat", "read", "pread"])


@dataclass(frozen=True)
class Operation:
    """One operation.

    Parameters
    ----------
    name
        As in :mod:`os`; ``"write"`` and ``"read"`` of opened files too.
    path
        Relative to the watched folder.
    changes
        Whether it changes what is on the disk.
    """

    name: str
    path: str
    changes: bool


Watcher = Callable[[Operation], None]


class HalfWritten(Exception):
    """Raised by a watcher: half of the data are to be written, then the error is to be raised.

    Parameters
    ----------
    then
        Called after the first half is on the disk; raises, or ends the process.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


def watch(folder: Path, watcher: Watcher) -> None:
    """Call a function before every operation on files below a folder."""
    seen = _Watched(folder, watcher)
    for name in (*_CHANGING, *_READING):
        setattr(os, name, seen.wrapped(getattr(os, name), name, name in _CHANGING))
    os.open = seen.wrapped_open(os.open)
    builtins.open = io.open = seen.opened  # type: ignore[assignment]


class _Watched:
    def __init__(self, folder: Path, watcher: Watcher) -> None:
        self._folder = str(folder.resolve())
        self._watcher = watcher
        self._lock = threading.RLock()
        self._readlink = os.readlink

    def relative(self, path: Any, directory: int | None = None) -> str | None:
        """The path below the folder; None for files elsewhere."""
        try:
            if isinstance(path, int):
                place = self._readlink(f"/proc/self/fd/{path}")
            else:
                place = os.fsdecode(path)
                if directory is not None:
                    place = f"{self._readlink(f'/proc/self/fd/{directory}')}/{place}"
        except (OSError, TypeError):
            return None
        place = os.path.abspath(place)  # noqa: PTH100 - pathlib itself is watched
        if place != self._folder and not place.startswith(self._folder + os.sep):
            return None
        return place[len(self._folder) + 1 :] or "."

    def tell(self, name: str, path: str, changes: bool) -> None:
        with self._lock:
            self._watcher(Operation(name, path, changes))

    def wrapped(self, function: Any, name: str, changes: bool) -> Any:
        @functools.wraps(function)
        def operation(*args: Any, **kwargs: Any) -> Any:
            directory = kwargs.get("dir_fd", kwargs.get("src_dir_fd"))
            path = self.relative(args[0], directory) if args else None
            if path is not None:
                try:
                    self.tell(name, path, changes)
                except HalfWritten as half:
                    if name in ("write", "pwrite"):
                        data = memoryview(args[1])
                        function(args[0], data[: len(data) // 2], *args[2:])
                    half.then()
            return function(*args, **kwargs)

        return operation

    def wrapped_open(self, function: Any) -> Any:
        @functools.wraps(function)
        def operation(path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
            place = self.relative(path, kwargs.get("dir_fd"))
            if place is not None:
                self._announce_open(place, bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
            return function(path, flags, *args, **kwargs)

        return operation

    def _announce_open(self, path: str, changes: bool) -> None:
        try:
            self.tell("open", path, changes)
        except HalfWritten as half:
            half.then()

    def opened(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """As the built-in :func:`open`, with watched files below the folder."""
        path = self.relative(file)
        if path is None:
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        writes = any(letter in mode for letter in "wax+")
        if not isinstance(file, int):
            self._announce_open(path, writes)
        raw = _RawFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        # A name that an opener chose, as tempfile's does, is known only now.
        raw.told = functools.partial(self.tell, path=self.relative(raw.fileno()) or path)
        binary = "b" in mode
        if buffering == 0 and binary:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        kind: Any = io.BufferedRandom if "+" in mode else io.BufferedReader
        if writes and "+" not in mode:
            kind = io.BufferedWriter
        buffered = kind(raw, size)
        if binary:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)
        text.mode = mode  # type: ignore[misc]
        return text


_open = io.open


class _RawFile(io.FileIO):
    told: Callable[..., None]

    def write(self, data: Any) -> int:
        try:
            self.told("write", changes=True)
        except HalfWritten as half:
            view = memoryview(data).cast("B")
            super().write(view[: len(view) // 2])
            half.then()
        return super().write(data) or 0

    def _reading(self) -> None:
        try:
            self.told("read", changes=False)
        except HalfWritten as half:
            half.then()

    def readinto(self, buffer: Any) -> int:
        self._reading()
        return super().readinto(buffer) or 0

    def readall(self) -> bytes:
        self._reading()
        return super().readall() or b""

    def read(self, size: int | None = -1) -> bytes:
        self._reading()
        return super().read(-1 if size is None else size) or b""

    def truncate(self, size: int | None = None) -> int:
        try:
            self.told("truncate", changes=True)
        except HalfWritten as half:
            half.then()
        return super().truncate(size)


class Counter:
    """Counts operations; a watcher."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def __call__(self, operation: Operation) -> None:
        self.operations.append(operation)


class CrashAt:
    """Ends the process at one of the operations that change something; a watcher.

    After one operation is before the next: there is no third place.

    Parameters
    ----------
    number
        Which, from 0.
    within
        In the middle of it: half of a write is on the disk. Else before it.
    """

    def __init__(self, number: int, within: bool) -> None:
        self._left = number
        self._within = within

    def __call__(self, operation: Operation) -> None:
        if not operation.changes:
            return
        self._left -= 1
        if self._left < 0:
            if self._within:
                raise HalfWritten(_die)
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # not one more step, whichever thread the signal reaches first


class FailAt:
    """Makes one operation fail; a watcher.

    A full disk stays full: from the operation on, all that write fail. Other errors come once.

    Parameters
    ----------
    number
        Which of all operations, from 0.
    code
        Of the error, from :mod:`errno`.
    """

    def __init__(self, number: int, code: int) -> None:
        self._left = number
        self._code = code

    def __call__(self, operation: Operation) -> None:
        self._left -= 1
        filled = self._code == errno.ENOSPC
        if self._left < 0 and filled:
            if operation.name in ("write", "pwrite", "mkdir", "open") and operation.changes:
                raise HalfWritten(self._fail)
        elif self._left == -1:
            raise HalfWritten(self._fail)

    def _fail(self) -> None:
        raise OSError(self._code, os.strerror(self._code))
