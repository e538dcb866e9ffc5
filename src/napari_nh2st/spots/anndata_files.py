"""AnnData as scanpy, squidpy, CELLxGENE and HEST-1k write it: ``.h5ad`` and ``.zarr``."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.hdf5_filters import missing_filter, register_filters
from napari_nh2st.spots.array import spot_array
from napari_nh2st.spots.assembly import (
    INFO,
    CountTable,
    Source,
    are_counts,
    are_ensembl_ids,
    assemble,
)
from napari_nh2st.spots.checks import guessed_pitch
from napari_nh2st.spots.choice import SpotOption
from napari_nh2st.spots.libraries import Library, libraries_of, only_library, take_library
from napari_nh2st.spots.positions import (
    ARRAY,
    EMBEDDING,
    IN_TISSUE,
    SPATIAL,
    has_array,
    under_tissue,
)
from napari_nh2st.spots.space_ranger import VISIUM_PITCH_UM
from napari_nh2st.zarr_codecs import refuse_pickles

_COUNT_LAYERS = ("counts", "rawcounts", "raw", "count", "rawcount", "umi", "umis", "umicounts")
_SYMBOL_COLUMNS = (
    "genesymbols",
    "genesymbol",
    "genenames",
    "genename",
    "featurename",
    "featurenames",
    "symbol",
    "symbols",
    "hgncsymbol",
    "mgisymbol",
    "externalgenename",
    "realgenename",
    "gene",
    "genes",
)
_ID_COLUMNS = ("geneids", "geneid", "ensemblid", "ensemblids", "ensembl", "featureid", "featureids")
"""Columns of ``var``, in small letters and without blanks and underscores."""

_POSITION_KEYS = (SPATIAL, EMBEDDING)

_XY_COLUMNS: Sequence[tuple[str, str]] = (
    ("x", "y"),
    ("pxlcolinfullres", "pxlrowinfullres"),
    ("imagecol", "imagerow"),
    ("pixelx", "pixely"),
    ("xpixel", "ypixel"),
    ("spatialx", "spatialy"),
    ("xcentroid", "ycentroid"),
    ("xcoord", "ycoord"),
    ("xlocation", "ylocation"),
    ("col", "row"),
    ("column", "row"),
)
"""Columns of positions."""

_IN_OBS = 4
"""So many of them, from the second on, are pixels also where they stand in ``obs``."""

_UM_PER_PX = ("microns_per_pixel", "pixel_size_um", "um_per_px", "mpp")
"""Names of µm/px in scale factors, a library's metadata or ``uns``."""

_VISIUM = re.compile(r"\bvisium\b(?!.*\bHD\b)|\bspatial 3' v1\b", re.IGNORECASE)
"""The chemistry of a Visium slide, as Space Ranger describes it; Visium HD has no spots."""

_STEREO_SEQ_UM = 0.5
"""Distance between the nanoballs of a Stereo-seq chip, which its bins are counted in."""


def read_anndata(path: Path, library: str | None = None) -> AnnData:
    """Read spots from a file of AnnData.

    Parameters
    ----------
    path
        ``.h5ad`` or AnnData ``.zarr``.
    library
        Which section, if there are several.

    Raises
    ------
    ChoiceNeeded
        There are several sections, and none is named.
    InputError
        It cannot be read, or has no raw counts or no positions.
    """
    register_filters()
    if path.is_dir():
        refuse_pickles(path)
    try:
        with warnings.catch_warnings():
            # Names that occur twice are dealt with below, and stand in the report.
            warnings.filterwarnings("ignore", message=".* names are not unique")
            data = anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
    except Exception as error:
        # anndata, h5py and zarr raise whatever they meet in a damaged file.
        reason = missing_filter(error) or first_line(error)
        raise InputError(f"{path} cannot be read as AnnData ({reason})") from error
    try:
        return spots_of(data, Source(path, "AnnData"), library)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        # Anything in the file may be of another kind than what its name stands for.
        raise InputError(
            f"{path} is AnnData, but a part of it is not of the usual kind ({first_line(error)})"
        ) from error


