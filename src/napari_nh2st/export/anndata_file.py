"""AnnData to disk: complete, or not at all."""

import shutil
import tempfile
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
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    draft = folder / path.name
    try:
        if path.suffix == ".h5ad":
            data.write_h5ad(draft, compression="gzip")
        else:
            data.write_zarr(draft)
        if path.is_dir():  # a folder cannot be replaced in one step: keep the old one till the end
            path.rename(folder / "old")
        draft.replace(path)
    except OSError as error:
        old = folder / "old"
        if old.exists() and not path.exists():
            old.rename(path)
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
