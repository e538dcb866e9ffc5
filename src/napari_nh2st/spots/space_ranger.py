"""Space Ranger's ``outs`` folder, and folders of GEO: Visium and Visium HD."""

import gzip
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.extras import import_extra
from napari_nh2st.spots.assembly import CountTable, Source, SpotPositions, join
from napari_nh2st.spots.choice import SpotOption
from napari_nh2st.spots.feature_matrix import read_feature_matrix
from napari_nh2st.spots.positions import ARRAY, IN_TISSUE, PIXELS, SPATIAL, under_tissue
from napari_nh2st.spots.samples import (
    Matrix,
    choose_matrix,
    has_samples,
    matrices_in,
    matrix_at,
    positions_for,
    scale_factors_for,
)
from napari_nh2st.table_cells import delimiter_of

VISIUM_PITCH_UM = 100.0
"""Distance between the spots of a Visium slide."""

_MATCHING_SHARE = 0.99
"""A filtered matrix and positions of other names belong together from this share of spots on."""

_COLUMNS = ("barcode", IN_TISSUE, *ARRAY, *PIXELS)
_BINS = re.compile(r"square_(\d+)um")


def is_space_ranger(folder: Path) -> bool:
    """Whether a folder is, or holds, what Space Ranger wrote, or samples of it as GEO has them."""
    if any(_holds_results(place) for place in (folder, folder / "outs")):
        return True
    try:
        return has_samples(folder)
    except OSError:
        return False


def read_space_ranger(
    place: Path,
    positions: Path | None = None,
    bin_um: int | None = None,
    library: str | None = None,
) -> AnnData:
    """Read counts and positions of a section.

    Parameters
    ----------
    place
        ``outs``, the folder that holds it, one ``square_*um`` of Visium HD, or a folder of several
        samples whose files have prefixes; or a feature-barcode matrix in such a folder.
    positions
        A positions file elsewhere; None for the one that goes with the matrix.
    bin_um
        Side of Visium HD's bins; None for the largest there are.
    library
        The sample, if the folder has several.

    Raises
    ------
    ChoiceNeeded
        The folder has several samples, and none is named.
    InputError
        Something is missing or cannot be read, or which positions are those of the matrix is not
        clear.
    """
    offered: dict[SpotOption, tuple[str, ...]] = {}
    chosen: dict[SpotOption, str] = {}
    if place.is_dir() and not _is_matrix_folder(place):
        outs = place / "outs" if not _is_outs(place) and (place / "outs").is_dir() else place
        if (outs / "binned_outputs").is_dir():
            sides = _bins(outs / "binned_outputs")
            outs = _bins_of(sides, outs, bin_um)
            offered["bin_um"] = tuple(str(side) for side in sorted(sides))
            chosen["bin_um"] = next(str(side) for side, path in sides.items() if path == outs)
        elif bin_um is not None and _bin_side(outs) != bin_um:
            raise InputError(f"{place} has no bins of {bin_um} µm to choose from")
        matrix = choose_matrix(outs, library)
        samples = [other.name for other in matrices_in(outs).values()]
        if len(samples) > 1:
            offered["library"], chosen["library"] = tuple(sorted(samples)), matrix.name
    else:
        outs, matrix = matrix_at(place)
        if library is not None or (bin_um is not None and _bin_side(outs) != bin_um):
            raise InputError(f"{place} is one matrix; leave the section and the bins out")
    table = read_feature_matrix(matrix.path)
    places, of_sample, taken = _places(positions, matrix, table, outs)
    scalefactors, left_out = _scalefactors(matrix, of_sample, outs)
    notes = tuple(note for note in (taken, left_out) if note)
    table = replace(table, notes=(*table.notes, *notes))
    name, pitch = "Visium", VISIUM_PITCH_UM
    side = _bin_side(outs)
    if side is not None or "bin_size_um" in scalefactors:
        pitch = float(side if side is not None else scalefactors["bin_size_um"])
        name = f"Visium HD, bins of {pitch:g} µm"
    if matrix.is_raw or (matrix.is_raw is None and len(table.spots) >= len(places.spots)):
        table = _under_tissue(table, places)
    spots = join(table, places, Source(place, name, pitch, offered, chosen))
    if scalefactors:
        folder = outs.parent if outs.name == "outs" else outs
        section = "_".join(matrix.sample) or folder.name
        spots.uns[SPATIAL] = {section: {"images": {}, "scalefactors": scalefactors}}
    return spots


