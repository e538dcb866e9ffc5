"""What others have put into a folder that is written anew: it is kept."""

import shutil
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

ZARR_METADATA = (".zgroup", ".zattrs", ".zmetadata", "zarr.json")
"""Files of every group of zarr."""


def files_of_others(folder: Path, own: Collection[str]) -> list[str]:
    """Paths in a folder that are none of ours, of a whole subfolder that of itself alone.

    Parameters
    ----------
    folder
        May be missing.
    own
        Patterns of our paths in it, such as ``"config.json"`` or ``"images/*"``. All that lies
        below one of them is ours.
    """

    def others(at: str) -> Iterator[str]:
        for entry in sorted((folder / at).iterdir()):
            path = f"{at}/{entry.name}" if at else entry.name
            if any(fnmatchcase(path, pattern) for pattern in own):
                continue
            around = any(fnmatchcase(path, str(Path(pattern).parent)) for pattern in own)
            if around and entry.is_dir() and not entry.is_symlink():
                yield from others(path)
            else:
                yield path

    return list(others("")) if folder.is_dir() else []


def keep_files(folder: Path, draft: Path, paths: Collection[str]) -> None:
    """Copy files and folders into the draft of a folder; what the draft has already stays.

    Raises
    ------
    OSError
        A file cannot be read, or the disk is full.
    """

    def copy(source: str, target: str) -> None:
        if not Path(target).exists():
            shutil.copy2(source, target, follow_symlinks=False)

    for path in paths:
        source, target = folder / path, draft / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, copy_function=copy, dirs_exist_ok=True)
        else:
            copy(str(source), str(target))
