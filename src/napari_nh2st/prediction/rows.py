"""Rows of a prediction: all that is computed of a tile, as one line of numbers.

A value for each gene; where the model has heads, their spread for each gene behind them, and the
tile's unfamiliarity last. Models give rows, stores and processes pass them on.
"""

from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.schema import SPREAD, UNFAMILIAR
from napari_nh2st.prediction.value_arrays import nan_values


def n_columns(n_genes: int, has_heads: bool) -> int:
    """Numbers in the row of a tile."""
    return 2 * n_genes + 1 if has_heads else n_genes


def add_empty_spread(prediction: AnnData, folder: Path | None = None) -> None:
    """Make room for what heads say: spread and unfamiliarity, NaN.

    In a file in a folder, where it is large; see
    :func:`~napari_nh2st.prediction.value_arrays.nan_values`.
    """
    prediction.layers[SPREAD] = nan_values(prediction.shape, folder)
    prediction.obs[UNFAMILIAR] = np.full(prediction.n_obs, np.nan, np.float32)


def fill_rows(prediction: AnnData, tiles: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
    """Put rows in their places.

    Parameters
    ----------
    prediction
        With room for what the rows have.
    tiles
        (m,) which tiles.
    rows
        (m, columns), NaN where a tile has no value.
    """
    genes = prediction.n_vars
    prediction.X[tiles] = rows[:, :genes]
    if rows.shape[1] > genes:
        prediction.layers[SPREAD][tiles] = rows[:, genes : 2 * genes]
        # In place: a new column for every batch takes longer than what is in it.
        unfamiliar = prediction.obs[UNFAMILIAR].to_numpy()
        unfamiliar.flags.writeable = True
        unfamiliar[tiles] = rows[:, -1]


def rows_of(prediction: AnnData, tiles: NDArray[np.int64]) -> NDArray[np.float32]:
    """(m, columns) rows of some tiles."""
    parts = [prediction.X[tiles]]
    if SPREAD in prediction.layers:
        unfamiliar = prediction.obs[UNFAMILIAR].to_numpy(np.float32)[tiles]
        parts += [prediction.layers[SPREAD][tiles], unfamiliar[:, None]]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def without_values(prediction: AnnData) -> AnnData:
    """All of a prediction but its values: what a process is sent, which gets the rows later."""
    return AnnData(
        obs=prediction.obs.drop(columns=UNFAMILIAR, errors="ignore"),
        var=prediction.var,
        uns=prediction.uns,
        obsm=dict(prediction.obsm),
    )


def make_room(prediction: AnnData, has_heads: bool) -> None:
    """Give a prediction that came without values room for those to come: NaN."""
    prediction.X = np.full(prediction.shape, np.nan, np.float32)
    if has_heads:
        add_empty_spread(prediction)
