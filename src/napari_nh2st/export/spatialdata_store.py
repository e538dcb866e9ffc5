"""SpatialData stores, written with the extra ``spatialdata``."""

import math
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.extras import import_extra
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.prediction.files import store_attributes
from napari_nh2st.prediction.outlines import spot_diameter, tile_outlines
from napari_nh2st.prediction.schema import MARK, is_on_grid, origin
from napari_nh2st.prediction.values import chosen_genes
from napari_nh2st.spots import spot_picture
from napari_nh2st.spots.positions import positions

_INSTANCE = "tile_id"
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
        At tiles or spots.
    path
        Folder to write.
    genes
        Which, in this order; all if None.
    overwrite
        A store written by this function is replaced; nothing else ever is.

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
    table = prediction[:, list(genes)].copy()
    table.obs["region"] = pd.Categorical([region] * table.n_obs)
    table.obs[_INSTANCE] = np.arange(table.n_obs)
    return import_module("spatialdata.models").TableModel.parse(
        table, region=region, region_key="region", instance_key=_INSTANCE
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
