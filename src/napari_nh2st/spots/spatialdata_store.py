"""SpatialData stores, read with the extra ``spatialdata``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.extras import import_extra
from napari_nh2st.spots.anndata_files import spots_of
from napari_nh2st.spots.assembly import Source
from napari_nh2st.spots.choice import SpotOption, choice_needed
from napari_nh2st.spots.positions import SPATIAL
from napari_nh2st.zarr_codecs import refuse_pickles

_BINS = re.compile(r"square_(\d+)um$")


@dataclass(frozen=True)
class _Part:
    """The rows of a table that belong to one element of shapes.

    Parameters
    ----------
    name
        What chooses it: the table's, or where a table has several regions, the region's.
    table, region
        Their names.
    bin_um
        Side of Visium HD's bins; None for anything else.
    """

    name: str
    table: str
    region: str
    bin_um: int | None


def read_spatialdata(
    path: Path,
    library: str | None = None,
    bin_um: int | None = None,
    coordinate_system: str | None = None,
) -> AnnData:
    """Read the spots of a SpatialData store.

    Parameters
    ----------
    path
        ``.zarr``, as ``spatialdata_io.visium`` and others write it.
    library
        Which of its tables, or region of a table with several; None if there is one.
    bin_um
        Side of Visium HD's bins; None for the largest there are.
    coordinate_system
        The one whose unit is the full-resolution pixel; None for that in which the shapes have the
        identity, else ``"global"``, or the only one.

    Raises
    ------
    ChoiceNeeded
        There are several parts, and none is named.
    InputError
        The extra is missing, the store cannot be read, or what is named is not in it.
    """
    spatialdata = import_extra(
        "spatialdata", "spatialdata", f"{path} is a SpatialData store; reading it"
    )
    refuse_pickles(path)
    try:
        store = spatialdata.read_zarr(path)
    except Exception as error:
        # zarr, pyarrow and geopandas raise whatever they meet in a damaged store.
        raise InputError(f"{path} cannot be read as SpatialData ({error})") from error
    parts = _parts(store.tables, path)
    part = _part(parts, library, bin_um, path)
    counts = store.tables[part.table]
    description = counts.uns["spatialdata_attrs"]
    if part.region not in store:
        raise InputError(f"{path}: the shapes {part.region} of the table {part.table} are missing")
    shapes = store[part.region]
    systems = spatialdata.transformations.get_transformation(shapes, get_all=True)
    system = _system(systems, coordinate_system, path)
    if (column := description.get("region_key")) in counts.obs:
        counts = counts[(counts.obs[column].astype(str) == part.region).to_numpy()]
    centers = spatialdata.get_centroids(shapes, coordinate_system=system).compute()
    rows = centers.index.get_indexer(counts.obs[description["instance_key"]])
    if (rows < 0).all():
        raise InputError(
            f"{path}: no row of the table {part.table} is one of the shapes {part.region}"
        )
    spots = counts[rows >= 0].copy()
    spots.obsm[SPATIAL] = centers[["x", "y"]].to_numpy(np.float64)[rows[rows >= 0]]
    offered: dict[SpotOption, tuple[str, ...]] = {}
    chosen: dict[SpotOption, str] = {}
    bins = sorted(p.bin_um for p in parts if p.bin_um is not None)
    if part.bin_um is not None and len(bins) == len(parts) > 1:
        offered["bin_um"] = tuple(map(str, bins))
        chosen["bin_um"] = str(part.bin_um)
    elif len(parts) > 1:
        offered["library"] = tuple(p.name for p in parts)
        chosen["library"] = part.name
    if len(systems) > 1:
        offered["coordinate_system"], chosen["coordinate_system"] = tuple(sorted(systems)), system
    pitch = None if part.bin_um is None else float(part.bin_um)
    source = Source(path, f"SpatialData, {part.region}", pitch, offered, chosen)
    # Its regions are its sections: the table itself has no more of them.
    return spots_of(spots, source, is_one_section=True)


def _parts(tables: Mapping[str, AnnData], path: Path) -> list[_Part]:
    """What of a store can be read, by table and region."""
    parts = []
    for table in sorted(tables):
        description = tables[table].uns.get("spatialdata_attrs", {})
        regions = description.get("region")
        regions = [regions] if isinstance(regions, str) else list(regions or ())
        if not regions or description.get("instance_key") not in tables[table].obs:
            continue
        for region in regions:
            bins = _BINS.search(table) or _BINS.search(region)
            name = table if len(regions) == 1 else str(region)
            parts.append(_Part(name, table, str(region), int(bins[1]) if bins else None))
    if not parts:
        names = ", ".join(sorted(tables)) or "none"
        raise InputError(
            f"{path}: there is no table that says which shapes its rows belong to (tables: {names})"
        )
    return parts


def _part(parts: list[_Part], library: str | None, bin_um: int | None, path: Path) -> _Part:
    """The one that is meant; of Visium HD's bins, the largest."""
    found = parts
    if library is not None:
        found = [part for part in parts if library in (part.name, part.region)]
        if not found:
            known = ", ".join(part.name for part in parts)
            raise InputError(f"{path}: there is no table {library!r} (there are: {known})")
    sides = sorted(part.bin_um for part in found if part.bin_um is not None)
    if bin_um is not None:
        found = [part for part in found if part.bin_um == bin_um]
        if not found:
            known = f"; there are {', '.join(map(str, sides))} µm" if sides else ""
            raise InputError(f"{path}: there are no bins of {bin_um} µm{known}")
    elif len(sides) == len(found) == len(set(sides)):
        found = [part for part in found if part.bin_um == sides[-1]]
    if len(found) > 1:
        raise choice_needed(path, "tables", "library", [part.name for part in found])
    return found[0]


def _system(systems: Mapping[str, Any], wanted: str | None, path: Path) -> str:
    """The coordinate system in which the shapes' numbers are pixels of the slide."""
    known = sorted(systems)
    if wanted is not None:
        if wanted not in systems:
            raise InputError(
                f"{path}: there is no coordinate system {wanted!r} (there are: {', '.join(known)})"
            )
        return wanted
    # In one of several, spots are as they were measured; the others have pictures made smaller.
    as_they_are = [name for name in known if _is_identity(systems[name])]
    for names in (as_they_are, known):
        if "global" in names:
            return "global"
        if len(names) == 1 or (names is as_they_are and names):
            return names[0]
    raise choice_needed(path, "coordinate systems", "coordinate_system", known)


def _is_identity(transformation: Any) -> bool:
    """Whether a transformation of spatialdata leaves x and y as they are."""
    matrix = transformation.to_affine_matrix(input_axes=("x", "y"), output_axes=("x", "y"))
    return bool(np.allclose(matrix, np.eye(3)))
