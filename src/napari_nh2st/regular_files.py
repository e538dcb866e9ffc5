"""Refuses named pipes, sockets and devices, which would block whoever opens them or never end."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from napari_nh2st.errors import InputError

ZARR_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
"""Files of a zarr folder that are read before any of its data."""

_MOST_ENTRIES = 50_000
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def special_kind(path: Path) -> str | None:
    """What a path is in words if it is a pipe, a socket or a device; None if it is not there."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def check_regular(path: Path, *, whole_folder: bool = False) -> None:
    """Refuse what is no regular file, before anything opens it.

    Parameters
    ----------
    path
        A file; or a folder, of which the metadata of a zarr folder are looked at.
    whole_folder
        Look at all that is in the folder, up to 50,000 entries.

    Raises
    ------
    InputError
        A pipe, a socket or a device; the message says which and where.
    """
    inside = _all_in(path) if whole_folder else (path / name for name in ZARR_METADATA)
    for file in (path, *(inside if path.is_dir() else ())):
        kind = special_kind(file)
        if kind is not None:
            raise InputError(f"{file}: is {kind}, not a file. Give the file itself.")


def _all_in(folder: Path) -> Iterator[Path]:
    n_entries = 0
    for parent, folders, names in os.walk(folder):
        n_entries += len(folders) + len(names)
        if n_entries > _MOST_ENTRIES:
            return
        yield from (Path(parent) / name for name in names)
