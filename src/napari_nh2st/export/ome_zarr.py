"""Heatmaps as OME-Zarr: one image, a channel per gene, that lies right over the slide."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.files_of_others import ZARR_METADATA, files_of_others, keep_files
from napari_nh2st.prediction.files import TABLE, store_attributes, write_anndata_group
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.prediction.schema import MARK, is_on_grid, origin, slide_mpp, slide_stem
from napari_nh2st.prediction.values import best_gene, chosen_genes, gene_values

_LARGEST_PIXEL_UM = 16.0
"""Half of it, about a nucleus, is how far off viewers show the heatmap that ignore translations."""

_OWN_FILES = (*ZARR_METADATA, "0", *(f"tables/{name}" for name in (*ZARR_METADATA, "table")))

_COLORS = ("FFFFFF", "FF00FF", "00FFFF", "FFFF00", "FF8000", "00FF80")


def write_ome_zarr(
    prediction: AnnData,
    path: Path,
    *,
    genes: Sequence[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image in which each tile is a block of equal pixels, as OME-NGFF 0.4.

    The array is float32 (channel, y, x), NaN where there is no value. Scale and translation are
    in µm, pixel centers at whole numbers, as in an OME-Zarr slide whose scale is its µm/px, so the
    two overlay. Some viewers, such as napari-ome-zarr, ignore translations: therefore the image
    begins at the slide's corner, and its pixels are small enough that the remaining translation of
    half a pixel does not matter. Channels are labelled with their genes and have robust windows;
    the most reliable gene is the active one.

    The AnnData of these genes is stored with the image, in ``tables/table`` as in SpatialData,
    which image readers ignore; from it the prediction can be opened again.

    Parameters
    ----------
    prediction
        Prediction at the tiles of a grid.
    path
        Folder to write.
    genes
        Genes to write as channels, in this order; None for all.
    overwrite
        Whether an existing heatmap that this function wrote may be replaced; nothing else ever is.
        Other files in the folder are kept.

    Raises
    ------
    InputError
        The prediction is at spots, there is no such gene, or the folder may not or cannot be
        written.
    """
    if not is_on_grid(prediction):
        raise InputError(
            "Values at measured spots are not an image: choose AnnData, SpatialData, GeoJSON or "
            "CSV."
        )
    names = chosen_genes(prediction, genes)
    check_place(
        path, overwrite, is_ours=is_heatmap_image, kind="a heatmap of this program", folder=True
    )
    others = files_of_others(path, _OWN_FILES)
    raster = HeatmapRaster.of(prediction, whole_tiles=True)
    blocks = _pixels_per_step(prediction, raster)
    shape = (raster.shape[0] * blocks[0], raster.shape[1] * blocks[1])
    shown = best_gene(prediction[:, list(names)])
    channels = []
    with whole_output(path) as draft:
        group = zarr.open_group(draft, mode="w", zarr_format=2)
        array = group.create_array(
            "0",
            shape=(len(names), *shape),
            chunks=(1, *(min(side, 1024) for side in shape)),
            dtype="float32",
            fill_value=np.nan,
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
        for number, gene in enumerate(names):
            values = gene_values(prediction, gene)
            array[number] = raster.image(values).repeat(blocks[0], axis=0).repeat(blocks[1], axis=1)
            channels.append(_channel(gene, values, _COLORS[number % len(_COLORS)], gene == shown))
        group.attrs.update(_attributes(prediction, raster, blocks, channels))
        folder, table = TABLE.split("/")
        tables = group.create_group(folder)
        tables.attrs["tables"] = [table]
        write_anndata_group(tables, table, prediction[:, list(names)].copy())
        keep_files(path, draft, others)


def _pixels_per_step(prediction: AnnData, raster: HeatmapRaster) -> tuple[int, int]:
    """How many pixels of the image a step of the raster is, along y and x."""
    y, x = np.ceil(np.multiply(raster.step, slide_mpp(prediction)) / _LARGEST_PIXEL_UM)
    return int(y), int(x)


def _channel(gene: str, values: Any, color: str, active: bool) -> dict[str, Any]:
    start, end = robust_limits(values)
    known = values[np.isfinite(values)]
    return {
        "label": gene,
        "color": color,
        "active": active,
        "window": {
            "min": min(start, float(known.min(initial=start))),
            "max": max(end, float(known.max(initial=end))),
            "start": start,
            "end": end,
        },
    }


def _attributes(
    prediction: AnnData,
    raster: HeatmapRaster,
    blocks: tuple[int, int],
    channels: list[dict[str, Any]],
) -> dict[str, Any]:
    """Metadata after OME-NGFF 0.4, https://ngff.openmicroscopy.org/0.4."""
    step, center = raster.placement(slide_mpp(prediction))
    scale = step / blocks
    translate = center - step / 2 + scale / 2
    space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    transformations = [
        {"type": "scale", "scale": [1.0, *scale.tolist()]},
        {"type": "translation", "translation": [0.0, *translate.tolist()]},
    ]
    name = f"{slide_stem(prediction)} heatmaps"
    return {
        "multiscales": [
            {
                "version": "0.4",
                "name": name,
                "axes": [{"name": "c", "type": "channel"}, *space],
                "datasets": [{"path": "0", "coordinateTransformations": transformations}],
            }
        ],
        "omero": {"version": "0.4", "name": name, "channels": channels},
        MARK: origin(prediction),
    }


def is_heatmap_image(folder: Path) -> bool:
    """Whether a folder is what :func:`write_ome_zarr` writes."""
    return {"multiscales", MARK} <= set(store_attributes(folder))
