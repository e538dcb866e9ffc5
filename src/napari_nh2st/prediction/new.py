"""The AnnData of a new prediction, at the tiles of a grid or at measured spots."""

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.held_out import held_out_pcc
from napari_nh2st.prediction.rows import RowLayout, fill_rows
from napari_nh2st.prediction.schema import (
    HELD_OUT_PCC,
    INTERVAL,
    MARK,
    MEASURED,
    PENDING,
    PREDICTED,
    RELIABILITY,
    STATUS,
    USUAL_SPREAD,
    RunNotes,
)
from napari_nh2st.prediction.tissue_cells import TISSUE_CELLS
from napari_nh2st.prediction.value_arrays import nan_values
from napari_nh2st.slide import Slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.slide.record import slide_record, storable_name
from napari_nh2st.spots.positions import (
    ARRAY,
    SPATIAL,
    has_array,
    position_columns,
    positions,
    spatial_embeddings,
)
from napari_nh2st.tiles import TileGrid

_PICTURE_SIDE = 2000
_SPOTS_PICTURE_SIDE = 1200
_COARSE_PICTURE_SIDE = 600
"""Longest sides in pixels of the pictures of the tissue: at most, of the coarse one about."""


def new_prediction(
    slide: Slide,
    grid: TileGrid,
    config: ModelConfig,
    genes: tuple[str, ...],
    settings: Mapping[str, Any],
    *,
    layout: RowLayout | None = None,
    cells: NDArray[np.uint8] | None = None,
    folder: Path | None = None,
) -> AnnData:
    """Make an AnnData of tiles × genes, to be filled with values.

    Parameters
    ----------
    slide
        The slide; its µm/px must be known.
    grid
        Its n tiles.
    config
        Config of the model.
    genes
        Genes of the model's panel, one per column.
    settings
        Settings of the run, as JSON.
    layout
        What is computed for each tile; None for one value per gene alone.
    cells
        Which parts of the tiles' cells are tissue, from
        :func:`~napari_nh2st.prediction.tissue_cells.tissue_cells`; None if unknown.
    folder
        Folder for a temporary file of the values, if there are too many tiles for memory; None to
        keep them in memory, however many.

    Returns
    -------
    AnnData
        - ``X``: (n, genes) float32, NaN. For a model with heads also ``layers["spread"]`` and
          ``obs["unfamiliar"]`` and, if kept, each head's values in ``layers["head_1"]`` and so on;
        - ``obs``: ``array_row``, ``array_col``, ``in_tissue`` (1), ``pxl_row_in_fullres`` (y) and
          ``pxl_col_in_fullres`` (x) of the tile's center, ``status``: ``"pending"``,
          ``"predicted"`` or the reason why there is no value;
        - ``var["reliability"]``: held-out Pearson correlation, and ``var["interval_90"]``, half
          width of the 90 % interval; NaN where unknown. If the interval follows the spread,
          ``var["usual_spread"]`` is the spread that it holds for;
        - ``varm["held_out_pcc"]``: held-out correlation in each fold of the model's
          cross-validation, if there was one;
        - ``obsm["spatial"]``: (x, y) in full-resolution pixels; ``obsm["X_spatial"]``: (x, -y);
        - ``obsm["tissue_cells"]``: the `cells`;
        - ``obsm["image_features"]``: (n, 32) float16 image features of the tiles, if kept;
        - ``uns["spatial"]``: pictures and scale factors as scanpy and squidpy expect them;
        - ``uns["nh2st"]``: :class:`~napari_nh2st.prediction.schema.Notes`; a run adds its device
          and precision (``run``), its ``notices`` and, if known, the ``stain_distance``.
    """
    assert slide.mpp is not None
    # Neighbors of a hexagonal array are two columns apart.
    step_px = grid.step_px[1] * (2 if grid.layout == "hexagonal" else 1)
    names = [f"{row}x{column}" for row, column in grid.array.tolist()]
    xy = np.ascontiguousarray(grid.centers[:, ::-1], np.float64)
    prediction = _assembled(
        nan_values((len(grid), len(genes)), folder),
        position_columns(names, xy, grid.array),
        xy,
        config,
        genes,
        status=PENDING,
    )
    if layout is not None:
        layout.add_room(prediction, folder)
    if cells is not None:
        prediction.obsm[TISSUE_CELLS] = cells
    prediction.uns[SPATIAL] = _pictures(
        slide, _PICTURE_SIDE, min(float(np.mean(grid.tile_px)), float(step_px))
    )
    prediction.uns[MARK] = {
        **_origin(config, slide, grid.pitch_um, grid.layout),
        "array_shape": np.array(grid.array_shape),
        "step_um": grid.step_um,
        "step_px_fullres": np.array(grid.step_px),
        "first_center_px_fullres": np.array(grid.origin),
        "settings": _storable(settings),
    }
    return prediction


