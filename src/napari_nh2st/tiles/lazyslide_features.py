"""Features in the SpatialData stores of LazySlide."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.extras import import_extra

if TYPE_CHECKING:
    from napari_nh2st.tiles.feature_files import StoredFeatures

_HEADER = bytes([1]) + np.array([3, 1, 5], "<u4").tobytes()
"""Of a box in WKB: little-endian, a polygon of one ring of five points."""

_BOX = np.dtype([("header", "V", len(_HEADER)), ("points", "<f8", (5, 2))])

_SPECS = "tile_spec"
"""Attribute of a store: by the name of tiles, their size, stride and downsample."""


def is_store(group: Any) -> bool:
    """Whether a zarr group is a SpatialData store with tables."""
    return "tables" in group and "shapes" in group


def read_store(group: Any, path: Path, table: str | None, encoder: str | None) -> "StoredFeatures":
    """Read the features of a table, whose name is that of the encoder and of the tiles.

    Parameters
    ----------
    group, path
        The store.
    table
        Which one; None for the one there is, or the wanted encoder's.
    encoder
        Name of the wanted encoder.

    Raises
    ------
    InputError
        There is no such table, there are several, or what belongs to it is missing.
    """
    from anndata.io import read_elem

    from napari_nh2st.tiles.feature_files import StoredFeatures

    specs = dict(group.attrs.get(_SPECS) or {})
    tables = {
        name: tiles
        for name in sorted(group["tables"].group_keys())
        for tiles in specs
        if name.endswith(f"_{tiles}") and tiles in group["shapes"]
    }
    name = _chosen(tables, table, encoder, path)
    tiles = tables[name]
    counts = read_elem(group["tables"][name])
    values = counts.X.toarray() if hasattr(counts.X, "toarray") else np.asarray(counts.X)
    spec: Mapping[str, Any] = specs[tiles]
    if spec["height"] != spec["width"]:
        raise InputError(
            f"{path}: tiles of {spec['width']} × {spec['height']} px; they must be square"
        )
    downsample = float(spec["base_downsample"])
    properties = group.attrs.get("slide_properties") or {}
    shape = list(properties.get("shape") or [])
    return StoredFeatures(
        values,
        _corners(path, tiles, counts.obs["tile_id"].to_numpy()),
        name.removesuffix(f"_{tiles}"),
        int(spec["width"] * downsample),
        int(spec["width"]),
        int(spec["stride_width"] * downsample),
        "",
        (int(shape[0]), int(shape[1])) if len(shape) == 2 else None,
    )


def _chosen(tables: Mapping[str, str], table: str | None, encoder: str | None, path: Path) -> str:
    """The name of the table that is meant."""
    if not tables:
        raise InputError(
            f"{path} has no table of features: LazySlide calls them by the encoder and the tiles, "
            "as in uni_tiles"
        )
    there = ", ".join(tables)
    if table is not None:
        if table not in tables:
            raise InputError(f"{path} has no table {table!r} of features (there are: {there})")
        return table
    named = [name for name, tiles in tables.items() if name.removesuffix(f"_{tiles}") == encoder]
    found = named or list(tables)
    if len(found) > 1:
        raise InputError(
            f"{path} has features of several encoders: {there}. Say which, as in "
            f"{path.name}?table={found[0]}"
        )
    return found[0]


def _corners(path: Path, tiles: str, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    """Upper left corners (x, y) of the tiles of these numbers, from their shapes."""
    import_extra("pyarrow", "lazyslide", f"{path} is a store of LazySlide; reading it")
    file = path / "shapes" / tiles / "shapes.parquet"
    try:
        found = pd.read_parquet(file, engine="pyarrow")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error})") from None
    if not {"tile_id", "geometry"} <= set(found):
        raise InputError(f"{file} has no tile_id and geometry, but {', '.join(found)}")
    shapes = found["geometry"].tolist()
    if any(len(shape) != _BOX.itemsize or shape[: len(_HEADER)] != _HEADER for shape in shapes):
        raise InputError(f"{file}: the shapes of the tiles are not boxes")
    corners = np.frombuffer(b"".join(shapes), _BOX)["points"].min(1)
    row_of = pd.Index(found["tile_id"]).get_indexer(wanted)
    if lost := int((row_of < 0).sum()):
        raise InputError(f"{path}: {lost:,} rows of features have no tile in {tiles}")
    return np.asarray(corners[row_of])