def spots_of(
    data: AnnData, source: Source, library: str | None = None, *, is_one_section: bool = False
) -> AnnData:
    """Bring any AnnData of spots to the form of :func:`~napari_nh2st.spots.read_spots`.

    Parameters
    ----------
    data
        Spots × genes.
    source
        Where it is from.
    library
        Which section, if there are several.
    is_one_section
        That is known: it is not asked what tells sections apart.

    Raises
    ------
    ChoiceNeeded, InputError
        As :func:`read_anndata`.
    """
    section = Library(data) if is_one_section else take_library(data, library, source.path)
    data = section.data
    if not data.n_obs or not data.n_vars:
        raise InputError(f"{source.path}: it has {data.n_obs} spots and {data.n_vars} genes")
    counts, genes, gene_ids, notes = _counts(data, source.path)
    pixels = _pixels(data, source.path)
    array = _array(data.obs)
    keep = np.isfinite(pixels).all(1)
    left_out = list(section.notes)
    if not keep.all():
        left_out.append(f"{np.count_nonzero(~keep)} with an empty position left out")
    if IN_TISSUE in data.obs:
        under = under_tissue(data.obs[IN_TISSUE], f"{source.path}, obs['in_tissue']")
        if (keep & ~under).any():
            left_out.append(f"{np.count_nonzero(keep & ~under)} not under tissue left out")
        keep &= under
    if not keep.any():
        raise InputError(f"{source.path}: no spot has a position under tissue")
    rows = np.flatnonzero(keep)
    names = np.asarray(anndata.utils.make_index_unique(data.obs_names.astype(str)), str)
    table = CountTable(counts[rows], names[rows], genes, gene_ids, tuple(notes))
    offered: dict[SpotOption, tuple[str, ...]] = dict(source.offered)
    chosen: dict[SpotOption, str] = dict(source.chosen)
    if len(section.names) > 1 and section.name is not None:
        offered["library"], chosen["library"] = section.names, section.name
    pitch = source.pitch_um or _recorded_pitch(data.uns)
    spots = assemble(
        table,
        pixels[rows],
        None if array is None else array[rows],
        replace(source, pitch_um=pitch, offered=offered, chosen=chosen),
        tuple(left_out),
    )
    if libraries := libraries_of(data.uns):
        spots.uns[SPATIAL] = libraries
    if pitch is None:
        _add_pitch(spots, _recorded_um_per_px(data.uns))
    return spots


