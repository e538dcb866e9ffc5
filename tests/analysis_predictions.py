"""Predictions with chosen values, on an array of tiles 100 px apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from spot_sections import array_positions

PITCH_PX = 100.0


def array_prediction(
    values: NDArray[np.floating],
    rows: int,
    columns: int,
    layout: str = "square",
    reliability: ArrayLike | None = None,
    genes: Sequence[str] = (),
) -> AnnData:
    """(rows × columns, genes) values, row by row; genes are G0, G1, ... unless named."""
    array = array_positions(layout, rows, columns)
    step = (PITCH_PX, PITCH_PX) if layout == "square" else (PITCH_PX * 3**0.5 / 2, PITCH_PX / 2)
    centers = (array + 0.5) * step
    known = np.full(values.shape[1], np.nan) if reliability is None else np.asarray(reliability)
    return AnnData(
        values.astype(np.float32),
        obs=pd.DataFrame(
            {"array_row": array[:, 0], "array_col": array[:, 1]},
            index=[f"{row}x{column}" for row, column in array],
        ),
        var=pd.DataFrame(
            {"reliability": known}, index=list(genes) or [f"G{i}" for i in range(values.shape[1])]
        ),
        obsm={"spatial": centers[:, ::-1].copy()},
    )


def box(top: float, left: float, bottom: float, right: float) -> list[tuple[float, float]]:
    """Corners (y, x) of a rectangle, in tiles."""
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return [(y * PITCH_PX, x * PITCH_PX) for y, x in corners]
