"""Slides of a cohort: in folders, by patterns and paths, or in a table."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.names import with_names
from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath, slide_path
from napari_nh2st.slide.ome_zarr import is_zarr
from napari_nh2st.table_cells import (
    Row,
    cell,
    csv_rows,
    existing_path,
    table_text,
    um_per_px,
)
from napari_nh2st.tiles.geojson import read_regions

SLIDE_SUFFIXES = frozenset(
    (
        *(".svs", ".ndpi", ".scn", ".tif", ".tiff", ".btf", ".tf8", ".qptiff", ".svslide", ".bif"),
        *(".mrxs", ".vms", ".vmu", ".jpg", ".jpeg", ".png", ".dcm"),
    )
)
"""Of the files in a folder, those that are taken for slides."""

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})

_COLUMNS = ("slide", "mpp", "model", "region", "tissue", "image")
"""Columns of a table that the prediction reads; the others are kept in the summary."""

RESULT_COLUMNS = (
    "slide",
    "output",
    "status",
    "tiles",
    "failed_tiles",
    "step_um",
    "seconds",
    "mean_reliability",
    "model",
    "device",
    "precision",
    "notices",
    "failure",
    "request",
    "mpp",
    "own_model",
    "region",
    "tissue",
    "image",
)
"""Columns of ``summary.csv``, followed by those of the table of slides."""

_MISSING_SHOWN = 3

_OF_A_SERIES = ".dcm"
"""A slide in DICOM is a folder of files, of which any opens the whole."""


@dataclass(frozen=True)
class FoundSlides:
    """Slides of a cohort, and sentences on what was left out."""

    slides: tuple[CohortSlide, ...]
    notices: tuple[str, ...] = ()


def is_slide_table(path: SlidePath) -> bool:
    """Whether a path is named like a table of slides."""
    return path.suffix.lower() in TABLE_SUFFIXES


def is_slide_folder(path: SlidePath) -> bool:
    """Whether a path is a folder of slides: a folder that is no slide itself."""
    return isinstance(path, Path) and path.is_dir() and not is_zarr(path)


def is_pattern(path: SlidePath) -> bool:
    """Whether a path stands for others, as ``slides/*.svs`` does."""
    return isinstance(path, Path) and glob.has_magic(str(path)) and not path.exists()


def find_slides(sources: Iterable[SlidePath | str], mpp: float | None = None) -> FoundSlides:
    """Find the slides of a cohort.

    Parameters
    ----------
    sources
        Slides (files or URLs), folders of slides (without their subfolders), patterns such as
        ``slides/**/*.svs``, or one table of slides, see :func:`read_slide_table`.
    mpp
        µm/px of all slides that have none in a table.

    Raises
    ------
    InputError
        There is no slide, a path does not exist, or a table is given together with other sources.
    """
    given = [_expanded(slide_path(source)) for source in sources]
    tables = [path for path in given if is_slide_table(path)]
    if tables:
        if len(given) > 1:
            raise InputError(f"{tables[0]} is a table of slides: give it alone")
        if isinstance(tables[0], RemotePath):
            raise InputError(f"{tables[0]}: download the table; its slides may stay where they are")
        found, notices = read_slide_table(tables[0])
        return FoundSlides(with_names(_with_mpp(found, mpp)), notices)
    paths: dict[SlidePath, None] = {}
    left_out: list[str] = []
    for path in given:
        some, others = _slides_of(path)
        paths |= dict.fromkeys(some)
        left_out += others
    if not paths:
        raise InputError("no slide was given")
    sentences = []
    if left_out:
        count = f"{len(left_out)} file" + ("" if len(left_out) == 1 else "s")
        sentences = [f"{count} in no slide format left out: {_some(left_out)}"]
    sentences += [sentence for path in given if (sentence := _deeper_slides(path))]
    return FoundSlides(with_names([CohortSlide(path, mpp=mpp) for path in paths]), tuple(sentences))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _expanded(path: SlidePath) -> SlidePath:
    return path.expanduser() if isinstance(path, Path) else path


def _with_mpp(slides: Iterable[CohortSlide], mpp: float | None) -> list[CohortSlide]:
    return [replace(slide, mpp=mpp) if slide.mpp is None else slide for slide in slides]


def read_slide_table(path: Path) -> tuple[list[CohortSlide], tuple[str, ...]]:
    """Read a table of slides.

    Parameters
    ----------
    path
        CSV (comma, semicolon or tab) with the column ``slide`` and, optionally, ``mpp``, ``model``,
        ``region``, ``tissue`` and ``image``; further columns, such as ``donor``, are kept.
        Relative paths start at the table's folder.

    Returns
    -------
    slides, notices
        Slides in the table's order, without names; and sentences on possible typing errors and on
        missing slides.

    Raises
    ------
    InputError
        The message names the row and column of the first error, or says that no slide exists.
    """
    path = path.absolute()
    check_regular(path)
    notices: list[str] = []

    def check_columns(names: list[str], where: str) -> None:
        folded = [name.casefold() for name in names]
        if "slide" not in folded:
            near = nearest_names("slide", names, n=1)
            hint = f"; is it {near[0]!r}?" if near else ""
            raise InputError(f"{where}: the column slide is missing{hint}")
        for name in folded:
            if folded.count(name) > 1:
                raise InputError(f"{where}: the column {name!r} occurs twice")
            if name in RESULT_COLUMNS and name not in _COLUMNS:
                raise InputError(
                    f"{where}: {name!r} is a column of the summary; give it another name"
                )
            near = () if name in _COLUMNS else nearest_names(name, _COLUMNS, n=1)
            if near:
                notices.append(
                    f"{where}: the column {name!r} is kept but not used; if you mean {near[0]}, "
                    "rename it"
                )

    rows = csv_rows(table_text(path), path, check_columns)
    if not rows:
        raise InputError(f"{path}: it has no slide")
    slides = [_table_slide(row, path.parent) for row in rows]
    missing = [
        f"{where}, column slide: there is no {slide.path}"
        for (where, _), slide in zip(rows, slides, strict=True)
        if isinstance(slide.path, Path) and not slide.path.exists()
    ]
    if len(missing) == len(slides):
        raise InputError(missing[0])
    if len(missing) > _MISSING_SHOWN:
        missing[_MISSING_SHOWN:] = [f"{len(missing) - _MISSING_SHOWN} more slides are missing"]
    return slides, (*notices, *missing)


def _table_slide(row: Row, folder: Path) -> CohortSlide:
    where, cells = row
    known = {name.casefold(): text for name, text in cells.items()}
    if not known.get("slide"):
        raise InputError(f"{where}, column slide: it is empty")
    existing = partial(existing_path, folder=folder)
    slide = cell(where, known, "slide", partial(_place, folder=folder))
    assert slide is not None
    region = cell(where, known, "region", existing)
    if region is not None:
        cell(where, known, "region", lambda _: read_regions(region))
    return CohortSlide(
        slide,
        mpp=cell(where, known, "mpp", um_per_px),
        model=cell(where, known, "model", partial(_model_name, folder=folder)),
        region=region,
        tissue=cell(where, known, "tissue", existing),
        image=known.get("image") or None,
        columns={n: text for n, text in cells.items() if n.casefold() not in _COLUMNS},
    )


def _place(text: str, folder: Path) -> SlidePath:
    """Where a slide is, which need not be there: one that is missing stops no other."""
    place = slide_path(text)
    if isinstance(place, RemotePath):
        return place
    return Path(os.path.normpath(folder / place.expanduser()))


def _model_name(text: str, folder: Path) -> str:
    """A model's name; of a folder, its whole path."""
    path = Path(os.path.normpath(folder / Path(text).expanduser()))
    return str(path) if path.is_dir() else text


