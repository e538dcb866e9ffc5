"""Compression filters of HDF5 files: those of hdf5plugin, where it is installed."""

import re
from importlib import import_module

_MISSING = re.compile(
    r"filter '?([^'()]*?)'? ?(?:\((\d+)\) ?)?is not (?:registered|available)", re.I
)


def register_filters() -> None:
    """Let h5py read Blosc, Zstandard and the like, if hdf5plugin is installed."""
    try:
        import_module("hdf5plugin")
    except ImportError:
        return


def missing_filter(error: BaseException) -> str | None:
    """What to install where reading failed for want of a filter; None for any other failure."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if _MISSING.search(text) or "can't open directory" in text.lower():
            return "it is compressed with a filter that h5py lacks; pip install hdf5plugin"
        seen = seen.__cause__ or seen.__context__
    return None
