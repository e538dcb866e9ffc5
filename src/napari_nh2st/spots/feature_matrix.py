"""10x feature-barcode matrices: HDF5, or a folder of three files."""

import gzip
import zlib
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import mmread
from scipy.sparse import csr_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.hdf5_filters import missing_filter, register_filters
from napari_nh2st.spots.assembly import CountTable

GENE_EXPRESSION = "Gene Expression"


def read_feature_matrix(path: Path) -> CountTable:
    """Read a matrix: ``.h5``, a folder of three files, or ``PREFIX_matrix.mtx`` among them.

    Raises
    ------
    InputError
        It is none, or a file of it is missing.
    """
    if path.suffix.lower() == ".h5":
        return read_feature_matrix_h5(path)
    if path.is_dir():
        return read_feature_matrix_folder(path)
    prefix = path.name[: path.name.lower().rindex("matrix.mtx")]
    return read_feature_matrix_folder(path.parent, prefix)


def read_feature_matrix_h5(path: Path) -> CountTable:
    """Read ``*_feature_bc_matrix.h5`` as Space Ranger and Cell Ranger 3 and later write it.

    Raises
    ------
    InputError
        The file is not such a matrix.
    """
    register_filters()
    try:
        with h5py.File(path) as file:
            matrix = file["matrix"]
            n_features, n_spots = matrix["shape"][:].tolist()
            # Stored by barcode: the columns of features × barcodes are the rows wanted here.
            counts = csr_matrix(
                (matrix["data"][:].astype(np.float32), matrix["indices"][:], matrix["indptr"][:]),
                shape=(n_spots, n_features),
            )
            counts.check_format()  # of every index: scipy computes with what it is given
            spots = _text(matrix["barcodes"])
            features = matrix["features"]
            names, ids = _text(features["name"]), _text(features["id"])
            kinds = (
                _text(features["feature_type"])
                if "feature_type" in features
                else np.full(n_features, GENE_EXPRESSION)
            )
            if not len(names) == len(ids) == len(kinds) == n_features or len(spots) != n_spots:
                raise ValueError("its features or barcodes are not those of its matrix")
    except (OSError, KeyError, ValueError, TypeError, IndexError) as error:
        if (reason := missing_filter(error)) is not None:
            raise InputError(f"{path} cannot be read: {reason}") from error
        raise InputError(
            f"{path} is not a feature-barcode matrix of Space Ranger, or is cut off ({error})"
        ) from error
    return _genes_only(counts, spots, names, ids, kinds, path)


def read_feature_matrix_folder(folder: Path, prefix: str = "") -> CountTable:
    """Read a folder of ``matrix.mtx``, ``features.tsv`` and ``barcodes.tsv``, gzipped or not.

    Parameters
    ----------
    folder
        Has the three files; ``genes.tsv`` for ``features.tsv`` as Cell Ranger 2 wrote it.
    prefix
        What stands before their names.

    Raises
    ------
    InputError
        A file is missing or does not fit the others.
    """
    matrix, features, barcodes = (
        _one_of(folder, *(f"{prefix}{name}" for name in names))
        for names in (("matrix.mtx",), ("features.tsv", "genes.tsv"), ("barcodes.tsv",))
    )
    spots = np.array([row[0] for row in _rows(barcodes)], str)
    rows = _rows(features)
    try:
        counts = csr_matrix(mmread(matrix).T, dtype=np.float32)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"{matrix} is not a Matrix Market file, or is cut off ({error})") from None
    if counts.shape != (len(spots), len(rows)) or any(len(row) < 2 for row in rows):
        raise InputError(
            f"{folder}: the matrix is {counts.shape[1]} × {counts.shape[0]}, but there are "
            f"{len(rows)} features and {len(spots)} barcodes; the three files do not belong "
            "together"
        )
    ids, names = (np.array([row[k] for row in rows], str) for k in (0, 1))
    kinds = np.array([row[2] if len(row) > 2 else GENE_EXPRESSION for row in rows], str)
    return _genes_only(counts, spots, names, ids, kinds, folder)


def _genes_only(
    counts: csr_matrix,
    spots: NDArray[np.str_],
    names: NDArray[np.str_],
    ids: NDArray[np.str_],
    kinds: NDArray[np.str_],
    path: Path,
) -> CountTable:
    genes = np.flatnonzero(kinds == GENE_EXPRESSION)
    if not len(genes):
        raise InputError(f"{path}: no feature is of the type {GENE_EXPRESSION!r}")
    others = len(kinds) - len(genes)
    notes = (f"{others} features that are not genes left out",) if others else ()
    return CountTable(counts[:, genes], spots, names[genes], ids[genes], notes)


def _text(strings: h5py.Dataset) -> NDArray[np.str_]:
    if strings.ndim != 1:
        raise ValueError(f"{strings.name} is not a list")
    return np.array([value.decode() for value in strings[:].astype(bytes)], str)


def _one_of(folder: Path, *names: str) -> Path:
    for name in names:
        for path in (folder / f"{name}.gz", folder / name):
            if path.exists():
                return path
    raise InputError(f"{folder}: there is no {names[0]} or {names[0]}.gz in it")


def _rows(path: Path) -> list[list[str]]:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix.lower() == ".gz" else content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    return [line.split("\t") for line in text.splitlines() if line.strip()]
