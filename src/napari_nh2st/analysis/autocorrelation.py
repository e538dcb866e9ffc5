"""Smoothness of each gene's map."""

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.prediction.values import predicted_tiles
from napari_nh2st.spots.array import morans_i, spot_array

_GENES_AT_ONCE = 32


def moran(prediction: AnnData) -> pd.Series:
    """Moran's I of each gene's prediction over neighboring tiles.

    Neighbors are one step away on the array: 8 on a square one, 6 on a hexagonal one, see
    :func:`~napari_nh2st.spots.spot_array`. The formula is that of
    :func:`~napari_nh2st.spots.morans_i`.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]``, ``obs["array_row"]`` and ``obs["array_col"]``.
        Tiles without a value, and pairs with such a tile, are left out.

    Returns
    -------
    Series
        float64 by gene, named ``"morans_i"``: near 1 for a smooth map, near 0 for a random one;
        NaN for a gene without variance, or if no two neighbors are predicted yet.

    Notes
    -----
    If tiles overlap, or the model looks at neighborhoods, neighbors share pixels, and every gene's
    I is high for that reason alone: compare genes within a prediction, not across predictions.
    """
    result = pd.Series(np.nan, index=prediction.var_names, name="morans_i", dtype=np.float64)
    predicted = predicted_tiles(prediction)
    if np.count_nonzero(predicted) < 2:
        return result
    # The array is that of all tiles: those predicted first may stand on every eighth place only.
    neighbors = spot_array(prediction).neighbors[predicted][:, predicted]
    values = np.asarray(prediction.X)
    for first in range(0, prediction.n_vars, _GENES_AT_ONCE):
        genes = slice(first, first + _GENES_AT_ONCE)
        result.iloc[genes] = morans_i(values[predicted, genes], neighbors)
    return result
