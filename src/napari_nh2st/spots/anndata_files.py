"""AnnData as scanpy, squidpy and HEST-1k write it: ``.h5ad`` and ``.zarr``."""

import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from napari_nh2st.errors import InputError
from napari_nh2st.spots.assembly import INFO, Source, assemble
from napari_nh2st.spots.count_table import CountTable, are_counts, are_ensembl_ids

_COUNT_LAYERS = ("counts", "raw_counts", "raw")
_SYMBOL_COLUMNS = (
    "gene_symbols",
    "gene_symbol",
    "gene_names",
    "gene_name",
    "feature_name",
    "symbol",
)
_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "feature_id")


def read_anndata(path: Path, library: str | None = None) -> AnnData:
    """Read spots from a file of AnnData.

    Parameters
    ----------
    path
        ``.h5ad`` or AnnData ``.zarr``.
    library
        Which section, if there are several (``obs["library_id"]``).

    Raises
    ------
    InputError
        It cannot be read, has no raw counts or no positions, or several sections.
    """
    try:
        with warnings.catch_warnings():
            # Names that occur twice are dealt with below and told in the report.
            warnings.filterwarnings("ignore", message=".* names are not unique")
            data = anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
    except Exception as error:
        # anndata, h5py and zarr raise whatever they meet in a damaged file.
        raise InputError(f"{path} cannot be read as AnnData ({_first_line(error)})") from error
    return spots_of(data, Source(path, "AnnData"), library)


def spots_of(data: AnnData, source: Source, library: str | None = None) -> AnnData:
    """Bring any AnnData of spots to the form of :func:`~napari_nh2st.spots.read_spots`.

    Raises
    ------
    InputError
        As :func:`read_anndata`.
    """
    data = _one_library(data, library, source.path)
    if not data.n_obs or not data.n_vars:
        raise InputError(f"{source.path}: it has {data.n_obs} spots and {data.n_vars} genes")
    counts, genes, gene_ids, notes = _counts(data, source.path)
    pixels = _pixels(data, source.path)
    array = _array(data.obs)
    keep = np.isfinite(pixels).all(1)
    left_out = []
    if not keep.all():
        left_out.append(f"{np.count_nonzero(~keep)} whose position is empty left out")
    if "in_tissue" in data.obs:
        under = pd.to_numeric(data.obs["in_tissue"], errors="coerce").to_numpy() == 1
        if (keep & ~under).any():
            left_out.append(f"{np.count_nonzero(keep & ~under)} not under tissue left out")
        keep &= under
    if not keep.any():
        raise InputError(f"{source.path}: no spot has a position under tissue")
    rows = np.flatnonzero(keep)
    names = np.asarray(anndata.utils.make_index_unique(data.obs_names.astype(str)), str)
    table = CountTable(counts[rows], names[rows], genes, gene_ids, tuple(notes))
    pitch = source.pitch_um or _recorded_pitch(data.uns)
    spots = assemble(
        table,
        pixels[rows],
        None if array is None else array[rows],
        Source(source.path, source.format, pitch),
        tuple(left_out),
    )
    if isinstance(spatial := data.uns.get("spatial"), dict):
        spots.uns["spatial"] = spatial
    return spots


def spot_picture(spots: AnnData) -> tuple[NDArray[Any], float] | None:
    """The finest picture of the slide that came with the spots.

    Returns
    -------
    tuple or None
        (height, width, 3) and its pixels per full-resolution pixel: ``hires`` of Space Ranger,
        scanpy and squidpy, ``downscaled_fullres`` of HEST-1k, else ``lowres``.
    """
    for section in _sections_of(spots.uns):
        images, factors = section.get("images", {}), section.get("scalefactors", {})
        for name in ("hires", "downscaled_fullres", "lowres"):
            factor = factors.get(f"tissue_{name}_scalef")
            if name in images and factor is not None:
                return np.asarray(images[name]), float(factor)
    return None


