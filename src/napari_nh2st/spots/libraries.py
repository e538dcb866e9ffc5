"""The sections of one AnnData: which there are, and the spots, picture and scale of one."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.spots.array import fits_one_array
from napari_nh2st.spots.choice import choice_needed
from napari_nh2st.spots.positions import ARRAY, SPATIAL, has_array

_SECTION_COLUMNS = ("libraryid", "library")
"""obs columns, without case and underscores, that name a section and nothing else."""

_LIKELY_COLUMNS = (
    "sample",
    "sampleid",
    "samplename",
    "section",
    "sectionid",
    "slide",
    "slideid",
    "batch",
    "dataset",
    "datasetid",
    "origident",
    "capturearea",
    "puck",
    "puckid",
)
"""Columns that name a section, unless all spots are one array."""

_MOST_SHARED = 0.2
"""Share of spots on an array place that is taken already: with more, these are several sections."""


@dataclass(frozen=True)
class Library:
    """One section of an AnnData.

    Parameters
    ----------
    data
        Its spots, with ``uns["spatial"]`` of this section alone.
    name
        What it is called; None where the file has but one.
    names
        All sections in the file.
    notes
        What was left out, for the report.
    """

    data: AnnData
    name: str | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def libraries_of(uns: Any) -> dict[str, dict[str, Any]]:
    """Pictures and scale factors by section: ``uns["spatial"]`` without ``is_single``."""
    spatial = uns.get(SPATIAL)
    if not isinstance(spatial, dict):
        return {}
    return {str(name): section for name, section in spatial.items() if isinstance(section, dict)}


def only_library(uns: Any) -> dict[str, Any]:
    """The pictures and scale factors of an AnnData of one section; empty without, or of several."""
    found = list(libraries_of(uns).values())
    return found[0] if len(found) == 1 else {}


def spot_picture(spots: AnnData) -> tuple[NDArray[Any], float] | None:
    """The finest picture of the slide that came with the spots.

    Returns
    -------
    tuple or None
        The picture, (height, width, 3), and its pixels per full-resolution pixel: ``hires`` of
        Space Ranger, scanpy and squidpy, ``downscaled_fullres`` of HEST-1k, else ``lowres``. None
        if there is no picture, or pictures of several sections.

    Examples
    --------
    >>> section = {
    ...     "images": {"lowres": np.zeros((2, 3, 3))},
    ...     "scalefactors": {"tissue_lowres_scalef": 0.05},
    ... }
    >>> picture, scale = spot_picture(AnnData(uns={"spatial": {"C6": section}}))
    >>> picture.shape, scale
    ((2, 3, 3), 0.05)
    """
    section = only_library(spots.uns)
    images, factors = section.get("images", {}), section.get("scalefactors", {})
    for name in ("hires", "downscaled_fullres", "lowres"):
        factor = factors.get(f"tissue_{name}_scalef")
        if name in images and factor is not None:
            return np.asarray(images[name]), float(factor)
    return None


def take_library(data: AnnData, wanted: str | None, path: Path) -> Library:
    """The section that is meant, or the only one.

    Sections are known by ``uns["spatial"]`` and the column of ``obs`` that has its names; else by a
    column such as ``library_id`` or ``sample``; else by array places that occur again and again.

    Parameters
    ----------
    data
        Spots of one section or several.
    wanted
        Name of one; None for the only one.
    path
        Its file, for messages.

    Raises
    ------
    ChoiceNeeded
        There are several and none is named.
    InputError
        There is none of this name, or nothing says which spots are its.
    """
    libraries = libraries_of(data.uns)
    labels = _labels(data, libraries, wanted)
    if labels is None:
        return _unlabelled(data, libraries, wanted, path)
    names = tuple(sorted(labels.dropna().unique().tolist()))
    if wanted is None and len(names) > 1:
        raise choice_needed(path, "sections", "library", names)
    if wanted is not None and wanted not in names:
        raise InputError(f"{path}: there is no section {wanted!r}; there are {', '.join(names)}")
    name = names[0] if wanted is None else wanted
    taken = data[(labels == name).to_numpy()] if len(names) > 1 else data
    notes: tuple[str, ...] = ()
    if name in libraries:
        kept = {name: libraries[name]}
    elif len(names) == 1 and len(libraries) == 1:
        kept = libraries  # under another name: "spatial", for one
    else:
        kept = {}
        if libraries:
            notes = (f"pictures of {_listed(libraries)} left out: none is named {name}",)
    return Library(_with_libraries(taken, kept), name, names, notes)


def _unlabelled(
    data: AnnData, libraries: dict[str, dict[str, Any]], wanted: str | None, path: Path
) -> Library:
    """A section that no column names."""
    advice = "save each section to its own file, with its entry of uns['spatial']"
    if len(libraries) > 1:
        raise InputError(
            f"{path} holds {len(libraries)} sections ({_listed(libraries)}) by uns['spatial'], and "
            f"no column of obs says which spot is of which; {advice}"
        )
    if (most := _spots_on_one_place(data)) > 1:
        raise InputError(
            f"{path}: there are up to {most} spots on one array place, as where sections are "
            f"merged, and no column of obs tells them apart; {advice}"
        )
    if wanted is not None and wanted not in libraries:
        known = f"there is {_listed(libraries)}" if libraries else "nothing in it names sections"
        raise InputError(f"{path}: there is no section {wanted!r}; {known}")
    notes: tuple[str, ...] = ()
    spatial = data.uns.get(SPATIAL)
    if isinstance(spatial, dict) and str(spatial.get("is_single", True)) == "False":
        notes = ("by is_single these may be several sections",)
    return Library(_with_libraries(data, libraries), None, tuple(libraries), notes)


def _with_libraries(data: AnnData, libraries: dict[str, dict[str, Any]]) -> AnnData:
    # Not a copy of the counts: only `uns` is another.
    taken = data.copy() if data.is_view else data
    taken.uns = {k: v for k, v in data.uns.items() if k != "spatial"}
    if libraries:
        taken.uns[SPATIAL] = libraries
    return taken


def _labels(data: AnnData, libraries: Iterable[str], wanted: str | None) -> "pd.Series[str] | None":
    """Each spot's section, if anything says it; NaN for a spot of none."""
    known = set(libraries)
    columns = {
        _word(str(name)): _text(column)
        for name, column in data.obs.items()
        if _may_name(str(name), column)
    }
    merged = _spots_on_one_place(data) > 1
    naming = [column for column in columns.values() if known and set(column.dropna()) <= known]
    # Of several columns with these names, the one with the most sections.
    naming.sort(key=lambda column: -column.nunique())
    naming += [columns[word] for word in _SECTION_COLUMNS if word in columns]
    if wanted is not None:
        naming = [c for c in naming if (c == wanted).any()] or naming
    if naming and (naming[0].nunique() > 1 or not merged):
        return naming[0]
    if len(known) > 1 and (by_name := _by_spot_names(data, known)) is not None:
        return by_name
    if len(known) > 1 or merged or not _is_one_array(data):
        likely = [columns[w] for w in _LIKELY_COLUMNS if w in columns and columns[w].nunique() > 1]
        if likely:
            return next((c for c in likely if (c == wanted).any()), likely[0])
    if merged:
        apart = [c for c in columns.values() if c.nunique() > 1 and _tells_apart(data, c)]
        return min(apart, key=lambda column: column.nunique(), default=None)
    return next((c for c in columns.values() if (c == wanted).any()), None)


