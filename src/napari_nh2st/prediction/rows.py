"""Rows of a prediction: all that is computed for a tile, as one line of numbers.

A row has a value for each gene; if the model has heads, then their spread for each gene and the
tile's unfamiliarity; then what else was asked for: the values of each head, the tile's image
features, and its density of nuclei. Models return rows; stores and processes pass them on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.schema import (
    IMAGE_FEATURES,
    NUCLEI,
    SPREAD,
    UNFAMILIAR,
    head_layers,
)
from napari_nh2st.prediction.value_arrays import nan_values

N_IMAGE_FEATURES = 32
"""Numbers that are kept of how a tile looks."""


@dataclass(frozen=True)
class RowLayout:
    """What a row holds.

    Parameters
    ----------
    n_genes
        Genes that are predicted.
    has_spread
        Whether heads give their spread and the unfamiliarity.
    n_heads
        Heads whose own values are kept; 0 for none.
    has_image
        Whether image features are.
    has_nuclei
        Whether the density of nuclei is.
    """

    n_genes: int
    has_spread: bool = False
    n_heads: int = 0
    has_image: bool = False
    has_nuclei: bool = False

    @classmethod
    def of(cls, prediction: AnnData) -> "RowLayout":
        """What there is room for in a prediction."""
        return cls(
            prediction.n_vars,
            SPREAD in prediction.layers,
            len(head_layers(prediction)),
            IMAGE_FEATURES in prediction.obsm,
            NUCLEI in prediction.obs,
        )

    @property
    def n_columns(self) -> int:
        """Numbers in the row of a tile."""
        spread = self.n_genes + 1 if self.has_spread else 0
        image = N_IMAGE_FEATURES if self.has_image else 0
        return self.n_genes * (1 + self.n_heads) + spread + image + self.has_nuclei

    def add_room(self, prediction: AnnData, folder: Path | None = None) -> None:
        """Make room for all but the values of genes: NaN.

        In files in a folder, where it is large; see
        :func:`~napari_nh2st.prediction.value_arrays.nan_values`.
        """
        if self.has_spread:
            prediction.layers[SPREAD] = nan_values(prediction.shape, folder)
            prediction.obs[UNFAMILIAR] = np.full(prediction.n_obs, np.nan, np.float32)
        for number in range(1, self.n_heads + 1):
            prediction.layers[f"head_{number}"] = nan_values(prediction.shape, folder)
        if self.has_image:
            shape = (prediction.n_obs, N_IMAGE_FEATURES)
            prediction.obsm[IMAGE_FEATURES] = np.full(shape, np.nan, np.float16)
        if self.has_nuclei:
            prediction.obs[NUCLEI] = np.full(prediction.n_obs, np.nan, np.float32)


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
    at = genes
    if SPREAD in prediction.layers:
        prediction.layers[SPREAD][tiles] = rows[:, at : at + genes]
        column_in_place(prediction, UNFAMILIAR)[tiles] = rows[:, at + genes]
        at += genes + 1
    for name in head_layers(prediction):
        prediction.layers[name][tiles] = rows[:, at : at + genes]
        at += genes
    if IMAGE_FEATURES in prediction.obsm:
        prediction.obsm[IMAGE_FEATURES][tiles] = rows[:, at : at + N_IMAGE_FEATURES]
        at += N_IMAGE_FEATURES
    if NUCLEI in prediction.obs:
        column_in_place(prediction, NUCLEI)[tiles] = rows[:, at]


def column_in_place(prediction: AnnData, name: str) -> NDArray[Any]:
    """(n,) values of a column of ``obs``, to be written: a new column for every batch takes long.

    Parameters
    ----------
    prediction
        Is changed by what is written.
    name
        Of a column that is no categorical.
    """
    values: NDArray[Any] = prediction.obs[name].to_numpy()
    values.flags.writeable = True
    return values


def rows_of(prediction: AnnData, tiles: NDArray[np.int64]) -> NDArray[np.float32]:
    """(m, columns) rows of some tiles."""
    parts = [prediction.X[tiles]]
    if SPREAD in prediction.layers:
        unfamiliar = prediction.obs[UNFAMILIAR].to_numpy(np.float32)[tiles]
        parts += [prediction.layers[SPREAD][tiles], unfamiliar[:, None]]
    parts += [prediction.layers[name][tiles] for name in head_layers(prediction)]
    if IMAGE_FEATURES in prediction.obsm:
        parts.append(prediction.obsm[IMAGE_FEATURES][tiles])
    if NUCLEI in prediction.obs:
        parts.append(prediction.obs[NUCLEI].to_numpy(np.float32)[tiles, None])
    return np.concatenate(parts, axis=1, dtype=np.float32)


def without_values(prediction: AnnData) -> AnnData:
    """All of a prediction but its values: what a process is sent, which gets the rows later."""
    return AnnData(
        obs=prediction.obs.drop(columns=[UNFAMILIAR, NUCLEI], errors="ignore"),
        var=prediction.var,
        uns=prediction.uns,
        varm=dict(prediction.varm),
        obsm={key: each for key, each in prediction.obsm.items() if key != IMAGE_FEATURES},
    )


def make_room(prediction: AnnData, layout: RowLayout) -> None:
    """Give a prediction that came without values room for those to come: NaN."""
    prediction.X = np.full(prediction.shape, np.nan, np.float32)
    layout.add_room(prediction)
