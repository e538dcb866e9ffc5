"""A small prediction whose values are known, with its heatmap in a viewer."""

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session import Session

SHAPE = (6, 8)
RELIABILITY = {"ERBB2": 0.71, "CD74": 0.11, "KRT19": 0.45, "ESR1": np.nan, "GRB7": 0.71}
STEP_PX = 100.0
MPP = 0.5
VALUE_NAME = "log10(1 + counts per 10,000 of the panel)"


def gene_prediction(filled: bool = True) -> AnnData:
    """All tiles of :data:`SHAPE` but the first, in scan order; values differ between genes."""
    row, column = (index.ravel()[1:] for index in np.indices(SHAPE))
    n_genes = len(RELIABILITY)
    values = np.random.default_rng(0).gamma(2.0, 1.0, (len(row), n_genes)).astype(np.float32)
    values += 3 * np.arange(n_genes, dtype=np.float32)
    values[:, 2] = row  # smooth
    if not filled:
        values[:] = np.nan
    y, x = (row + 0.5) * STEP_PX, (column + 0.5) * STEP_PX
    obs = pd.DataFrame(
        {"array_row": row, "array_col": column, "status": "predicted"},
        index=[f"{r}x{c}" for r, c in zip(row, column, strict=True)],
    )
    var = pd.DataFrame({"reliability": list(RELIABILITY.values())}, index=list(RELIABILITY))
    prediction = AnnData(values, obs=obs, var=var, obsm={"spatial": np.column_stack([x, y])})
    prediction.uns["nh2st"] = {
        "model": {"name": "test", "trained": True},
        "target": {"description": VALUE_NAME},
        "tile_px": 224,
        "mpp": MPP,
        "pitch_um": STEP_PX * MPP,
        "layout": "square",
        "array_shape": np.array(SHAPE),
        "step_px_fullres": np.array([STEP_PX, STEP_PX]),
    }
    return prediction


def add_heatmap(
    viewer: ViewerModel, prediction: AnnData, gene: str = "ERBB2", slide: str = "C6"
) -> Heatmap:
    """Show a prediction on a slide, which is added where there is none of this name."""
    if slide not in viewer.layers:
        pixels = np.full((60, 80, 3), 230, np.uint8)
        viewer.add_image(pixels, name=slide, scale=(5, 5), units=("um", "um"))
    return Session.of(viewer).add_heatmap(viewer.layers[slide], prediction, gene)


def as_image(values: np.ndarray) -> np.ndarray:
    """(tiles,) values → image, one by one."""
    image = np.full(SHAPE, np.nan, np.float32)
    for tile, value in enumerate(values, start=1):
        image[divmod(tile, SHAPE[1])] = value
    return image


def status_at(viewer: ViewerModel, row: int, column: int) -> str:
    """What napari says with the mouse over a tile of a heatmap that add_heatmap has added."""
    um_per_px = viewer.layers["C6"].scale[0]
    viewer.mouse_over_canvas = True
    viewer.cursor.position = tuple((np.array([row, column]) + 0.4) * STEP_PX * um_per_px)
    viewer.update_status_from_cursor()
    status: Any = viewer.status
    return str(status["coordinates"] if isinstance(status, dict) else status)