def _may_name(name: str, column: pd.Series) -> bool:
    """Whether a column may hold names of sections: a category or text, or numbers by its name."""
    by_type = isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype) or (
        column.dtype == object
    )
    if not by_type and _word(name) not in (*_SECTION_COLUMNS, *_LIKELY_COLUMNS):
        return False
    return bool(0 < column.nunique() <= max(1, len(column) // 2))


def _text(column: pd.Series) -> "pd.Series[str]":
    text = column.astype(object)
    return text.where(column.isna(), text.astype(str))


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _by_spot_names(data: AnnData, libraries: set[str]) -> "pd.Series[str] | None":
    """Sections by what stands before or behind the spots' names, as merging puts it there."""
    names = data.obs_names.astype(str)
    found = pd.Series(np.nan, index=data.obs.index, dtype=object)
    for library in libraries:
        here = names.str.startswith((f"{library}_", f"{library}-"))
        here |= names.str.endswith((f"_{library}", f"-{library}"))
        found[np.asarray(here)] = library
    return found if found.notna().all() else None


def _places(data: AnnData) -> NDArray[Any] | None:
    """(n, 2) array places, where these make an array at all."""
    if not has_array(data.obs):
        return None
    places = data.obs[list(ARRAY)].to_numpy()
    return places if len(places) and (places != places[0]).any(0).all() else None


def _spots_on_one_place(data: AnnData) -> int:
    """The most spots on one array place, if it is so on many; else 1."""
    places = _places(data)
    if places is None:
        return 1
    count = pd.DataFrame(places).value_counts(sort=False).to_numpy()
    if not len(count):  # all are empty
        return 1
    shared = len(places) - len(count)
    return int(count.max()) if shared > _MOST_SHARED * len(places) else 1


def _is_one_array(data: AnnData) -> bool:
    if _places(data) is None or "spatial" not in data.obsm:
        return False
    return fits_one_array(data)


def _tells_apart(data: AnnData, labels: "pd.Series[str]") -> bool:
    places = _places(data)
    assert places is not None
    table = pd.DataFrame(places)
    table["section"] = labels.to_numpy()
    return bool(not table.dropna().duplicated().any())


def _listed(names: Iterable[str], most: int = 4) -> str:
    known = list(names)
    return ", ".join(known[:most]) + (", …" if len(known) > most else "")
