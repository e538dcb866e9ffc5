"""Codecs of zarr stores that are refused before anything is decoded."""

import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.remote import SlidePath

_METADATA = ("zarr.json", ".zarray", ".zmetadata")
_PIPELINES = frozenset({"filters", "compressor", "codecs"})
_LARGEST_METADATA = 32 * 1024**2
"""Bytes; consolidated metadata of a large store have a few MB."""


def refuse_pickles(folder: SlidePath, parts: Iterable[str] | None = None) -> None:
    """See that no array of a zarr store is stored as pickles, which run code when they are read.

    Current numcodecs decode none either; older ones do.

    Parameters
    ----------
    folder
        Folder of the store, zarr 2 or 3.
    parts
        Paths of the arrays that will be read; all of the store's by default.

    Raises
    ------
    InputError
        There is such an array, or metadata too large to look at.
    """
    holders: Iterable[SlidePath]
    if parts is not None:
        holders = (folder, *(folder / part for part in parts))
    else:
        assert isinstance(folder, Path)  # a server does not say what it has
        holders = _holders(folder)
    for holder in holders:
        for name in _METADATA:
            if _names_pickle(holder / name):
                raise InputError(
                    f"{holder / name} says that values are stored as pickles, which can run any "
                    "code when they are read, so they are not read. Write the store again "
                    "without pickles."
                )


def _holders(folder: Path) -> Iterator[Path]:
    """The store's groups and arrays; not the folders of chunks below an array."""
    seen = set()
    for place, inner, files in os.walk(folder, followlinks=True):
        resolved = os.path.realpath(place)
        if resolved in seen:  # links may lead in a circle
            inner.clear()
            continue
        seen.add(resolved)
        if set(_METADATA) & set(files):
            yield Path(place)
        if _is_array(Path(place), files):
            inner.clear()


def _is_array(place: Path, files: Collection[str]) -> bool:
    """Whether chunks lie below, and no other arrays."""
    if "zarr.json" in files:
        content = _read(place / "zarr.json")
        return isinstance(content, dict) and content.get("node_type") == "array"
    return ".zarray" in files and ".zgroup" not in files


def _read(file: SlidePath) -> Any:
    """The content of a metadata file; None where it is no JSON, as who opens the store will say."""
    try:
        if not file.is_file():
            return None
        size = file.stat().st_size
        if size > _LARGEST_METADATA:
            raise InputError(
                f"{file} has {size / 1024**2:.0f} MB of metadata; at most "
                f"{_LARGEST_METADATA // 1024**2} MB are read."
            )
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _names_pickle(file: SlidePath) -> bool:
    waiting: list[tuple[Any, bool]] = [(_read(file), False)]
    while waiting:
        value, in_pipeline = waiting.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                if in_pipeline and key in ("id", "name") and str(inner).endswith("pickle"):
                    return True
                waiting.append((inner, in_pipeline or key in _PIPELINES))
        elif isinstance(value, list):
            waiting += [(inner, in_pipeline) for inner in value]
    return False
