"""Folders for Vitessce: a page, its configuration, tiles as AnnData-Zarr, picture as OME-Zarr."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.export.classes import TileClasses, tile_classes
from napari_nh2st.export.vitessce_config import (
    BASE_URL,
    CONFIG,
    OUTLINES,
    PICTURE,
    PLACES,
    TILES,
    Shown,
    vitessce_config,
)
from napari_nh2st.export.vitessce_page import vitessce_page
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.files_of_others import ZARR_METADATA, files_of_others, keep_files
from napari_nh2st.prediction.files import (
    ANNDATA_PARTS,
    is_anndata_store,
    store_attributes,
    write_anndata_group,
)
from napari_nh2st.prediction.outlines import spot_diameter, tile_outlines
from napari_nh2st.prediction.schema import (
    MARK,
    STATUS,
    is_on_grid,
    notices,
    origin,
    slide_mpp,
    slide_stem,
    value_name,
)
from napari_nh2st.prediction.stored_names import stored_name, with_stored_names
from napari_nh2st.prediction.values import best_gene, chosen_genes, predicted_tiles
from napari_nh2st.shown_text import in_one_line
from napari_nh2st.spots import spot_picture
from napari_nh2st.spots.positions import positions

PAGE = "index.html"

_CHUNK = 512
"""Side of a chunk of the picture in pixels; its coarsest level is one chunk."""

_MOST_CLASSES = 100


def write_vitessce(
    prediction: AnnData,
    path: Path,
    *,
    genes: Sequence[str] | None = None,
    domains: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a folder that Vitessce shows in a browser, from any web server.

    - ``index.html``: a page that fetches Vitessce and shows the folder that it lies in;
    - ``config.json``: views of picture, tiles, genes and classes, for Vitessce 3.4 and newer;
    - ``tiles.zarr``: the AnnData of the tiles that have values, with their centers (n, 2) and
      outlines (n, 4, 2) in ``obsm["spatial_um"]`` and ``obsm["outline_um"]``, (x, y) in µm from
      the slide's corner;
    - ``image.ome.zarr``: the stored picture of the slide in several resolutions, in µm.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots.
    path
        Folder to write.
    genes
        Genes to write, in this order; None for all. The most reliable one is shown first.
    domains
        Column of ``obs`` by which tiles are colored at first; None for a gene. All columns of
        classes are listed.
    overwrite
        Whether an existing folder that this function wrote may be replaced; nothing else ever is.
        Other files in it are kept.

    Raises
    ------
    InputError
        There is no such gene or column, or the folder may not or cannot be written.
    """
    names = list(chosen_genes(prediction, genes))
    if domains is not None:
        tile_classes(prediction, domains)
        domains = stored_name(domains)
    check_place(
        path, overwrite, is_ours=_is_ours, kind="a Vitessce folder of this program", folder=True
    )
    tiles = _tiles(prediction, names)
    picture = spot_picture(prediction)
    on_grid = is_on_grid(prediction)
    classes = _classes(tiles, domains)
    for column, found in classes.items():  # numbers would not be found by their names
        tiles.obs[column] = found.labels.rename_categories(found.names)
    to_um = float(np.sqrt(np.prod(slide_mpp(prediction))))
    shown = Shown(
        name=in_one_line(slide_stem(prediction)),
        description=in_one_line(" ".join([f"{value_name(prediction)}.", *notices(prediction)])),
        gene=best_gene(tiles),
        classes=classes,
        by_class=domains,
        has_picture=picture is not None,
        radius_um=None if on_grid else spot_diameter(prediction) / 2 * to_um,
    )
    others = files_of_others(path, _own_files())
    config = json.dumps(vitessce_config(shown), indent=1, ensure_ascii=False, allow_nan=False)
    with whole_output(path) as draft:
        draft.mkdir()
        (draft / CONFIG).write_text(config, encoding="utf-8")
        page = vitessce_page(shown.name, CONFIG, BASE_URL)
        (draft / PAGE).write_text(page, encoding="utf-8")
        store = zarr.open_group(draft / TILES, mode="w", zarr_format=2)
        write_anndata_group(store, "/", tiles)
        # Opened again: the group above does not know the attributes that anndata gave it.
        zarr.open_group(draft / TILES, mode="r+").attrs[MARK] = origin(prediction)
        zarr.consolidate_metadata(store.store)
        if picture is not None:
            pixels, scale = picture
            _write_picture(draft / PICTURE, shown.name, pixels, slide_mpp(prediction) / scale)
        keep_files(path, draft, others)


