"""SpatialData stores, written with the extra ``spatialdata``."""

import math
import re
import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.extras import import_extra
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.files_of_others import ZARR_METADATA, files_of_others, keep_files
from napari_nh2st.prediction.files import store_attributes
from napari_nh2st.prediction.outlines import spot_diameter, tile_outlines
from napari_nh2st.prediction.schema import MARK, is_on_grid, named_layers, origin
from napari_nh2st.prediction.stored_names import with_stored_names
from napari_nh2st.prediction.values import chosen_genes
from napari_nh2st.spots import spot_picture
from napari_nh2st.spots.positions import positions

_INSTANCE = "tile_id"
_NAME = re.compile(r"(?!__)(?!\.{1,2}$)[\w.-]+")
"""A name of a column or key that SpatialData accepts."""
_OWN_FILES = (
    *ZARR_METADATA,
    *(f"{kind}/{name}" for kind in ("images", "shapes", "tables") for name in ZARR_METADATA),
    *("images/hires", "shapes/tiles", "shapes/spots", "tables/table"),
)
_SMALLEST_LEVEL = 512
"""Pixels of the longest side of the coarsest level of a picture."""


def write_spatialdata(
    prediction: AnnData,
    path: Path,
    *,
    genes: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a SpatialData store of picture, tiles and values.

    - image ``hires``: the stored picture of the slide, with its scale, in several resolutions;
    - shapes ``tiles`` (squares), or ``spots`` (circles) of a prediction at spots;
    - ``table``: the AnnData, whose rows annotate the shapes.

    The coordinate system ``global`` is full-resolution pixels.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots.
    path
        Folder to write.
    genes
        Genes to write, in this order; None for all.
    overwrite
        Whether an existing store that this function wrote may be replaced; nothing else ever is.
        Other files and elements in it are kept.

    Raises
    ------
    InputError
        The extra is missing, there is no such gene, or the folder may not or cannot be written.
    """
    names = chosen_genes(prediction, genes)
    spatialdata = import_extra("spatialdata", "spatialdata", "Writing SpatialData")
    check_place(
        path, overwrite, is_ours=_is_ours, kind="a SpatialData store of this program", folder=True
    )
    others = files_of_others(path, _OWN_FILES)
    region = "tiles" if is_on_grid(prediction) else "spots"
    elements: dict[str, Any] = {
        "shapes": {region: _shapes(prediction)},
        "tables": {"table": _table(prediction, names, region)},
    }
    if (image := _image(prediction)) is not None:
        elements["images"] = {"hires": image}
    store = spatialdata.SpatialData(**elements, attrs={MARK: origin(prediction)})
    with whole_output(path) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries about each other
        store.write(draft)
        if others:
            keep_files(path, draft, others)
            zarr.consolidate_metadata(draft)


def _shapes(prediction: AnnData) -> Any:
    model = import_module("spatialdata.models").ShapesModel
    index = pd.Index(np.arange(prediction.n_obs), name=_INSTANCE)
    if is_on_grid(prediction):
        squares = import_module("shapely").polygons(tile_outlines(prediction))
        return model.parse(import_module("geopandas").GeoDataFrame(geometry=squares, index=index))
    return model.parse(
        positions(prediction),
        geometry=0,
        radius=spot_diameter(prediction) / 2,
        index=index,
    )


def _table(prediction: AnnData, genes: tuple[str, ...], region: str) -> Any:
    table = with_stored_names(prediction[:, list(genes)].copy())
    named = (table.obs, table.var, table.uns, table.obsm, table.varm, table.obsp, table.varp)
    names = [str(name) for each in (*named, named_layers(table)) for name in each]
    if not all(map(_NAME.fullmatch, names)):
        import_module("spatialdata").sanitize_table(table)
        _warn_of_new_names(prediction, table)
    former = table.uns.pop("spatialdata_attrs", {})  # of the store that it was read from
    for column in (former.get("region_key"), former.get("instance_key")):
        if column in table.obs:
            del table.obs[column]
    region_key, instance_key = (_free(name, table.obs) for name in ("region", _INSTANCE))
    table.obs[region_key] = pd.Categorical([region] * table.n_obs)
    table.obs[instance_key] = np.arange(table.n_obs)
    return import_module("spatialdata.models").TableModel.parse(
        table, region=region, region_key=region_key, instance_key=instance_key
    )


def _free(name: str, obs: pd.DataFrame) -> str:
    """A name for a column that none has, whatever its capitals."""
    taken = {str(column).lower() for column in obs}
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(each for each in names if each not in taken)


def _warn_of_new_names(prediction: AnnData, table: AnnData) -> None:
    pairs = zip(prediction.obs, table.obs, strict=True)
    new = [f"{str(name)!r} as {stored!r}" for name, stored in pairs if name != stored]
    if new:
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        warnings.warn(
            "SpatialData holds names made only of letters, digits, _, - and .; these columns are "
            f"written under other names: {', '.join(new[:3])}{more}.",
            UserWarning,
            stacklevel=2,
        )


def _image(prediction: AnnData) -> Any:
    found = spot_picture(prediction)
    if found is None:
        return None
    picture, scale = found
    # As in full-resolution pixels here, a picture's first pixel has its corner at 0, 0.
    to_full = import_module("spatialdata.transformations").Scale([1 / scale] * 2, axes=("x", "y"))
    return import_module("spatialdata.models").Image2DModel.parse(
        np.moveaxis(picture, -1, 0),
        dims=("c", "y", "x"),
        c_coords=("r", "g", "b"),
        transformations={"global": to_full},
        scale_factors=[2] * _halvings(picture),
    )


def _halvings(picture: NDArray[np.uint8]) -> int:
    """How often a picture is halved until it fits a small window: once at least."""
    return max(1, math.ceil(math.log2(max(picture.shape[:2]) / _SMALLEST_LEVEL)))


def _is_ours(folder: Path) -> bool:
    return {"spatialdata_attrs", MARK} <= set(store_attributes(folder))
