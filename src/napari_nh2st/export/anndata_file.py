"""AnnData to disk: complete, or not at all."""

import io
import shutil
import tempfile
from pathlib import Path

import h5py
import zarr
from anndata import AnnData
from anndata.io import write_elem

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
    if path.is_dir() and not _is_anndata(path):
        raise InputError(f"{path} is not an AnnData store: it is not overwritten")
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
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
        draft = folder / path.name
        if path.suffix == ".h5ad":
            draft.write_bytes(_as_hdf5(data))
        else:
            _write_zarr(data, draft)
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


def is_within(path: Path, other: Path) -> bool:
    """Whether a path is another, or lies inside it, by whatever names."""
    return path.resolve().is_relative_to(other.resolve())


def _is_anndata(folder: Path) -> bool:
    """Whether a folder is what :func:`write_anndata` writes."""
    try:
        return bool(zarr.open_group(folder, mode="r").attrs.get("encoding-type") == "anndata")
    except Exception:  # no zarr group, or a damaged one: not ours to replace
        return False


def _as_hdf5(data: AnnData) -> memoryview:
    # In memory, since HDF5 cannot close a file on a full disk: the process would crash.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_elem(file, "/", data, dataset_kwargs={"compression": "gzip"})
    return buffer.getbuffer()


def _write_zarr(data: AnnData, folder: Path) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=2)  # what all of anndata's readers read
    write_elem(group, "/", data)
    zarr.consolidate_metadata(group.store)
