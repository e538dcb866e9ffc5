"""Folders of what can be made again, up to a size: coarse levels, remote blocks, features."""

import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from napari_nh2st.errors import InputError

EMPTIED_TO = 0.9
"""Where room is needed, so much of what is allowed stays: not every new file looks for room."""

_GB = 10**9
_TOUCHED_EVERY_S = 60


def cache_folder(subfolder: str) -> Path:
    """The folder for one kind of cached files, made if it is not there.

    Parameters
    ----------
    subfolder
        Name of the kind, for example ``"levels"``.

    Returns
    -------
    Path
        Below ``$NH2ST_CACHE`` where that is set, else below the platform's user cache folder.
    """
    folder = cache_base() / subfolder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_base() -> Path:
    """The folder of all kinds, which need not be there."""
    return Path(os.environ.get("NH2ST_CACHE") or platformdirs.user_cache_dir("napari-nh2st", False))


@dataclass(frozen=True)
class CachedKind:
    """Files of one kind in the cache.

    Parameters
    ----------
    name
        Of the kind, and of its folder.
    folder
        Where they lie.
    n_files, n_bytes
        How many, and their size.
    """

    name: str
    folder: Path
    n_files: int
    n_bytes: int


def cached_kinds() -> tuple[CachedKind, ...]:
    """What the cache holds, by name; kinds without a file are left out."""
    found = []
    with suppress(OSError):
        for folder in sorted(path for path in cache_base().iterdir() if path.is_dir()):
            sizes = [size for path, size in _files(folder)]
            if sizes:
                found.append(CachedKind(folder.name, folder, len(sizes), sum(sizes)))
    return tuple(found)


def clear_cached(name: str) -> None:
    """Delete the files of a kind; what cannot be deleted, since it is in use, stays.

    Links are deleted, never what they lead to.
    """
    base = cache_base() / name
    for parent, folders, names in os.walk(base, topdown=False):
        for each in names:
            with suppress(OSError):
                Path(parent, each).unlink()
        for each in folders:
            path = Path(parent, each)
            with suppress(OSError):
                path.unlink() if path.is_symlink() else path.rmdir()


def _files(folder: Path) -> list[tuple[Path, int]]:
    """Files below a folder with their sizes; what vanishes meanwhile is left out."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            with suppress(OSError):
                found.append((path, path.lstat().st_size))
    return found


def bounded_cache_folder(subfolder: str, variable: str, default_gb: float) -> tuple[Path, int]:
    """The folder for one kind of cached files, and the bytes that they may take.

    Parameters
    ----------
    subfolder
        Name of the kind.
    variable
        Environment variable with another number of GB; 0 keeps none.
    default_gb
        GB where it is not set.

    Returns
    -------
    folder, n_bytes
        0 bytes where there can be no such folder.

    Raises
    ------
    InputError
        The environment variable is not a number.
    """
    text = os.environ.get(variable, "")
    try:
        gigabytes = float(text) if text else default_gb
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < float("inf"):
        raise InputError(f"The environment variable {variable} must be a number of GB, not {text}.")
    try:
        return cache_folder(subfolder), int(gigabytes * _GB)
    except OSError:
        return Path(subfolder), 0


def mark_used(path: Path, last_used_s: float) -> None:
    """Note in a file's time that it was used, unless that was noted a minute ago.

    Parameters
    ----------
    last_used_s
        Its time of modification, in seconds.
    """
    if time.time() - last_used_s > _TOUCHED_EVERY_S:
        os.utime(path)


def total_bytes(files: Iterable[Path]) -> int:
    """Size of files; what vanishes meanwhile counts nothing."""
    return sum(size for _, size, _ in _states(files))


def remove_least_used(files: Iterable[Path], most_bytes: float, keep: Collection[str] = ()) -> int:
    """Remove files, those not used for longest first, until the rest is small enough.

    Parameters
    ----------
    files
        All that count.
    most_bytes
        What those that stay may take together.
    keep
        Names of files that stay.

    Returns
    -------
    int
        Bytes of those that stay.
    """
    found = sorted(_states(files))
    total = sum(size for _, size, _ in found)
    for _, size, path in found:
        if total <= most_bytes:
            break
        if path.name in keep:
            continue
        with suppress(OSError):  # another process removed it, or (Windows) reads it just now
            path.unlink()
            total -= size
    return total


def _states(files: Iterable[Path]) -> list[tuple[int, int, Path]]:
    """Time of use, bytes and path of each file."""
    found = []
    for path in files:
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime_ns, about.st_size, path))
    return found
