"""A prediction as AnnData, from the first tile to the last."""

import platform
from contextlib import suppress
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.slide.record import slide_record, storable_name
from napari_nh2st.tiles import TileGrid

PENDING = "pending"
PREDICTED = "predicted"

_IMAGE_SIDES = {"hires": 2000, "lowres": 600}


def new_prediction(
    slide: Slide,
    grid: TileGrid,
    config: ModelConfig,
    genes: tuple[str, ...],
    settings: PredictSettings,
) -> AnnData:
    """An AnnData of tiles × genes whose values are still to come.

    Returns
    -------
    AnnData
        - ``X`` float32, NaN;
        - ``obs``: ``array_row``, ``array_col``, ``in_tissue`` (1), ``pxl_row_in_fullres`` (y) and
          ``pxl_col_in_fullres`` (x) of the tile's center, ``status``: ``"pending"``,
          ``"predicted"`` or the reason why there is no value;
        - ``var["reliability"]``: held-out Pearson correlation, NaN where unknown;
        - ``obsm["spatial"]``: (x, y) in full-resolution pixels; ``obsm["X_spatial"]``: (x, -y);
        - ``uns["spatial"]``: pictures and scale factors as scanpy and squidpy want them;
        - ``uns["nh2st"]``: what it was made from; a run adds its device and precision (``run``),
          its ``notices`` and, where it is known, the ``stain_distance``.
    """
    y, x = grid.centers.T
    obs = pd.DataFrame(
        {
            "in_tissue": np.ones(len(grid), np.int64),
            "array_row": grid.array[:, 0],
            "array_col": grid.array[:, 1],
            "pxl_row_in_fullres": y,
            "pxl_col_in_fullres": x,
            "status": np.full(len(grid), PENDING, object),
        },
        index=[f"{row}x{column}" for row, column in grid.array.tolist()],
    )
    reliability = config.reliability or {}
    known = [reliability.get(gene) for gene in genes]
    var = pd.DataFrame(
        {"reliability": np.array([np.nan if v is None else v for v in known], np.float64)},
        index=list(genes),
    )
    prediction = AnnData(
        np.full((len(grid), len(genes)), np.nan, np.float32),
        obs=obs,
        var=var,
        obsm=places(np.column_stack([x, y])),
    )
    prediction.uns["spatial"] = {storable_name(slide.path.stem): _spatial(slide, grid)}
    prediction.uns["nh2st"] = _provenance(slide, grid, config, settings)
    return prediction


def _spatial(slide: Slide, grid: TileGrid) -> dict[str, Any]:
    """Pictures and scale factors in Space Ranger's form."""
    side = max(slide.shape)
    # Averaging by whole factors: rounded up, so that the picture is no larger than it may be.
    hires = slide_overview(slide, np.ceil(side / _IMAGE_SIDES["hires"]))
    # The coarser picture from the finer: the slide is not read twice.
    step = max(1, round(max(hires.shape) / _IMAGE_SIDES["lowres"]))
    lowres = np.ascontiguousarray(hires[::step, ::step])
    factors = {
        "tissue_hires_scalef": hires.shape[0] / slide.shape[0],
        "tissue_lowres_scalef": hires.shape[0] / slide.shape[0] / step,
        "spot_diameter_fullres": min(float(np.mean(grid.tile_px)), float(_pitch_px(grid))),
    }
    return {
        "images": {"hires": hires, "lowres": lowres},
        "scalefactors": factors,
        "metadata": {"source_image_path": storable_name(slide.path.name)},
    }


def _pitch_px(grid: TileGrid) -> float:
    """Full-resolution pixels between neighboring centers."""
    return grid.step_px[1] * (2 if grid.layout == "hexagonal" else 1)


def _provenance(
    slide: Slide, grid: TileGrid, config: ModelConfig, settings: PredictSettings
) -> dict[str, Any]:
    assert slide.mpp is not None
    return {
        "model": {
            "name": config.name,
            "sha256": str(config.weights.get("sha256", "not saved")),
            "architecture": config.architecture,
            "context": config.context,
            "trained": config.trained,
            "training": str(config.training["summary"]),
        },
        "target": {name: value for name, value in config.target.items() if value is not None},
        "tile_px": config.tile_px,
        "mpp": config.mpp,
        "pitch_um": grid.pitch_um,
        "layout": grid.layout,
        "array_shape": np.array(grid.array_shape),
        "step_px_fullres": np.array(grid.step_px),
        "slide": slide_record(slide),
        "settings": _storable(settings.to_json()),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Versions of what computes and stores a prediction, of that which is installed."""
    found = {"python": platform.python_version()}
    for package in ("napari-nh2st", "torch", "anndata"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def places(xy: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """``obsm`` of tiles or spots.

    Parameters
    ----------
    xy
        (n, 2) centers (x, y) in full-resolution pixels.

    Returns
    -------
    dict
        ``"spatial"`` is `xy`, as scanpy and squidpy want it; ``"X_spatial"`` is the same with y
        upwards, since CELLxGENE opens no file without an embedding, which is what begins with
        ``X_``, and draws embeddings as diagrams.
    """
    return {"spatial": xy, "X_spatial": xy * np.array([1.0, -1.0])}


def _storable(settings: dict[str, Any]) -> dict[str, Any]:
    """Ragged polygons as arrays by number, since HDF5 holds no lists of lists."""
    region = settings.pop("region")
    settings["region"] = {str(i): np.array(polygon) for i, polygon in enumerate(region)}
    return settings
