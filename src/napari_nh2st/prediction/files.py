"""Reading and writing AnnData files."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.experimental import read_dispatched, write_dispatched
from anndata.io import read_elem, write_elem
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.files import check_place, recover, whole_output
from napari_nh2st.files_of_others import ZARR_METADATA, files_of_others, keep_files
from napari_nh2st.prediction import hdf5, zarr_values
from napari_nh2st.prediction.hdf5 import new_hdf5
from napari_nh2st.prediction.schema import MARK, named_layers
from napari_nh2st.prediction.stored_names import with_stored_names
from napari_nh2st.prediction.value_arrays import is_by_gene
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import SlidePath
from napari_nh2st.zarr_codecs import refuse_pickles

SUFFIXES = (".h5ad", ".zarr")

ANNDATA_PARTS = (
    *ZARR_METADATA,
    *("X", "layers", "obs", "obsm", "obsp", "raw", "uns", "var", "varm", "varp"),
)
"""What lies in a store of AnnData."""

TABLE = "tables/table"
"""Where a SpatialData store or an OME-Zarr image of ours has its AnnData."""


def check_output(path: str | os.PathLike[str], overwrite: bool, mark: str = MARK) -> None:
    """Check, before hours of work, that an output can be written.

    Parameters
    ----------
    path
        Output to write, ending in ``.h5ad`` or ``.zarr``.
    overwrite
        Whether an existing output may be replaced, if its ``uns`` has the mark. Other files in its
        folder are kept.
    mark
        Key of ``uns``; by default that of a prediction, which measured data do not have.

    Raises
    ------
    InputError
        The suffix is neither .h5ad nor .zarr, the path exists and may not be overwritten or is not
        a prediction, or its folder is missing or cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: the output must end in .h5ad or .zarr")
    check_place(
        path,
        overwrite,
        is_ours=lambda place: _has_mark(place, mark),
        kind="a prediction that NH2ST wrote",
        folder=path.suffix.lower() == ".zarr",
    )


def write_anndata(
    data: AnnData, path: str | os.PathLike[str], overwrite: bool = False, mark: str = MARK
) -> None:
    """Write .h5ad or .zarr, complete or not at all; see :func:`check_output`.

    Raises
    ------
    InputError
        As for :func:`check_output`, or writing failed, for example on a full disk.
    """
    path = Path(path)
    check_output(path, overwrite, mark)
    others = files_of_others(path, ANNDATA_PARTS)
    with whole_output(path) as draft:
        if path.suffix.lower() == ".h5ad":
            _write_hdf5(data, draft)
        else:
            _write_zarr(data, draft)
            keep_files(path, draft, others)


