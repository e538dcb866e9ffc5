"""File operations of a block of code: written down, refused, or cut short by a kill, one by one."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from napari_nh2st.errors import InputError

KILLED = 77
"""Exit status of a process that :func:`killed_at` ended."""

EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "open")
"""Audit events of what changes a disk, see the Python library reference; fsync has none."""

READS = ("open", "os.listdir", "os.scandir")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork of this process")


def writes(event: str, args: tuple[Any, ...], below: Path) -> bool:
    """Whether an audit event changes something in a folder."""
    if event not in EVENTS or not isinstance(args[0], str | bytes | os.PathLike):
        return False
    if event == "open" and not args[2] & (os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR):
        return False
    return Path(os.fsdecode(args[0])).is_relative_to(below)


def is_read(event: str, args: tuple[Any, ...], below: Path) -> bool:
    """Whether an audit event reads something in a folder."""
    if event not in READS or not isinstance(args[0], str | bytes | os.PathLike):
        return False
    return Path(os.fsdecode(args[0])).is_relative_to(below)


@contextmanager
def recorded(folder: Path) -> Iterator[list[tuple[str, ...]]]:
    """The fsyncs, renames and removals below a folder in their order, paths relative to it.

    An audit hook stays as long as the process, so this one falls silent after the block.
    """
    found: list[tuple[str, ...]] = []
    names: dict[int, Path] = {}
    listening = True

    def told(path: Any) -> str:
        return Path(os.fsdecode(path)).relative_to(folder).as_posix()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not listening or event not in {"os.rename", "shutil.rmtree"}:
            return
        if Path(os.fsdecode(args[0])).is_relative_to(folder):
            paths = args[:2] if event == "os.rename" else args[:1]
            found.append((event.rpartition(".")[2], *map(told, paths)))

    open_, fsync = os.open, os.fsync

    def opened(path: Any, *args: Any, **options: Any) -> int:
        descriptor = open_(path, *args, **options)
        names[descriptor] = Path(os.fsdecode(path))
        return descriptor

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        if names[descriptor].is_relative_to(folder):
            found.append(("fsync", told(names[descriptor])))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", opened)
        patched.setattr(os, "fsync", synced)
        sys.addaudithook(hook)
        try:
            yield found
        finally:
            listening = False


def killed_at(
    number: int,
    folder: Path,
    work: Callable[[], object],
    error: OSError | None = None,
    reads: bool = False,
) -> bool:
    """Run something in a fork of this process that is killed at a file operation.

    Parameters
    ----------
    number
        Which of the operations in the folder, from 1.
    folder
        What happens elsewhere is not counted.
    work
        To run.
    error
        Raise this there and go on, instead of a kill. ``work`` may end in an InputError then.
    reads
        Count what reads as well.

    Returns
    -------
    bool
        Whether it had so many operations.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            status = _in_fork(number, folder, work, error, reads)
        finally:
            os._exit(status)
    _, waited = os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(waited)
    assert status in {0, KILLED}, f"operation {number} ended with status {status}"
    return status == KILLED


def _in_fork(
    number: int, folder: Path, work: Callable[[], object], error: OSError | None, reads: bool
) -> int:
    count = 0

    def happens() -> None:
        nonlocal count
        count += 1
        if count == number:
            if error is not None:
                raise error
            os._exit(KILLED)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if writes(event, args, folder) or (reads and is_read(event, args, folder)):
            happens()

    fsync = os.fsync

    def synced(descriptor: int) -> None:
        happens()
        fsync(descriptor)

    os.fsync = synced
    sys.addaudithook(hook)
    try:
        work()
    except InputError:
        if error is None:
            raise
    return KILLED if count >= number else 0