def _slides_of(path: SlidePath) -> tuple[Sequence[SlidePath], list[str]]:
    """Slides that a path stands for, and names of what is none."""
    if isinstance(path, RemotePath):
        return [path], []
    if is_pattern(path):
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207  of any folder
        found, left_out = _slides_among(_each_once(matches))
        if not found:
            raise InputError(f"{path}: no slide has a name like that")
        return found, left_out
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if not is_slide_folder(path):
        return [_whole(path)], []
    try:
        found, left_out = _slides_among(sorted(path.iterdir()))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if not found:
        raise InputError(
            f"{path} has no slide in it. Subfolders are not searched: give '{path / '**' / '*'}'"
        )
    return found, left_out


def _each_once(paths: Iterable[Path]) -> list[Path]:
    """Sorted, and without what links to folders show again: a link to a folder above, 40 times."""
    real = cache(os.path.realpath)
    shortest: dict[tuple[str, str], Path] = {}
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        shortest.setdefault((real(path.parent), path.name), path)
    return sorted(shortest.values())


def _deeper_slides(path: SlidePath) -> str | None:
    """A sentence on the subfolders of a folder that have slides as well, if any do."""
    if not isinstance(path, Path) or not is_slide_folder(path):
        return None
    deeper = sorted(folder.name for folder in path.iterdir() if _has_slides(folder))
    if not deeper:
        return None
    count = "1 subfolder has" if len(deeper) == 1 else f"{len(deeper)} subfolders have"
    return (
        f"{count} slides as well ({_some(deeper)}), which are not looked into; give "
        f"'{path / '**' / '*'}' to take those too"
    )


def _has_slides(folder: Path) -> bool:
    if folder.name.startswith(".") or not is_slide_folder(folder):
        return False
    try:
        return any(
            path.suffix.lower() in SLIDE_SUFFIXES and not path.name.startswith(".")
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _slides_among(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Those that are slides, by their names, and the names of other files."""
    found: list[Path] = []
    left_out: list[str] = []
    series: set[Path] = set()
    stores: set[Path] = set()
    for path in paths:  # sorted: a folder before what is in it
        if path.name.startswith(".") or not stores.isdisjoint(path.parents):
            continue
        suffix = path.suffix.lower()
        if path.is_dir():
            if is_zarr(path):
                stores.add(path)
                found.append(path)
        elif suffix not in SLIDE_SUFFIXES:
            left_out.append(path.name)
        elif suffix != _OF_A_SERIES or path.parent not in series:
            series.add(path.parent if suffix == _OF_A_SERIES else path)
            found.append(path)
    return [_whole(path) for path in found], left_out


def _whole(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))
