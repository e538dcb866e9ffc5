"""Genes that stand out in one tile, and the tiles around it."""

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.half_widths import half_widths
from napari_nh2st.prediction.lattice import phases
from napari_nh2st.prediction.schema import is_on_grid, reliability, slide_mpp
from napari_nh2st.prediction.values import GENES_AT_ONCE, SAME, predicted_tiles
from napari_nh2st.spots.positions import centers
from napari_nh2st.tiles.neighborhoods import neighborhoods

_SPARE = 28
"""Tiles beyond four times the wanted ones: enough for the nearest and all that tie with them."""


def top_genes(prediction: AnnData, tile: int, n: int = 10) -> pd.DataFrame:
    """The genes of a tile that are highest compared with the rest of the section.

    Parameters
    ----------
    prediction
        Tiles × genes.
    tile
        The tile's row in the prediction.
    n
        Number of genes.

    Returns
    -------
    DataFrame
        At most `n` rows, the highest ``z`` first: ``gene``; ``reliability``, NaN if unknown;
        ``z``, by how many standard deviations of the predicted tiles the value lies above their
        mean, 0 for a gene without variance; ``value``; ``interval``, the half width of its 90 %
        interval at the tile, NaN if unknown; ``percentile``, the percentage of predicted tiles
        below it, with those equal to it counted half. No row if nothing is predicted for the tile.

    Raises
    ------
    InputError
        There is no such tile.

    Examples
    --------
    .. code-block:: python

        top_genes(prediction, tile=0, n=5)
    """
    _check_tile(prediction, tile)
    columns = ["gene", "reliability", "z", "value", "interval", "percentile"]
    everything = np.asarray(prediction.X)
    predicted = predicted_tiles(prediction)
    if not predicted[tile]:
        return pd.DataFrame(columns=columns)
    score = np.zeros(prediction.n_vars)
    for first in range(0, prediction.n_vars, GENES_AT_ONCE):
        genes = slice(first, first + GENES_AT_ONCE)
        values = everything[:, genes][predicted].astype(np.float64)
        mean, deviation = values.mean(0), values.std(0)
        above = everything[tile, genes] - mean
        varies = deviation > SAME * np.abs(mean)
        np.divide(above, deviation, out=score[genes], where=varies)
    best = np.argsort(-score, kind="stable")[:n]
    values, own = everything[:, best][predicted], everything[tile, best]
    below = (values < own).mean(0) + (values == own).mean(0) / 2
    names, known = prediction.var_names.to_numpy(str)[best], reliability(prediction).to_numpy()
    half = half_widths(prediction, tile, best)
    table = (names, known[best], score[best], own.astype(np.float64), half, 100 * below)
    return pd.DataFrame(dict(zip(columns, table, strict=True)))


def neighborhood_of(prediction: AnnData, tile: int, size: int = 9) -> NDArray[np.int64]:
    """A tile and the predicted ones nearest to it; on a grid, among those of its phase.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]`` and the slide's µm/px.
    tile
        The tile's row in the prediction, whether it is predicted or not.
    size
        Number of tiles in the neighborhood, including the tile itself.

    Returns
    -------
    ndarray
        (m,) int64 rows of the prediction, the tile itself first, the others by distance, as
        :func:`~napari_nh2st.tiles.neighborhoods` orders them; fewer than `size` if there are not
        enough.

    Raises
    ------
    InputError
        There is no such tile.
    """
    _check_tile(prediction, tile)
    present = predicted_tiles(prediction)
    if is_on_grid(prediction):
        phase = phases(prediction)
        present &= phase == phase[tile]
    present[tile] = True
    rows = np.flatnonzero(present)
    centers_um = centers(prediction)[rows] * slide_mpp(prediction)
    distance = np.linalg.norm(centers_um - centers_um[np.searchsorted(rows, tile)], axis=1)
    enough = 4 * size + _SPARE
    if len(rows) > enough:
        # What lies far cannot be among the nearest, and takes a second on a large slide.
        near = np.sort(np.argpartition(distance, enough)[:enough])
        rows, centers_um = rows[near], centers_um[near]
    index, filled = neighborhoods(centers_um, size)
    place = int(np.searchsorted(rows, tile))
    return np.asarray(rows[index[place][filled[place]]], np.int64)


def _check_tile(prediction: AnnData, tile: int) -> None:
    if not 0 <= tile < prediction.n_obs:
        raise InputError(f"There is no tile {tile}: the prediction has {prediction.n_obs} tiles")
