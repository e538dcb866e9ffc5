"""SpatialData stores, read with the extra ``spatialdata``."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.spots.anndata_files import spots_of
from napari_nh2st.spots.assembly import Source


def read_spatialdata(
    path: Path, table: str | None = None, coordinate_system: str | None = None
) -> AnnData:
    """Read the spots of a SpatialData store.

    Parameters
    ----------
    path
        ``.zarr``, as ``spatialdata_io.visium`` and others write it.
    table
        Which of its tables; None if there is one.
    coordinate_system
        The one whose unit is the full-resolution pixel; None for ``"global"``, or the only one.

    Raises
    ------
    InputError
        The extra is missing, the store cannot be read, or it must be said what to take of it.
    """
    try:
        spatialdata = import_module("spatialdata")
    except ImportError:
        raise InputError(
            f"{path} is a SpatialData store; reading it needs: "
            "pip install 'napari-nh2st[spatialdata]'"
        ) from None
    try:
        store = spatialdata.read_zarr(path)
    except Exception as error:
        # zarr, pyarrow and geopandas raise whatever they meet in a damaged store.
        raise InputError(f"{path} cannot be read as SpatialData ({error})") from error
    name = _only(sorted(store.tables), table, "table", path)
    counts = store.tables[name]
    description = counts.uns.get("spatialdata_attrs", {})
    region, instance = description.get("region"), description.get("instance_key")
    regions = [region] if isinstance(region, str) else list(region or [])
    if not regions or instance not in counts.obs:
        raise InputError(f"{path}: the table {name} does not say which shapes its rows belong to")
    element = _only(regions, None, "region", path)
    if element not in store:
        raise InputError(f"{path}: the shapes {element} of the table {name} are missing")
    shapes = store[element]
    system = _system(spatialdata, shapes, coordinate_system, path)
    centers = spatialdata.get_centroids(shapes, coordinate_system=system).compute()
    rows = centers.index.get_indexer(counts.obs[instance])
    if (rows < 0).all():
        raise InputError(f"{path}: no row of the table {name} is one of the shapes {element}")
    spots = counts[rows >= 0].copy()
    spots.obsm["spatial"] = centers[["x", "y"]].to_numpy(np.float64)[rows[rows >= 0]]
    return spots_of(spots, Source(path, f"SpatialData, {element}"))


def _system(spatialdata: Any, shapes: Any, wanted: str | None, path: Path) -> str:
    known = sorted(
        spatialdata.transformations.get_transformation(shapes, get_all=True),
    )
    if wanted is None and "global" in known:
        return "global"
    return _only(known, wanted, "coordinate system", path)


def _only(names: list[str], wanted: str | None, what: str, path: Path) -> str:
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    known = ", ".join(names) or "none"
    problem = f"no {what} {wanted!r}" if wanted is not None else f"not one {what}, but {len(names)}"
    raise InputError(f"{path}: there is {problem} (there are: {known}); say which is meant")
