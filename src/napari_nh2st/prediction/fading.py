"""Fading of a gene's map where the model's heads do not agree."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.schema import SPREAD
from napari_nh2st.prediction.values import gene_values

_AGREE, _DIFFER = 0.25, 1.0
"""Spread over the standard deviation of the map: up to the first nothing fades, from the second on
all does."""

MOST_FADED = 0.85
"""Share of its color that a tile loses at most: it is still seen that there is a value."""


def can_fade(prediction: AnnData) -> bool:
    """Whether a prediction says where its model is unsure."""
    return SPREAD in prediction.layers


def fading(prediction: AnnData, gene: str) -> NDArray[np.float32]:
    """How much of its color each tile of a gene's map loses.

    The spread is held against how much the map itself varies: where the heads differ by as much as
    the tiles do, the map does not tell high from low.

    Parameters
    ----------
    prediction
        Tiles × genes.
    gene
        One of them.

    Returns
    -------
    ndarray
        (tiles,) float32 from 0 to :data:`MOST_FADED`; NaN where there is no value, 0 everywhere if
        the prediction has no spread.
    """
    values = gene_values(prediction, gene)
    known = np.isfinite(values)
    result = np.where(known, 0.0, np.nan).astype(np.float32)
    varies = float(np.std(values[known], dtype=np.float64)) if known.any() else 0.0
    if can_fade(prediction) and varies > 0:
        spread = np.asarray(prediction.layers[SPREAD][:, prediction.var_names.get_loc(gene)])
        unsure = np.clip((spread / varies - _AGREE) / (_DIFFER - _AGREE), 0, 1)
        result[known] = MOST_FADED * np.nan_to_num(unsure[known])
    return result