def _counts(
    data: AnnData, path: Path
) -> tuple[csr_matrix, NDArray[np.str_], NDArray[np.str_] | None, list[str]]:
    """The first matrix of raw counts, with its genes."""
    candidates = [("X", data.X, data.var, data.var_names)]
    layers = sorted((_word(name), name) for name in data.layers)
    candidates += [
        (f"layers[{name!r}]", data.layers[name], data.var, data.var_names)
        for known in _COUNT_LAYERS
        for word, name in layers
        if word == known
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
    by_word = {_word(column): column for column in reversed(var.columns)}
    known_ids = next((by_word[word] for word in _ID_COLUMNS if word in by_word), None)
    ids = None if known_ids is None else var[known_ids].astype(str).to_numpy(str)
    if are_ensembl_ids(names) or _are_numbers(names):
        found = (by_word[word] for word in _SYMBOL_COLUMNS if word in by_word)
        symbols = next((c for c in found if not are_ensembl_ids(_symbols(var[c], names))), None)
        if symbols is not None:
            ids = names if are_ensembl_ids(names) else ids
            names = _symbols(var[symbols], names)
            notes.append(f"gene names from var[{symbols!r}]")
    try:
        counts = csr_matrix(matrix if issparse(matrix) else np.asarray(matrix), dtype=np.float32)
        counts.check_format()  # of every index: scipy computes with what it is given
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: {where} is not a complete matrix of numbers ({error})") from None
    return counts, names, ids, notes


def _symbols(column: pd.Series, names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Symbols, and the id where a gene has none."""
    known = column.notna().to_numpy() & (column.astype(str) != "").to_numpy()
    return np.where(known, column.astype(str).to_numpy(str), names)


def _are_numbers(names: NDArray[np.str_]) -> bool:
    """Whether names are a count of rows only, as pandas gives them."""
    return bool(np.char.isdigit(names).all())


def _word(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _pixels(data: AnnData, path: Path) -> NDArray[np.float64]:
    """(n, 2) (x, y) of the file."""
    key = next((key for key in _POSITION_KEYS if key in data.obsm), None)
    where = f"obsm[{key!r}]" if key is not None else "obs"
    try:
        if key is None:
            columns = _xy_columns(data.obs, slice(1, _IN_OBS))
            if columns is None:
                raise InputError(
                    f"{path}: there are no positions; obsm['spatial'] must have (x, y) in "
                    "full-resolution pixels"
                )
            return np.asarray(data.obs[columns], np.float64)
        values = data.obsm[key]
        if isinstance(values, pd.DataFrame):
            columns = _xy_columns(values, slice(None))
            if columns is not None:
                return np.asarray(values[columns], np.float64)
            words = {_word(name) for name in values}
            if words & {*chain(*_XY_COLUMNS)}:
                names = ", ".join(map(str, values))
                raise InputError(f"{path}: {where} has the columns {names}; give x and y")
        pixels = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: the positions in {where} are not numbers") from None
    if pixels.ndim != 2 or pixels.shape[1] not in (2, 3):
        raise InputError(f"{path}: {where} must have two columns (x, y)")
    heights = pixels[:, 2:][np.isfinite(pixels[:, 2:])]
    if len(np.unique(heights)) > 1:
        raise InputError(
            f"{path}: {where} has a third column (z) with more than one value; keep the spots of "
            f"one section in the file, and x and y alone in {where}"
        )
    return pixels[:, :2]


def _xy_columns(table: pd.DataFrame, known: slice) -> list[str] | None:
    """Names of the columns of x and of y, whichever comes first; None where there are none."""
    by_word = {_word(name): name for name in reversed(list(table.columns))}
    for x, y in _XY_COLUMNS[known]:
        if x in by_word and y in by_word:
            return [by_word[x], by_word[y]]
    return None


def _array(obs: pd.DataFrame) -> NDArray[np.int64] | None:
    if not has_array(obs):
        return None
    columns = [pd.to_numeric(obs[name], errors="coerce") for name in ARRAY]
    array = np.column_stack([column.to_numpy(np.float64) for column in columns])
    return np.rint(array).astype(np.int64) if np.isfinite(array).all() else None


def _recorded_pitch(uns: Any) -> float | None:
    """The spots' distance in µm if the file says it, or of what chemistry or bins they are."""
    if isinstance(info := uns.get(INFO), dict) and "pitch_um" in info:
        return float(info["pitch_um"])
    section = only_library(uns)
    bins = section.get("scalefactors", {}).get("bin_size_um")
    if bins is not None:
        return _positive(bins)
    if _VISIUM.search(str(section.get("metadata", {}).get("chemistry_description", ""))):
        return VISIUM_PITCH_UM
    if str(uns.get("bin_type", "")) == "bins" and "bin_size" in uns:  # as Stereopy writes it
        resolution = _positive(uns.get("resolution", 0))  # in nm
        size = _positive(uns["bin_size"])
        return None if size is None else size * (resolution or 1000 * _STEREO_SEQ_UM) / 1000
    return None


def _add_pitch(spots: AnnData, um_per_px: float | None) -> None:
    """Note the spots' distance by the file's µm/px, or say in the report that it is guessed."""
    array, info = spot_array(spots), spots.uns[INFO]
    if um_per_px is not None and np.isfinite(array.pitch_px):
        info["pitch_um"] = um_per_px * array.pitch_px
    elif (guessed := guessed_pitch(spots, array)) is not None:
        info["report"] += f"; {guessed}"


def _recorded_um_per_px(uns: Any) -> float | None:
    """µm per full-resolution pixel, if the file says it."""
    section = only_library(uns)
    for place in (section.get("scalefactors", {}), section.get("metadata", {}), uns):
        for name in _UM_PER_PX:
            if name in place and (value := _positive(place[name])) is not None:
                return value
    return None


def _positive(value: object) -> float | None:
    try:
        number = float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) and number > 0 else None