def _one_library(data: AnnData, library: str | None, path: Path) -> AnnData:
    if "library_id" not in data.obs:
        if library is not None:
            raise InputError(f"{path}: there is no obs['library_id'] to find {library!r} in")
        return data
    names = sorted(data.obs["library_id"].astype(str).unique().tolist())
    if library is None and len(names) > 1:
        raise InputError(
            f"{path} holds {len(names)} sections ({', '.join(names[:4])}); a section is one slide "
            "with its spots: save each to a file of its own, or name one (library=)"
        )
    if library is not None and library not in names:
        raise InputError(f"{path}: there is no section {library!r}; there are {', '.join(names)}")
    return data if library is None else data[data.obs["library_id"].astype(str) == library]


def _counts(
    data: AnnData, path: Path
) -> tuple[csr_matrix, NDArray[np.str_], NDArray[np.str_] | None, list[str]]:
    """The first matrix of raw counts, with its genes."""
    candidates = [("X", data.X, data.var, data.var_names)]
    candidates += [
        (f"layers[{name!r}]", data.layers[name], data.var, data.var_names)
        for name in _COUNT_LAYERS
        if name in data.layers
    ]
    if data.raw is not None:
        candidates.append(("raw.X", data.raw.X, data.raw.var, data.raw.var_names))
    # If none is of counts, X goes on: the checks before training say what is wrong with it.
    chosen = next(
        (c for c in candidates if c[1] is not None and are_counts(c[1])),
        next((c for c in candidates if c[1] is not None), None),
    )
    if chosen is None:
        raise InputError(f"{path}: there are no values in it")
    where, matrix, var, var_names = chosen
    notes = [] if where == "X" else [f"counts from {where}"]
    names = var_names.astype(str).to_numpy(str)
    ids = next((var[c].astype(str).to_numpy(str) for c in _ID_COLUMNS if c in var), None)
    symbols = next((c for c in _SYMBOL_COLUMNS if c in var), None)
    if symbols is not None and are_ensembl_ids(names):
        ids, names = names, _symbols(var[symbols], names)
        notes.append(f"gene names from var[{symbols!r}]")
    counts = csr_matrix(matrix if issparse(matrix) else np.asarray(matrix), dtype=np.float32)
    return counts, names, ids, notes


def _symbols(column: pd.Series, names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Symbols, and the id where a gene has none."""
    known = column.notna().to_numpy() & (column.astype(str) != "").to_numpy()
    return np.where(known, column.astype(str).to_numpy(str), names)


def _pixels(data: AnnData, path: Path) -> NDArray[np.float64]:
    obs = data.obs
    try:
        if "spatial" in data.obsm:
            pixels = np.asarray(data.obsm["spatial"], np.float64)
        elif {"pxl_col_in_fullres", "pxl_row_in_fullres"} <= set(obs):
            pixels = obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(np.float64)
        else:
            raise InputError(
                f"{path}: there are no positions; obsm['spatial'] must have (x, y) in "
                "full-resolution pixels"
            )
    except (TypeError, ValueError):
        raise InputError(f"{path}: the positions in obsm['spatial'] are no numbers") from None
    if pixels.ndim != 2 or pixels.shape[1] != 2:
        raise InputError(f"{path}: obsm['spatial'] must have two columns (x, y)")
    return pixels


def _array(obs: pd.DataFrame) -> NDArray[np.int64] | None:
    if not {"array_row", "array_col"} <= set(obs):
        return None
    columns = [pd.to_numeric(obs[name], errors="coerce") for name in ("array_row", "array_col")]
    array = np.column_stack([column.to_numpy(np.float64) for column in columns])
    return np.rint(array).astype(np.int64) if np.isfinite(array).all() else None


def _sections_of(uns: Any) -> list[dict[str, Any]]:
    spatial = uns.get("spatial")
    if not isinstance(spatial, dict):
        return []
    return [section for section in spatial.values() if isinstance(section, dict)]


def _recorded_pitch(uns: Any) -> float | None:
    """The spots' distance in µm if the file says it: our own files, and Visium HD's bins."""
    if isinstance(info := uns.get(INFO), dict) and "pitch_um" in info:
        return float(info["pitch_um"])
    for section in _sections_of(uns):
        if "bin_size_um" in (factors := section.get("scalefactors", {})):
            return float(factors["bin_size_um"])
    return None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