def spot_prediction(
    rows: NDArray[np.float32],
    measured: NDArray[np.float32],
    spots: AnnData,
    slide: Slide,
    config: ModelConfig,
    *,
    mpp: tuple[float, float],
    pitch_um: float,
    layout: str,
    section: str,
    donor: str,
    run: RunNotes,
) -> AnnData:
    """A prediction at measured spots, as :func:`new_prediction` has it.

    Parameters
    ----------
    rows
        (n, columns) float32 as predicted, see :mod:`napari_nh2st.prediction.rows`.
    measured
        (n, panel) float32, the target; NaN for genes that were not measured.
    spots
        The n spots, with ``obsm["spatial"]``.
    slide
        With or without its µm/px.
    config
        Description of the model.
    mpp
        µm per full-resolution pixel, (y, x), by the spots' distance: it counts more than what the
        slide says.
    pitch_um, layout
        Distance between neighbors, and layout of the spots' array.
    section, donor
        Their names.
    run
        Device and precision.

    Returns
    -------
    AnnData
        Spots × the panel, with ``layers["measured"]``; ``uns["nh2st"]`` has ``section`` and
        ``donor`` instead of what describes a grid.
    """
    xy = positions(spots)
    array = spots.obs[list(ARRAY)].to_numpy() if has_array(spots.obs) else None
    obs = position_columns(spots.obs_names, xy, array)
    values = np.full((len(rows), len(config.panel)), np.nan, np.float32)
    prediction = _assembled(values, obs, xy, config, config.panel, status=PREDICTED)
    with_spread = RowLayout(prediction.n_vars, has_spread=True)
    if rows.shape[1] == with_spread.n_columns:
        with_spread.add_room(prediction)
    fill_rows(prediction, np.arange(len(rows)), rows)
    prediction.layers[MEASURED] = measured
    diameter = min(config.tile_um, pitch_um) / float(np.sqrt(np.prod(mpp)))
    prediction.uns[SPATIAL] = _pictures(slide, _SPOTS_PICTURE_SIDE, diameter)
    about = _origin(config, slide, pitch_um, layout)
    about["slide"]["mpp"] = np.array(mpp)
    prediction.uns[MARK] = {**about, "section": section, "donor": donor, "run": run}
    return prediction


def _assembled(
    values: NDArray[np.float32],
    obs: pd.DataFrame,
    xy: NDArray[np.float64],
    config: ModelConfig,
    genes: Sequence[str],
    *,
    status: str,
) -> AnnData:
    obs[STATUS] = np.full(len(obs), status, object)
    known = {
        RELIABILITY: config.reliability,
        INTERVAL: config.interval_90,
        USUAL_SPREAD: config.usual_spread,
    }
    var = {
        name: pd.Series(of_gene or {}, dtype=np.float64).reindex(list(genes))
        for name, of_gene in known.items()
        if of_gene is not None or name != USUAL_SPREAD
    }
    by_fold = held_out_pcc(config)
    rows = [config.panel.index(gene) for gene in genes]
    return AnnData(
        values,
        obs=obs,
        var=pd.DataFrame(var),
        obsm=spatial_embeddings(xy),
        varm={} if by_fold is None else {HELD_OUT_PCC: by_fold[rows]},
    )


def _pictures(slide: Slide, side: int, diameter_px: float) -> dict[str, Any]:
    """``uns["spatial"]``: pictures and scale factors in Space Ranger's form."""
    # Averaging by whole factors: rounded up, so that the picture is no larger than it may be.
    hires = slide_overview(slide, np.ceil(max(slide.shape) / side))
    # The coarser picture from the finer: the slide is not read twice.
    step = max(1, round(max(hires.shape) / _COARSE_PICTURE_SIDE))
    scale = hires.shape[0] / slide.shape[0]
    library = {
        "images": {"hires": hires, "lowres": np.ascontiguousarray(hires[::step, ::step])},
        "scalefactors": {
            "tissue_hires_scalef": scale,
            "tissue_lowres_scalef": scale / step,
            "spot_diameter_fullres": diameter_px,
        },
        "metadata": {"source_image_path": storable_name(slide.path.name)},
    }
    return {storable_name(slide.path.stem): library}


def _origin(config: ModelConfig, slide: Slide, pitch_um: float, layout: str) -> dict[str, Any]:
    """Model, slide and scale: what all predictions have in ``uns["nh2st"]``."""
    of = {} if config.reliability_of is None else {"reliability_of": config.reliability_of}
    return of | {
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
        "pitch_um": pitch_um,
        "layout": layout,
        "slide": slide_record(slide),
        "versions": _library_versions(),
    }


def _library_versions() -> dict[str, str]:
    """Versions of what computes and stores a prediction, of that which is installed."""
    found = {"python": platform.python_version()}
    for package in ("napari-nh2st", "torch", "anndata"):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _storable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Ragged polygons as arrays by number, since HDF5 holds no lists of lists."""
    region = {str(i): np.array(polygon) for i, polygon in enumerate(settings.get("region", ()))}
    return {**settings, "region": region}
