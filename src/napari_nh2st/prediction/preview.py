"""Preview values of a prediction: what a model says of each tile for itself, shown meanwhile.

A model that predicts from the whole slide has no value before all tiles are encoded. Until then a
viewer shows the preview in the place of the values, marked tile by tile. It never reaches a file.
"""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.rows import RowLayout, column_in_place, fill_rows

PREVIEW = "preview"
"""Column of ``obs``: which tiles show a preview; there while any does."""

PREVIEW_IN_WORDS = "preview: each tile by itself, until the whole slide is encoded"


def has_preview(prediction: AnnData) -> bool:
    """Whether some tiles show a preview."""
    return PREVIEW in prediction.obs


def is_preview(prediction: AnnData, tile: int) -> bool:
    """Whether a tile shows a preview."""
    return has_preview(prediction) and bool(prediction.obs[PREVIEW].iat[tile])


def show_preview(prediction: AnnData, tiles: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
    """Put preview rows in the place of values, where there are none.

    Parameters
    ----------
    prediction
        Of a run.
    tiles
        (m,) which tiles.
    rows
        (m, columns), see :mod:`napari_nh2st.prediction.rows`; NaN where a tile could not be read.
    """
    if not has_preview(prediction):
        prediction.obs[PREVIEW] = np.zeros(prediction.n_obs, bool)
    marks = column_in_place(prediction, PREVIEW)
    is_new = marks[tiles] | ~np.isfinite(prediction.X[tiles]).any(1)
    is_new &= np.isfinite(rows).any(1)
    fill_rows(prediction, tiles[is_new], rows[is_new])
    marks[tiles[is_new]] = True


def settle(prediction: AnnData, tiles: NDArray[np.int64]) -> None:
    """Take the marks from tiles that have their values now."""
    if has_preview(prediction):
        column_in_place(prediction, PREVIEW)[tiles] = False


def end_preview(prediction: AnnData) -> None:
    """Empty the tiles that still show a preview, and take all marks away."""
    if not has_preview(prediction):
        return
    left = np.flatnonzero(prediction.obs[PREVIEW])
    columns = RowLayout.of(prediction).n_columns
    fill_rows(prediction, left, np.full((len(left), columns), np.nan, np.float32))
    del prediction.obs[PREVIEW]


def without_preview(prediction: AnnData) -> AnnData:
    """The prediction with its values alone: a copy, where some tiles show a preview."""
    if not has_preview(prediction):
        return prediction
    copied = prediction.copy()
    end_preview(copied)
    return copied
