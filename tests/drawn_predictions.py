"""Predictions as a run makes them, with values drawn instead of predicted."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from array_slides import textured, write_tiff
from napari_nh2st.inference import PredictSettings
from napari_nh2st.prediction.new import new_prediction
from napari_nh2st.prediction.schema import PREDICTED
from napari_nh2st.prediction.tissue_cells import tissue_cells
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.grid import Layout, tile_grid
from small_configs import PANEL, small_config

RELIABILITY = {"ERBB2": 0.2, "CD74": 0.6, "VIM": -0.1}
BEST = "CD74"


def slide_file(path: Path, height: int = 300, width: int = 420, seed: int = 0) -> Path:
    return write_tiff(path, textured(height, width, seed))


def drawn_prediction(
    slide: Slide,
    layout: Layout = "square",
    pitch_um: float = 32.0,
    trained: bool = True,
    divisions: int = 1,
    tissue: TissueMask | None = None,
) -> AnnData:
    """Tiles of 32 µm over the whole slide; the last two have no value.

    With `tissue`, it is known which parts of their cells are tissue.
    """
    training = {"trained": trained, "summary": "Made for a test."}
    config = small_config(reliability=RELIABILITY, training=training)
    grid = tile_grid(
        slide, tile_um=32.0, pitch_um=pitch_um, mask=None, layout=layout, divisions=divisions
    )
    cells = None if tissue is None else tissue_cells(slide, grid, tissue)
    prediction = new_prediction(
        slide, grid, config, PANEL, PredictSettings().to_json(), cells=cells
    )
    values = np.random.default_rng(1).gamma(2, 0.5, prediction.shape).astype(np.float32)
    values[-2:] = np.nan
    prediction.X[:] = values
    status = np.full(prediction.n_obs, PREDICTED, object)
    status[-2:] = ["pending", "segment (1, 1) is damaged"]
    prediction.obs["status"] = status
    return prediction


def drawn_spot_prediction(slide: Slide) -> AnnData:
    """What a prediction at measured spots has: no array of tiles, and the measured values.

    The most reliable gene was not measured.
    """
    tiles = drawn_prediction(slide)
    rng = np.random.default_rng(2)
    xy = rng.uniform(20, min(slide.shape) - 20, (12, 2))
    obs = pd.DataFrame({"status": [PREDICTED] * 12}, index=[f"spot {i}" for i in range(12)])
    measured = rng.gamma(2, 0.5, (12, tiles.n_vars)).astype(np.float32)
    measured[:, PANEL.index(BEST)] = np.nan
    spots = AnnData(
        rng.gamma(2, 0.5, (12, tiles.n_vars)).astype(np.float32),
        obs=obs,
        var=tiles.var.copy(),
        obsm={"spatial": xy},
        layers={"measured": measured},
        uns={"spatial": tiles.uns["spatial"], "nh2st": dict(tiles.uns["nh2st"])},
    )
    for name in ("array_shape", "step_um", "step_px_fullres", "first_center_px_fullres"):
        del spots.uns["nh2st"][name]
    spots.uns["nh2st"]["slide"] = {"name": slide.path.name, "mpp": np.array(slide.mpp)}
    return spots