def _places(
    given: Path | None, matrix: Matrix, table: CountTable, outs: Path
) -> tuple[SpotPositions, tuple[str, ...], str]:
    """Positions of a matrix's spots, the sample that their file's name says, and a note."""
    if given is not None:
        return read_positions(given), matrix.sample, ""
    found = positions_for(matrix, outs)
    places = read_positions(found.path)
    if not found.is_certain:
        # A filtered matrix has the spots under tissue of its own slide: nearly all of them, since
        # those without counts may be left out of it.
        spots = set(table.spots.tolist())
        under = set(places.spots[places.in_tissue].tolist())
        if spots != set(places.spots.tolist()) and not _are_of_one_sample(spots, under):
            raise InputError(
                f"{outs}: {found.path.name} has another name than {matrix.path.name}, and other "
                "spots under tissue; if they belong together, give both the same prefix, or give "
                "the file of positions as well"
            )
    note = "" if found.is_certain else f"positions from {found.path.name}"
    return places, found.sample, note


def _are_of_one_sample(spots: set[str], under_tissue: set[str]) -> bool:
    shared = len(spots & under_tissue)
    return shared >= _MATCHING_SHARE * max(len(spots), len(under_tissue))


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
    for name in _COLUMNS[2:]:
        numbers[name] = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        wrong = np.isnan(numbers[name]) & frame[name].notna().to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"{path}: {frame[name].iloc[row]!r} in the column {name} is not a number (barcode "
                f"{frame['barcode'].iloc[row]})"
            )
    array = np.column_stack([numbers[name] for name in ARRAY])
    if np.isnan(array).any():
        raise InputError(f"{path}: array_row and array_col must not be empty")
    return SpotPositions(
        frame["barcode"].to_numpy(str),
        np.column_stack([numbers[name] for name in reversed(PIXELS)]),
        array.astype(np.int64),
        under_tissue(frame[IN_TISSUE], f"{path}, column in_tissue"),
    )


def _csv(path: Path) -> pd.DataFrame:
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:
            delimiter = delimiter_of(file.readline())
        frame = pd.read_csv(path, sep=delimiter, header=None, dtype=str)
    except (OSError, ValueError, EOFError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"{path} cannot be read ({error})") from None
    # Space Ranger 1 wrote no header; the file's name alone does not show it.
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
    import_extra("pyarrow", "visium-hd", f"{path}: reading parquet")
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from None


def _holds_results(folder: Path) -> bool:
    return (folder / "spatial").is_dir() or (folder / "binned_outputs").is_dir()


def _is_outs(folder: Path) -> bool:
    return _holds_results(folder) or has_samples(folder)


def _is_matrix_folder(folder: Path) -> bool:
    """Whether a folder is a matrix of three files, and no folder of samples."""
    return any((folder / f"matrix.mtx{gz}").exists() for gz in ("", ".gz")) and (
        "feature_bc_matrix" in folder.name
    )


def _bin_side(outs: Path) -> int | None:
    bins = _BINS.fullmatch(outs.name)
    return int(bins[1]) if bins else None


def _bins(folder: Path) -> dict[int, Path]:
    sides = {side: path for path in folder.iterdir() if (side := _bin_side(path)) is not None}
    if not sides:
        raise InputError(f"{folder}: there are no bins (square_*um) in it")
    return sides


def _bins_of(sides: dict[int, Path], outs: Path, bin_um: int | None) -> Path:
    wanted = max(sides) if bin_um is None else bin_um
    if wanted not in sides:
        known = ", ".join(str(side) for side in sorted(sides))
        raise InputError(f"{outs}: there are no bins of {bin_um} µm; there are {known} µm")
    return sides[wanted]


def _under_tissue(table: CountTable, places: SpotPositions) -> CountTable:
    """Raw matrices hold every barcode; those beside the tissue are no news for the report."""
    kept = np.flatnonzero(np.isin(table.spots, places.spots[places.in_tissue]))
    return replace(table, counts=table.counts[kept], spots=table.spots[kept])


def _scalefactors(
    matrix: Matrix, positions: tuple[str, ...], outs: Path
) -> tuple[dict[str, Any], str]:
    path, note = scale_factors_for(matrix, positions, outs)
    if path is None:
        return {}, note
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return dict(json.loads(content)), ""
    except (OSError, EOFError, ValueError, TypeError, RecursionError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})") from None
