"""What stands out in one tile of a prediction, and which tiles are around it."""

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.values import predicted_tiles
from napari_nh2st.errors import InputError
from napari_nh2st.tiles.neighborhoods import neighborhoods

_GENES_AT_ONCE = 64
_SPARE = 28
"""With four times the wanted ones, enough tiles for the nearest and all that tie with them."""


def top_genes(prediction: AnnData, tile: int, n: int = 10) -> pd.DataFrame:
    """The genes of a tile that are highest compared with the rest of the section.

    Parameters
    ----------
    prediction
        Tiles × genes.
    tile
        Its row in the prediction.
    n
        How many genes.

    Returns
    -------
    DataFrame
        At most `n` rows, the highest ``z`` first: ``gene``; ``reliability``, NaN where it is not
        known; ``z``, how many standard deviations of the predicted tiles it lies above their
        mean, 0 for a gene without variance; ``value``; ``percentile``, the share in percent of
        the predicted tiles below it, those equal to it counted half. No row if nothing is
        predicted for the tile.

    Raises
    ------
    InputError
        There is no such tile.
    """
    _check_tile(prediction, tile)
    columns = ["gene", "reliability", "z", "value", "percentile"]
    everything = np.asarray(prediction.X)
    predicted = predicted_tiles(prediction)
    if not predicted[tile]:
        return pd.DataFrame(columns=columns)
    score = np.zeros(prediction.n_vars)
    for first in range(0, prediction.n_vars, _GENES_AT_ONCE):
        genes = slice(first, first + _GENES_AT_ONCE)
        values = everything[:, genes][predicted].astype(np.float64)
        mean, deviation = values.mean(0), values.std(0)
        above = everything[tile, genes] - mean
        # The spread of equal values is the rounding of their mean.
        varies = deviation > 1e-7 * np.abs(mean)
        np.divide(above, deviation, out=score[genes], where=varies)
    best = np.argsort(-score, kind="stable")[:n]
    values, own = everything[:, best][predicted], everything[tile, best]
    below = (values < own).mean(0) + (values == own).mean(0) / 2
    if "reliability" in prediction.var:
        reliability = prediction.var["reliability"].to_numpy(np.float64)[best]
    else:
        reliability = np.full(len(best), np.nan)
    names = prediction.var_names.to_numpy(str)[best]
    table = (names, reliability, score[best], own.astype(np.float64), 100 * below)
    return pd.DataFrame(dict(zip(columns, table, strict=True)))


def neighborhood_of(prediction: AnnData, tile: int, size: int = 9) -> NDArray[np.int64]:
    """A tile and the predicted ones nearest to it.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]`` and the slide's µm/px.
    tile
        Its row in the prediction; predicted or not.
    size
        Tiles in the neighborhood, the tile itself counted.

    Returns
    -------
    ndarray
        (m,) int64 rows of the prediction, the tile itself first and then by distance, as
        :func:`~napari_nh2st.tiles.neighborhoods` orders them; fewer than `size` where there are
        no more.

    Raises
    ------
    InputError
        There is no such tile.
    """
    _check_tile(prediction, tile)
    present = predicted_tiles(prediction)
    present[tile] = True
    rows = np.flatnonzero(present)
    mpp = np.asarray(prediction.uns["nh2st"]["slide"]["mpp"], np.float64)
    centers = np.asarray(prediction.obsm["spatial"], np.float64)[rows][:, ::-1] * mpp
    distance = np.linalg.norm(centers - centers[np.searchsorted(rows, tile)], axis=1)
    enough = 4 * size + _SPARE
    if len(rows) > enough:
        # What lies far cannot be among the nearest, and takes a second on a large slide.
        near = np.sort(np.argpartition(distance, enough)[:enough])
        rows, centers = rows[near], centers[near]
    index, filled = neighborhoods(centers, size)
    place = int(np.searchsorted(rows, tile))
    return np.asarray(rows[index[place][filled[place]]], np.int64)


def _check_tile(prediction: AnnData, tile: int) -> None:
    if not 0 <= tile < prediction.n_obs:
        raise InputError(f"There is no tile {tile}: the prediction has {prediction.n_obs} tiles")