def read_anndata_file(path: str | os.PathLike[str]) -> AnnData:
    """Read an AnnData file, or the AnnData of a SpatialData or OME-Zarr that this package wrote.

    Parameters
    ----------
    path
        ``.h5ad``, or the folder of an AnnData or SpatialData store or of an OME-Zarr image.

    Raises
    ------
    InputError
        The file does not exist or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        recover(path)  # a kill while a folder was replaced leaves none under its name
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    check_regular(path, whole_folder=True)
    if path.is_dir() and not (is_anndata_store(path) or has_anndata_table(path)):
        raise InputError(f"{path} holds no AnnData; give an .h5ad or an AnnData .zarr")
    if path.is_dir():
        refuse_pickles(path)
    try:
        if path.is_dir():
            return _read_zarr(path if is_anndata_store(path) else path / TABLE)
        return _read_hdf5(path)
    except Exception as error:
        # anndata, h5py and zarr raise whatever they meet in a damaged file.
        reason = first_line(error)
        raise InputError(f"{path} cannot be read as AnnData ({reason})") from error


def read_without_values(path: Path) -> AnnData:
    """Read ``obs``, ``var`` and ``uns["nh2st"]`` of a prediction; its values stay on disk.

    Parameters
    ----------
    path
        ``.h5ad`` or ``.zarr`` that this package wrote.

    Raises
    ------
    InputError
        It is not such a prediction, or cannot be read.
    """
    if path.is_dir():
        refuse_pickles(path)
    try:
        group = zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r")
        with closing(group) if isinstance(group, h5py.File) else nullcontext():
            return AnnData(
                obs=read_elem(group["obs"]),
                var=read_elem(group["var"]),
                uns={MARK: read_elem(group[f"uns/{MARK}"])},
            )
    except Exception as error:  # whatever h5py, zarr and anndata raise
        raise InputError(f"{path} cannot be read as a prediction ({first_line(error)})") from error


def is_within(path: Path, other: SlidePath) -> bool:
    """Whether a path is another, or lies inside it, by whatever names."""
    return isinstance(other, Path) and path.resolve().is_relative_to(other.resolve())


def store_attributes(folder: Path) -> dict[str, Any]:
    """Attributes of a zarr group; empty for what is none, or is damaged."""
    try:
        return dict(zarr.open_group(folder, mode="r").attrs)
    except Exception:  # whatever zarr says of other folders
        return {}


def is_anndata_store(folder: Path) -> bool:
    """Whether a folder holds an AnnData, whoever wrote it."""
    return bool(store_attributes(folder).get("encoding-type") == "anndata")


def _has_mark(place: Path, mark: str) -> bool:
    """Whether a file or folder is an AnnData with such a group in ``uns``."""
    try:
        if place.is_dir():
            group = zarr.open_group(place, mode="r")
            return is_anndata_store(place) and isinstance(group.get(f"uns/{mark}"), zarr.Group)
        with h5py.File(place, "r") as file:
            return isinstance(file.get(f"uns/{mark}"), h5py.Group)
    except Exception:  # whatever h5py and zarr say of other files
        return False


def has_anndata_table(folder: Path) -> bool:
    """Whether a folder is a store of SpatialData or OME-Zarr that this package wrote."""
    return MARK in store_attributes(folder) and is_anndata_store(folder / TABLE)


def write_anndata_group(
    group: "zarr.Group | h5py.File",
    name: str,
    data: AnnData,
    *,
    folder: Path | None = None,
    **dataset_options: Any,
) -> None:
    """Write an AnnData into a group of zarr or HDF5, so that anndata from 0.10 on reads it.

    It is what :meth:`~anndata.AnnData.write_h5ad` writes, down to strings that become
    categoricals, but for two encodings that only newer versions know: an entry that is None is
    left out, and strings of pandas' own type are plain strings, or categoricals where some are
    missing. A ``/`` in a name becomes ``_``, with a warning. `data` stays as it is.

    Parameters
    ----------
    group
        Open for writing; of zarr, format 2.
    name
        Key of the AnnData in it, without a slash; ``"/"`` for the group itself.
    data
        What is written.
    folder
        Of a group of zarr: large values are written into it by gene, uncompressed, to be mapped
        when they are read. None has them in chunks, of which programs that look at a store through
        the network fetch few.
    dataset_options
        For the arrays of HDF5, such as their compression.

    Raises
    ------
    InputError
        Something in it cannot be stored.
    """
    data = with_stored_names(data)

    def write(
        write_element: Callable[..., None],
        store: Any,
        key: str,
        element: Any,
        *,
        dataset_kwargs: Any,
        iospec: Any,
    ) -> None:
        if element is None:
            return
        if isinstance(element, pd.DataFrame):
            element = element.copy()
            data.strings_to_categoricals(element)
        elif isinstance(getattr(element, "dtype", None), pd.StringDtype):
            plain = pd.Categorical(element) if pd.isna(element).any() else np.asarray(element, "O")
            write_elem(store, key, plain, dataset_kwargs=dataset_kwargs)
            return
        if _is_by_gene(element) and isinstance(store, h5py.Group):
            hdf5.write_by_gene(store, key, element)
        elif _is_by_gene(element) and folder is not None:
            zarr_values.write_by_gene(store, key, element, folder / store.path)
        elif _is_by_gene(element):
            zarr_values.write_in_chunks(store, key, element)
        else:
            write_element(store, key, element, dataset_kwargs=dataset_kwargs)

    try:
        write_dispatched(group, name, data, callback=write, dataset_kwargs=dataset_options)
    except OSError:
        raise
    except Exception as error:  # anndata, h5py and zarr raise whatever they meet
        where = "".join(f" ({note})" for note in getattr(error, "__notes__", ())[:1])
        raise InputError(f"The AnnData cannot be stored: {error}{where}") from error


def _write_hdf5(data: AnnData, path: Path) -> None:
    by_gene = any(_is_by_gene(values) for values in (data.X, *named_layers(data).values()))
    with new_hdf5(path, by_gene) as file:
        # Of a large one the rest is small, and would take seconds to read.
        write_anndata_group(file, "/", data, compression=None if by_gene else "gzip")


def _read_hdf5(path: Path) -> AnnData:
    """As :func:`anndata.read_h5ad`, but large values are mapped, see :mod:`.value_arrays`."""
    with h5py.File(path, "r") as file:
        mapped = {}
        for name in ("X", *(f"layers/{key}" for key in file.get("layers", ()))):
            dataset = file.get(name)
            if isinstance(dataset, h5py.Dataset):
                mapped[name] = hdf5.mapped_values(dataset, path)
        data = _read_with(file, mapped)
    return anndata.read_h5ad(path) if data is None else data


def _read_zarr(folder: Path) -> AnnData:
    """As :func:`anndata.read_zarr`, but large values are mapped."""
    group = zarr.open_group(folder, mode="r")
    layers = group.get("layers")
    keys = list(layers) if isinstance(layers, zarr.Group) else []
    mapped = {}
    for name in ("X", *(f"layers/{key}" for key in keys)):
        array = group.get(name)
        if isinstance(array, zarr.Array):
            mapped[name] = zarr_values.mapped_values(array, folder / name)
    data = _read_with(group, mapped)
    return anndata.read_zarr(folder) if data is None else data


def _read_with(
    group: "zarr.Group | h5py.File", mapped: Mapping[str, NDArray[np.float32] | None]
) -> AnnData | None:
    """The AnnData in a group, some of whose arrays are mapped already; None where none are."""
    known = {f"/{name}": values for name, values in mapped.items() if values is not None}
    if not known:
        return None

    def read(func: Callable[..., Any], name: str, element: Any, *, iospec: Any) -> Any:
        if iospec.encoding_type == "anndata":
            return AnnData(**{key: read_dispatched(element[key], read) for key in element})
        found = known.get(element.name)
        return func(element) if found is None else found

    data: AnnData = read_dispatched(group, read)
    return data


def _is_by_gene(element: Any) -> bool:
    return (
        isinstance(element, np.ndarray)
        and element.dtype == np.float32
        and is_by_gene(element.shape)
    )


def _write_zarr(data: AnnData, folder: Path) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=2)  # what all of anndata's readers read
    write_anndata_group(group, "/", data, folder=folder)
    zarr.consolidate_metadata(group.store)
