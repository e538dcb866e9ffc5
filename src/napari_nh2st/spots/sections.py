"""The sections table: which slides and counts make a study."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from anndata import AnnData

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.files import check_place
from napari_nh2st.names import nearest_names
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath
from napari_nh2st.slide import Slide
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.spots.choice import SpotChoice, bin_side
from napari_nh2st.spots.orientation import Fix, apply_fix
from napari_nh2st.spots.read import needs_positions, read_spots, takes_positions
from napari_nh2st.table_cells import (
    cell,
    csv_rows,
    existing_path,
    existing_slide,
    table_text,
    um_per_px,
    write_csv,
)

_REQUIRED = ("section_id", "donor_id", "slide", "expression")
_CHOICE = ("library", "bin_um", "coordinate_system")
_SELDOM = (*_CHOICE, "image", "features")
_OPTIONAL = ("positions", "mpp", "fix", *_SELDOM)
_COLUMNS = (*_REQUIRED, *_OPTIONAL)
_YAML = (".yaml", ".yml")
_LONGEST_YAML = 2**20
"""Characters; those of some thousand sections, which take seconds."""


@dataclass(frozen=True)
class Section:
    """One slide with its measured expression.

    Parameters
    ----------
    section_id
        Its name, unique in a study.
    donor_id
        The patient or animal.
    slide
        File, folder or URL that :func:`~napari_nh2st.slide.open_slide` opens.
    expression
        File or folder that :func:`~napari_nh2st.spots.read_spots` reads.
    positions
        Table of positions, for tables of counts; for Space Ranger's matrices, if it is not the
        one that belongs to them by its name.
    mpp
        µm/px of the slide, if its own is missing or wrong.
    fix
        Correction of the positions; None to leave them as they are in the files.
    library, bin_um, coordinate_system
        Which part of an expression file that holds several, as
        :func:`~napari_nh2st.spots.read_spots` takes them.
    image
        Which image of the slide's file, by number or name; None for the largest brightfield one.
    features
        File of features that another tool computed for the slide's tiles, for models that take
        them.
    """

    section_id: str
    donor_id: str
    slide: SlidePath
    expression: Path
    positions: Path | None = None
    mpp: float | None = None
    fix: Fix | None = None
    library: str | None = None
    bin_um: int | None = None
    coordinate_system: str | None = None
    image: ImageChoice = None
    features: Path | None = None

    @property
    def choice(self) -> SpotChoice:
        """Which part of the expression file is read."""
        return SpotChoice(self.library, self.bin_um, self.coordinate_system)


def section_spots(section: Section, slide: Slide) -> AnnData:
    """Read the spots of a section, with its fix applied to their positions.

    Parameters
    ----------
    section
        Names the files, and the fix of the positions.
    slide
        The section's slide, opened: positions are mirrored within it.

    Returns
    -------
    AnnData
        As from :func:`~napari_nh2st.spots.read_spots`, with the fix applied.

    Raises
    ------
    InputError
        As for :func:`~napari_nh2st.spots.read_spots`.

    Examples
    --------
    .. code-block:: python

        for section in read_sections("sections.csv"):
            with open_slide(section.slide) as slide:
                spots = section_spots(section, slide)
    """
    spots = read_spots(
        section.expression,
        section.positions,
        library=section.library,
        bin_um=section.bin_um,
        coordinate_system=section.coordinate_system,
    )
    return spots if section.fix is None else apply_fix(spots, section.fix, slide.shape)


def read_sections(path: str | os.PathLike[str]) -> tuple[Section, ...]:
    """Read a sections table.

    Parameters
    ----------
    path
        CSV (comma, semicolon or tab) with the columns ``section_id``, ``donor_id``, ``slide``,
        ``expression`` and, optionally, ``positions``, ``mpp``, ``fix`` (see
        :meth:`Fix.from_text() <napari_nh2st.spots.Fix.from_text>`), ``library``, ``bin_um``,
        ``coordinate_system``, ``image`` and ``features``; or YAML, a list of mappings with the same
        keys, at the top or under ``sections``. Relative paths start at the table's folder.

    Returns
    -------
    tuple of Section
        In the table's order.

    Raises
    ------
    InputError
        The message names the row and column of the first error: a missing, unknown or empty
        column, a missing file, two sections of the same name, or an invalid µm/px or fix.

    Examples
    --------
    .. code-block:: python

        for section in read_sections("sections.csv"):
            print(section.section_id, section.donor_id)
    """
    path = Path(path).expanduser().absolute()
    check_regular(path)
    text = table_text(path)
    is_yaml = path.suffix.lower() in _YAML
    rows = _yaml(text, path) if is_yaml else csv_rows(text, path, _check_columns)
    if not rows:
        raise InputError(f"{path}: there is no section in it")
    sections: list[Section] = []
    row_of: dict[str, str] = {}
    for where, row in rows:
        section = _section(where, row, path.parent)
        if section.section_id in row_of:
            raise InputError(
                f"{where}, column section_id: {section.section_id!r} is the name of "
                f"{row_of[section.section_id]} already; each section needs its own"
            )
        row_of[section.section_id] = where.rsplit(", ", 1)[-1]
        sections.append(section)
    return tuple(sections)


def write_sections(sections: Sequence[Section], path: str | os.PathLike[str]) -> None:
    """Write a sections table that :func:`read_sections` reads.

    Parameters
    ----------
    sections
        At least one.
    path
        CSV to write. An existing sections table is replaced, any other file never. Files below
        the table's folder are named relative to it, so that the folder can be moved; others by
        their absolute paths.

    Raises
    ------
    InputError
        There is no section, two have the same name, or the file cannot be written.

    Examples
    --------
    .. code-block:: python

        sections = [Section("C6", "C", Path("C6.jpg"), Path("C6.tsv.gz"))]
        write_sections(sections, "sections.csv")
    """
    path = Path(path).expanduser().absolute()
    if not sections:
        raise InputError(f"{path} is not written: there is no section")
    names = [section.section_id for section in sections]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path} is not written: {name!r} is the name of two sections")

    def written(file: SlidePath | None) -> str:
        if file is None:
            return ""
        if isinstance(file, RemotePath):
            return str(file)
        file = Path(os.path.normpath(file.absolute()))
        return (
            file.relative_to(path.parent).as_posix() if path.parent in file.parents else str(file)
        )

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    used = [n for n in _SELDOM if any(getattr(one, n) is not None for one in sections)]
    writer.writerow([name for name in _COLUMNS if name not in _SELDOM or name in used])
    for section in sections:
        writer.writerow(
            (
                section.section_id,
                section.donor_id,
                written(section.slide),
                written(section.expression),
                written(section.positions),
                "" if section.mpp is None else repr(float(section.mpp)),
                "" if section.fix is None else section.fix.spelled(),
                *(
                    written(section.features)
                    if name == "features"
                    else ("" if (v := getattr(section, name)) is None else v)
                    for name in used
                ),
            )
        )
    check_place(path, True, is_ours=is_sections_table, kind="a sections table")
    write_csv(path, text.getvalue())


def is_sections_table(path: Path) -> bool:
    """Whether a CSV has the columns of a sections table, whatever its rows."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline(10_000).strip()
        delimiter = max(",;\t", key=line.count)
        _check_columns([name.strip() for name in line.split(delimiter)], str(path))
    except (OSError, UnicodeDecodeError, InputError):
        return False
    return True


