"""Files and folders that are written complete, or not at all."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_nh2st.errors import InputError


def check_place(
    path: Path,
    overwrite: bool,
    *,
    is_ours: Callable[[Path], bool] | None = None,
    kind: str = "a folder of ours",
) -> None:
    """See beforehand that something can be written at a place.

    Parameters
    ----------
    path
        Where.
    overwrite
        What is there may be replaced.
    is_ours
        Given if a folder is to be written: whether one that is there may be replaced.
    kind
        In words, what such a folder is.

    Raises
    ------
    InputError
        Something is there that may not be replaced, or the folder around it is missing or cannot
        be written to.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name or allow overwriting")
    if path.is_dir() and is_ours is None:
        raise InputError(f"{path} is a folder; give the name of a file")
    if path.is_dir() and is_ours is not None and not is_ours(path):
        raise InputError(f"{path} is not {kind}: it is not overwritten")
    if path.is_file() and is_ours is not None:
        raise InputError(f"{path} is a file; give the name of a folder")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def whole_output(path: Path) -> Iterator[Path]:
    """Write beside a place first; move it there when the block ended without an error.

    What existed under the name stays as it is until the new one is whole.

    Parameters
    ----------
    path
        File or folder to make; checked by :func:`check_place`.

    Yields
    ------
    Path
        Where to write it: on the same disk, with the same name.

    Raises
    ------
    InputError
        Writing failed, for example on a full disk.
    """
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
        draft = folder / path.name
        yield draft
        if path.is_dir():  # a folder cannot be replaced in one step: keep the old one till the end
            path.rename(folder / "old")
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if folder is not None:
            old = folder / "old"
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(folder, ignore_errors=True)