def _tiles(prediction: AnnData, genes: list[str]) -> AnnData:
    """The tiles that have values, whose places are in µm."""
    known = predicted_tiles(prediction)
    to_um = slide_mpp(prediction)[::-1]
    tiles = prediction[known, genes].copy()
    tiles.obsm[PLACES] = (positions(tiles) * to_um).astype(np.float32)
    tiles.obsm[OUTLINES] = (tile_outlines(tiles)[:, :4] * to_um).astype(np.float32)
    return with_stored_names(tiles)


def _classes(tiles: AnnData, first: str | None) -> dict[str, TileClasses]:
    """Columns of ``obs`` whose values are classes, `first` before the others."""

    def is_text(column: pd.Series) -> bool:
        return isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype) or (
            column.dtype == object
        )

    found = [
        str(name)
        for name, column in tiles.obs.items()
        if name == first
        or (name != STATUS and is_text(column) and 0 < column.nunique() <= _MOST_CLASSES)
    ]
    found.sort(key=lambda name: name != first)
    return {name: tile_classes(tiles, name) for name in found}


def _write_picture(
    path: Path, name: str, picture: NDArray[np.uint8], um_per_px: NDArray[np.float64]
) -> None:
    """Write an image (c, y, x) as OME-NGFF 0.4, halved until it is one chunk.

    As Vitessce lays it out, the corner of its first pixel is at 0, 0.
    """
    group = zarr.open_group(path, mode="w", zarr_format=2)
    level = np.moveaxis(picture[..., :3], -1, 0)
    datasets: list[dict[str, Any]] = []
    while True:
        array = group.create_array(
            str(len(datasets)),
            shape=level.shape,
            chunks=(1, *(min(side, _CHUNK) for side in level.shape[1:])),
            dtype=level.dtype,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        array[:] = level
        scale = [1.0, *(um_per_px * 2 ** len(datasets)).tolist()]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": array.basename, "coordinateTransformations": transformations})
        if max(level.shape[1:]) <= _CHUNK or min(level.shape[1:]) < 2:
            break
        level = _halved(level)
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    axes: list[Any] = [{"name": "c", "type": "channel"}, *space]
    colors = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    group.attrs.update(
        {
            "multiscales": [{"version": "0.4", "name": name, "axes": axes, "datasets": datasets}],
            "omero": {
                "version": "0.4",
                "name": name,
                "rdefs": {"model": "color"},
                "channels": [
                    {"label": label, "color": color, "active": True, "window": window}
                    for label, color in colors.items()
                ],
            },
        }
    )


def _halved(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of 2 × 2 pixels; an odd last row or column is left out."""
    channels, height, width = level.shape
    even = level[:, : height // 2 * 2, : width // 2 * 2]
    fours = even.reshape(channels, height // 2, 2, width // 2, 2)
    return np.asarray(fours.mean((2, 4)).round(), np.uint8)


def _own_files() -> tuple[str, ...]:
    parts = {TILES: ANNDATA_PARTS, PICTURE: (*ZARR_METADATA, "[0-9]*")}
    inside = (f"{store}/{part}" for store, names in parts.items() for part in names)
    return (PAGE, CONFIG, *inside)


def _is_ours(folder: Path) -> bool:
    tiles = folder / TILES
    return (
        (folder / CONFIG).is_file() and is_anndata_store(tiles) and MARK in store_attributes(tiles)
    )
