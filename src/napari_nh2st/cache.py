"""Folder of what can be made again: coarse levels, features, speeds, the sample slide."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs


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
