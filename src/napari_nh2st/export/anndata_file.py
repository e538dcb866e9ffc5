"""AnnData to disk: complete, or not at all."""

import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path

from anndata import AnnData

from napari_nh2st.errors import InputError

SUFFIXES = (".h5ad", ".zarr")


def check_output(path: Path, overwrite: bool) -> None:
    """See, before hours of work, that an output can be written.

    Raises
    ------
    InputError
        The suffix is neither .h5ad nor .zarr, the path exists and may not be overwritten, or its
        folder is missing or cannot be written to.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: the output must end in .h5ad or .zarr")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name or allow overwriting")
    if path.suffix == ".h5ad" and path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def write_anndata(data: AnnData, path: Path, overwrite: bool = False) -> None:
    """Write .h5ad or .zarr beside its place first, then move it there.

    What existed under the name stays as it is until the new one is whole.

    Raises
    ------
    InputError
        As :func:`check_output`, or writing failed, for example on a full disk.
    """
    check_output(path, overwrite)
    _check_space(data, path)
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
        draft = folder / path.name
        if path.suffix == ".h5ad":
            data.write_h5ad(draft, compression="gzip")
        else:
            with warnings.catch_warnings():
                # anndata's default format is what its readers read; that it will change is no
                # news for users.
                warnings.filterwarnings("ignore", message="Writing zarr v2 data")
                data.write_zarr(draft)
        if path.is_dir():  # a folder cannot be replaced in one step: keep the old one till the end
            path.rename(folder / "old")
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # h5py raises the latter where closing fails
        raise InputError(f"{path} cannot be written: {_reason(error)}") from error
    finally:
        if folder is not None:
            old = folder / "old"
            if old.exists() and not path.exists():
                old.rename(path)
            shutil.rmtree(folder, ignore_errors=True)


def _check_space(data: AnnData, path: Path) -> None:
    # HDF5 cannot close a file on a full disk, and says so at length on stderr: ask first.
    needed = getattr(data.X, "nbytes", 0)
    free = shutil.disk_usage(path.absolute().parent).free
    if free < needed:
        raise InputError(
            f"{path} cannot be written: it needs up to {needed / 1e6:.0f} MB, and the disk has "
            f"{free / 1e6:.0f} MB left"
        )


def _reason(error: OSError | RuntimeError) -> str:
    """The system's words for an error; HDF5 hides their number in a page of text."""
    number = getattr(error, "errno", None)
    if number is None and (match := re.search(r"errno = (\d+)", str(error))):
        number = int(match[1])
    return os.strerror(number) if number else str(error)
