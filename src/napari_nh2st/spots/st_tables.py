"""Legacy Spatial Transcriptomics: a table of counts and a table of positions."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.spots.assembly import CountTable, Source, SpotPositions, join
from napari_nh2st.table_cells import delimiter_of

ST_PITCH_UM = 200.0
"""Distance between the spots of a legacy array."""

TABLE_SUFFIXES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".txt", ".txt.gz")

_SPOT = re.compile(r"X?(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")
"""A spot's name, ``{x}x{y}``; R puts an X before names that begin with a digit."""

_WITH_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")

_POSITION_COLUMNS = ("x", "y", "pixel_x", "pixel_y")
_HEADERLESS = ("x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected")
"""Order of columns in the spot files of the ST Spot Detector, which may lack a header."""


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def read_st_tables(counts: Path, positions: Path | None) -> AnnData:
    """Read a section of a legacy array.

    Parameters
    ----------
    counts
        Spots × genes or genes × spots, separated by tabs, commas or semicolons (then with decimal
        commas or points), gzipped or not; spots are named ``{x}x{y}``.
    positions
        Columns ``x``, ``y``, ``pixel_x``, ``pixel_y``, and ``selected`` (1 under tissue) if it
        is known.

    Raises
    ------
    InputError
        A table is missing, malformed, or does not fit the other.
    """
    if positions is None:
        raise InputError(
            f"{counts}: a table of counts needs a table of positions "
            f"(columns {', '.join(_POSITION_COLUMNS)})"
        )
    table = read_count_table(counts)
    places = read_st_positions(positions)
    source = Source(counts, "legacy ST table", ST_PITCH_UM)
    shared = np.isin(table.spots, places.spots).sum()
    turned = np.isin([_turned(name) for name in table.spots.tolist()], places.spots).sum()
    if len(table.spots) and turned > shared + len(table.spots) / 2:
        raise InputError(
            f"{counts}: spots are named y×x where {positions} has x×y; exchange the columns x and "
            "y of the positions"
        )
    return join(table, places, source)


def read_count_table(path: Path) -> CountTable:
    """Read counts, whichever way round they stand.

    Raises
    ------
    InputError
        A cell is not a number, rows differ in length, or neither rows nor columns are spots, or
        both are.
    """
    lines = _lines(path)
    header = next(lines, None)
    first = next(lines, None)
    if header is None or first is None:
        raise InputError(f"{path}: the table has no rows")
    # R leaves out the corner, so that the header is one name shorter than the rows.
    columns = header if len(header) == len(first) - 1 else header[1:]
    if not columns:
        raise InputError(
            f"{path}: the table has a single column; separate columns by tabs, commas or semicolons"
        )
    names, values, places, ends = [], [], [], [0]
    for number, row in enumerate(chain([first], lines), start=2):
        place, value = _row_counts(row, columns, path, number)
        names.append(row[0])
        places.append(place)
        values.append(value)
        ends.append(ends[-1] + len(place))
    counts = csr_matrix(
        (np.concatenate(values), np.concatenate(places), ends), shape=(len(names), len(columns))
    )
    counts.eliminate_zeros()
    down, across = _share_of_spots(names), _share_of_spots(columns)
    if (down > 0.5) == (across > 0.5):
        what = "both rows and columns" if down > 0.5 else "neither rows nor columns"
        raise InputError(
            f"{path}: {what} are spots named like 10x21 (first row {names[0]!r}, first column "
            f"{columns[0]!r}); a table of counts has spots one way and genes the other"
        )
    if across > 0.5:
        counts, names, columns = csr_matrix(counts.T), columns, names
    return CountTable(
        counts, np.array([_rounded(name, path) for name in names], str), np.array(columns, str)
    )