def _yaml(text: str, path: Path) -> list[tuple[str, dict[str, str]]]:
    yaml = import_module("yaml")  # not before it is needed: most tables are CSV
    if len(text) > _LONGEST_YAML:
        raise InputError(f"{path}: it is too long to be read as YAML; give it as CSV")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: this is not YAML") from None
    except (ValueError, RecursionError) as error:  # a number or a depth beyond any reason
        raise InputError(f"{path}: this YAML cannot be read ({first_line(error)})") from None
    if isinstance(content, dict) and set(content) == {"sections"}:
        content = content["sections"]
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise InputError(f"{path}: it must be a list of sections, each with {', '.join(_REQUIRED)}")
    rows = []
    for number, item in enumerate(content, start=1):
        where = f"{path}, row {number}"
        _check_columns([str(key) for key in item], where)
        for key, value in item.items():
            if isinstance(value, dict | list | bool):
                raise InputError(f"{where}, column {key}: it must be a text or a number")
        rows.append((where, {str(k): "" if v is None else str(v) for k, v in item.items()}))
    return rows


def _check_columns(names: list[str], where: str) -> None:
    for name in names:
        if name not in _COLUMNS:
            near = nearest_names(name, _COLUMNS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"columns are {', '.join(_COLUMNS)}"
            raise InputError(f"{where}: there is no column {name!r}; {hint}")
        if names.count(name) > 1:
            raise InputError(f"{where}: the column {name} occurs twice")
    for name in _REQUIRED:
        if name not in names:
            raise InputError(f"{where}: the column {name} is missing")


def _section(where: str, row: Mapping[str, str], folder: Path) -> Section:
    for name in _REQUIRED:
        if not row.get(name):
            raise InputError(f"{where}, column {name}: it is empty")
    existing = partial(existing_path, folder=folder)
    slide = cell(where, row, "slide", partial(existing_slide, folder=folder))
    expression = cell(where, row, "expression", existing)
    assert slide is not None
    assert expression is not None
    positions = cell(where, row, "positions", existing)
    if needs_positions(expression) and positions is None:
        raise InputError(
            f"{where}, column positions: it is empty, and {expression.name} is a table of counts, "
            "which needs a table of positions"
        )
    if positions is not None and not takes_positions(expression):
        raise InputError(
            f"{where}, column positions: {expression.name} has positions of its own; leave the "
            "column empty"
        )
    return Section(
        row["section_id"],
        row["donor_id"],
        slide,
        expression,
        positions,
        cell(where, row, "mpp", um_per_px),
        cell(where, row, "fix", _fix),
        row.get("library") or None,
        cell(where, row, "bin_um", bin_side),
        row.get("coordinate_system") or None,
        row.get("image") or None,
        cell(where, row, "features", existing),
    )


def _fix(text: str) -> Fix | None:
    fix = Fix.from_text(text)
    return None if fix == Fix() else fix
