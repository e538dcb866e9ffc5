"""Folder of what can be made again: coarse levels, the sample slide."""

import os
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
    base = os.environ.get("NH2ST_CACHE") or platformdirs.user_cache_dir("napari-nh2st", False)
    folder = Path(base) / subfolder
    folder.mkdir(parents=True, exist_ok=True)
    return folder