def read_st_positions(path: Path) -> SpotPositions:
    """Read a table of positions: her2st selections, STUtility alignments, ST Spot Detector files.

    Raises
    ------
    InputError
        A column is missing, a cell is not a number, or a spot occurs twice.
    """
    rows = list(_lines(path))
    if not rows:
        raise InputError(f"{path}: the table is empty")
    header = [name.strip().lower() for name in rows[0]]
    start = 1
    if _is_number(header[0]) and len(header) in (6, 7):
        header, start = list(_HEADERLESS[: len(header)]), 0
    missing = [name for name in _POSITION_COLUMNS if name not in header]
    if missing:
        raise InputError(
            f"{path}: the column {missing[0]} is missing; there are {', '.join(rows[0])}"
        )
    wanted = [*_POSITION_COLUMNS, *(["selected"] if "selected" in header else [])]
    places = [header.index(name) for name in wanted]
    values = np.empty((len(rows) - start, len(wanted)))
    for k, cells in enumerate(rows[start:]):
        for j, place in enumerate(places):
            text = cells[place] if place < len(cells) else ""
            try:
                values[k, j] = float(text)
            except ValueError:
                raise InputError(
                    f"{path}, row {k + start + 1}, column {wanted[j]}: {text!r} is not a number"
                ) from None
    if np.isnan(values[:, :2]).any():
        row = int(np.flatnonzero(np.isnan(values[:, :2]).any(1))[0]) + start + 1
        raise InputError(f"{path}, row {row}: x and y must be numbers")
    array = np.rint(values[:, :2]).astype(np.int64)
    spots = np.array([f"{x}x{y}" for x, y in array.tolist()], str)
    duplicated = pd.Index(spots).duplicated()
    if duplicated.any():
        row = int(np.flatnonzero(duplicated)[0])
        raise InputError(
            f"{path}, row {row + start + 1}: the spot {spots[row]} occurs a second time"
        )
    selected = values[:, 4] == 1 if len(wanted) == 5 else np.ones(len(spots), bool)
    return SpotPositions(spots, values[:, 2:4], array[:, ::-1], selected)


def _lines(path: Path) -> Iterator[list[str]]:
    """The cells of each row, numbers among them with a decimal point."""
    try:
        with _opened(path) as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            if delimiter == ",":
                yield from (row for row in csv.reader(file) if row)
                return
            if delimiter == ";":
                rows = (row for row in csv.reader(file, delimiter=";") if row)
                yield from ([_with_point(cell) for cell in row] for row in rows)
                return
            for line in file:
                # The csv module is slower; quotes are rare in tables of tabs.
                if line := line.rstrip("\r\n"):
                    yield (line.replace('"', "") if '"' in line else line).split("\t")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason})") from None


def _with_point(cell: str) -> str:
    """A cell; one of a number with a decimal comma gets a point."""
    return cell.replace(",", ".") if "," in cell and _WITH_COMMA.fullmatch(cell) else cell


def _opened(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig", newline="")


def _row_counts(
    row: list[str], columns: list[str], path: Path, number: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Columns of a row that are not 0, and their counts."""
    name, *cells = row
    if len(cells) != len(columns):
        raise InputError(
            f"{path}, row {number} ({name}): {len(cells)} values for {len(columns)} columns"
        )
    # Most cells are 0: to parse only the others is several times faster.
    places = [place for place, text in enumerate(cells) if text != "0"]
    try:
        values = np.array([cells[place] for place in places], np.float32)
    except ValueError:
        wrong = next(place for place in places if not _is_number(cells[place]))
        raise InputError(
            f"{path}, row {number} ({name}), column {columns[wrong]}: {cells[wrong]!r} is not a "
            "count"
        ) from None
    return np.array(places, np.int32), values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _share_of_spots(names: list[str]) -> float:
    return sum(bool(_SPOT.fullmatch(name)) for name in names) / max(len(names), 1)


def _rounded(name: str, path: Path) -> str:
    """A spot's name in whole array positions: adjusted ones are fractions beside them."""
    if not (match := _SPOT.fullmatch(name)):
        raise InputError(f"{path}: {name!r} is not a spot; the others are named like 10x21")
    return f"{round(float(match[1]))}x{round(float(match[2]))}"


def _turned(name: str) -> str:
    x, _, y = name.partition("x")
    return f"{y}x{x}"
