"""Tables that users write as CSV: their rows, and cells as they are read.

An error names the row and the column of its cell.
"""

import csv
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from napari_nh2st.errors import InputError
from napari_nh2st.files import whole_output
from napari_nh2st.remote import RemotePath, SlidePath, slide_path

T = TypeVar("T")

_IN_ASCII = str.maketrans(
    {"µ": "u", "μ": "u", "²": "2", "×": "x", "–": "-", "—": "-", "…": "...", "’": "'"}
)

_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")

Row = tuple[str, dict[str, str]]
"""The words for where a row stands, and its cells by column."""


def table_text(path: Path) -> str:
    """The text of a table.

    Raises
    ------
    InputError
        The file cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}") from None


def delimiter_of(line: str) -> str:
    """What separates the cells of a CSV's line: comma, semicolon or tab, the one it has most of.

    Where a decimal comma is in use, spreadsheets put semicolons between cells, so a comma between
    two digits counts only in a line that has no other separator.

    Examples
    --------
    >>> delimiter_of("10;21;1034,5;2077,25")
    ';'
    """
    outside = _DECIMAL_COMMA.sub("", line)
    return max(",;\t", key=outside.count)


def csv_rows(text: str, path: Path, check_columns: Callable[[list[str], str], None]) -> list[Row]:
    """The rows of a CSV (comma, semicolon or tab); empty ones are left out.

    Parameters
    ----------
    text, path
        Of the file.
    check_columns
        Called with the names of the columns and the words for where they stand.

    Raises
    ------
    InputError
        The table is empty, or a row has more cells than there are columns.
    """
    lines = text.splitlines()
    if not lines:
        raise InputError(f"{path}: the table is empty")
    delimiter = delimiter_of(lines[0])
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in next(reader)]
    check_columns(header, str(path))
    rows = []
    for cells in reader:
        where = f"{path}, row {reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            raise InputError(
                f"{where}: {len(cells)} cells for {len(header)} columns; put paths with a "
                f"{'comma' if delimiter == ',' else 'separator'} in quotes"
            )
        rows.append((where, dict(zip(header, (cell.strip() for cell in cells), strict=False))))
    return rows


def cell(where: str, row: Mapping[str, str], column: str, read: Callable[[str], T]) -> T | None:
    """A cell as it is read; None where it is empty.

    Raises
    ------
    InputError
        It cannot be read; row and column are named.
    """
    text = row.get(column)
    try:
        return read(text) if text else None
    except InputError as error:
        raise InputError(f"{where}, column {column}: {error}") from None


def existing_path(text: str, folder: Path) -> Path:
    """A path that starts at a table's folder.

    Raises
    ------
    InputError
        Nothing is there.
    """
    path = Path(os.path.normpath(folder / Path(text).expanduser()))
    if not path.exists():
        raise InputError(f"there is no {path}")
    return path


def existing_slide(text: str, folder: Path) -> SlidePath:
    """A slide at a URL, which is not asked for yet, or one whose path starts at a table's folder.

    Raises
    ------
    InputError
        It is a path where nothing is.
    """
    place = slide_path(text)
    return place if isinstance(place, RemotePath) else existing_path(str(place), folder)


def um_per_px(text: str) -> float:
    """A µm/px, also with the comma that spreadsheets of many languages write.

    Raises
    ------
    InputError
        It is not a number above 0.
    """
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{text!r} is not a µm/px; give a number such as 0.5")
    return value


def in_ascii(text: str) -> str:
    """A sentence of ours with the signs of ASCII: um for µm, x for ×, - for –.

    So that a table has a byte-order mark only where names of the user need one: R's own reader
    takes it for a part of the first column's name.
    """
    return text.translate(_IN_ASCII)


def csv_encoding(text: str) -> Literal["utf-8", "utf-8-sig"]:
    """Encoding of a CSV file that people open.

    Text beyond ASCII, such as µ or ü, gets a byte-order mark, without which Excel takes it for
    another encoding; other text gets none, which some programs take for part of the first name.
    Our readers take both.
    """
    return "utf-8" if text.isascii() else "utf-8-sig"


def write_csv(path: Path, text: str) -> None:
    """Write a CSV file that people open, complete or not at all; one that is there is replaced.

    Raises
    ------
    InputError
        It cannot be written.
    """
    with whole_output(path) as draft:
        draft.write_text(text, encoding=csv_encoding(text), newline="")
