"""Space Ranger's ``outs`` folder: Visium and Visium HD."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.spots.assembly import Source, SpotPositions, join
from napari_nh2st.spots.count_table import CountTable
from napari_nh2st.spots.feature_matrix import read_feature_matrix_folder, read_feature_matrix_h5

VISIUM_PITCH_UM = 100.0
"""Distance between the spots of a Visium slide."""

_POSITION_FILES = (
    "tissue_positions.parquet",
    "tissue_positions.csv",
    "tissue_positions_list.csv",
    "tissue_positions.csv.gz",
    "tissue_positions_list.csv.gz",
)
_COLUMNS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
_BINS = re.compile(r"square_(\d+)um")


def is_space_ranger(folder: Path) -> bool:
    """Whether a folder is, or holds, what Space Ranger wrote."""
    return any(
        (place / "spatial").is_dir() or (place / "binned_outputs").is_dir()
        for place in (folder, folder / "outs")
    )


def read_space_ranger(
    folder: Path,
    positions: Path | None = None,
    bin_um: int | None = None,
    matrix: Path | None = None,
) -> AnnData:
    """Read counts and positions of a section.

    Parameters
    ----------
    folder
        ``outs``, the folder that holds it, or one ``square_*um`` of Visium HD.
    positions
        A positions file elsewhere; None for the one in ``spatial``.
    bin_um
        Side of Visium HD's bins; None for the largest there are.
    matrix
        Which matrix of the folder; None for the filtered one.

    Raises
    ------
    InputError
        Something is missing or cannot be read.
    """
    outs = folder / "outs" if not _holds_results(folder) and (folder / "outs").is_dir() else folder
    if (outs / "binned_outputs").is_dir():
        outs = _bins(outs / "binned_outputs", bin_um)
    elif bin_um is not None and not _BINS.fullmatch(outs.name):
        raise InputError(f"{folder} is not Visium HD: it has no bins of {bin_um} µm")
    table, whole = _counts(outs, matrix)
    scalefactors = _scalefactors(outs)
    name, pitch = "Visium", VISIUM_PITCH_UM
    bins = _BINS.fullmatch(outs.name)
    if bins or "bin_size_um" in scalefactors:
        pitch = float(bins[1] if bins else scalefactors["bin_size_um"])
        name = f"Visium HD, bins of {pitch:g} µm"
    places = read_positions(positions or _positions_file(outs))
    if whole:
        table = _under_tissue(table, places)
    spots = join(table, places, Source(folder, name, pitch))
    if scalefactors:
        library = folder.parent.name if folder.name == "outs" else folder.name
        spots.uns["spatial"] = {library: {"images": {}, "scalefactors": scalefactors}}
    return spots


def read_positions(path: Path) -> SpotPositions:
    """Read ``tissue_positions``: CSV with or without header, or parquet.

    Raises
    ------
    InputError
        A column is missing or is not of numbers, or parquet cannot be read here.
    """
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise InputError(f"{path}: the column {missing[0]} is missing")
    numbers = {}
    for name in _COLUMNS[1:]:
        numbers[name] = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        wrong = np.isnan(numbers[name]) & frame[name].notna().to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{path}: {frame[name].iloc[row]!r} in the column {name} is no number "
                f"(barcode {frame['barcode'].iloc[row]})"
            )
    array = np.column_stack([numbers["array_row"], numbers["array_col"]])
    if np.isnan(array).any():
        raise InputError(f"{path}: array_row and array_col must not be empty")
    return SpotPositions(
        frame["barcode"].to_numpy(str),
        np.column_stack([numbers["pxl_col_in_fullres"], numbers["pxl_row_in_fullres"]]),
        array.astype(np.int64),
        numbers["in_tissue"] == 1,
    )


def _csv(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, header=None, dtype=str)
    except (OSError, ValueError, EOFError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path} cannot be read ({error})") from None
    # Space Ranger 1 wrote no header; the file's name alone does not tell.
    if "in_tissue" in frame.iloc[0].tolist():
        frame.columns = frame.iloc[0]
        return frame.iloc[1:]
    if frame.shape[1] != len(_COLUMNS):
        raise InputError(
            f"{path}: {frame.shape[1]} columns without a header; Space Ranger writes "
            f"{len(_COLUMNS)}: {', '.join(_COLUMNS)}"
        )
    frame.columns = pd.Index(_COLUMNS)
    return frame


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise InputError(
            f"{path}: reading parquet needs pyarrow: pip install 'napari-nh2st[visium-hd]'"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None


def _holds_results(folder: Path) -> bool:
    return (folder / "spatial").is_dir() or (folder / "binned_outputs").is_dir()


def _bins(folder: Path, bin_um: int | None) -> Path:
    sides = {
        int(match[1]): path for path in folder.iterdir() if (match := _BINS.fullmatch(path.name))
    }
    if not sides:
        raise InputError(f"{folder}: there are no bins (square_*um) in it")
    wanted = max(sides) if bin_um is None else bin_um
    if wanted not in sides:
        known = ", ".join(str(side) for side in sorted(sides))
        raise InputError(f"{folder}: there are no bins of {bin_um} µm; there are {known} µm")
    return sides[wanted]


def _counts(outs: Path, matrix: Path | None) -> tuple[CountTable, bool]:
    """The matrix, and whether it holds all barcodes, also those beside the tissue."""
    if matrix is not None:
        return read_feature_matrix_h5(matrix), "raw_feature_bc_matrix" in matrix.name
    for kind in ("filtered", "raw"):
        found = sorted(outs.glob(f"*{kind}_feature_bc_matrix.h5"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InputError(f"{outs}: several matrices ({names}); keep one in the folder")
        if found:
            return read_feature_matrix_h5(found[0]), kind == "raw"
        folder = outs / f"{kind}_feature_bc_matrix"
        if folder.is_dir():
            return read_feature_matrix_folder(folder), kind == "raw"
    raise InputError(
        f"{outs}: there is no filtered_feature_bc_matrix.h5 and no folder "
        "filtered_feature_bc_matrix in it"
    )


def _under_tissue(table: CountTable, places: SpotPositions) -> CountTable:
    """Raw matrices hold every barcode; those beside the tissue are no news for the report."""
    kept = np.flatnonzero(np.isin(table.spots, places.spots[places.in_tissue]))
    return replace(table, counts=table.counts[kept], spots=table.spots[kept])


def _positions_file(outs: Path) -> Path:
    for name in _POSITION_FILES:
        if found := sorted((outs / "spatial").glob(f"*{name}")):  # GEO puts a prefix before it
            return found[0]
    raise InputError(f"{outs / 'spatial'}: there is no tissue_positions file in it")


def _scalefactors(outs: Path) -> dict[str, Any]:
    path = outs / "spatial" / "scalefactors_json.json"
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
    return dict(content)
