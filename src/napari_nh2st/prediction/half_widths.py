"""Half widths of the 90 % intervals of predicted values, for each tile and gene."""

import numpy as np
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.prediction.schema import SPREAD, interval, usual_spread


def half_widths(
    prediction: AnnData,
    tiles: int | slice = slice(None),
    genes: int | slice | NDArray[np.int64] = slice(None),
) -> NDArray[np.float64]:
    """Half widths of the 90 % intervals at tiles.

    Parameters
    ----------
    prediction
        Tiles × genes.
    tiles, genes
        Rows and columns of the prediction, each a number or a slice; genes also as an array.

    Returns
    -------
    ndarray
        (tiles, genes) float64 in the unit of ``X``, without the axis of a single number:
        ``var["interval_90"]``, scaled by :func:`scaled_half_width` if the tile's spread and the
        gene's usual spread are known. NaN where no interval is known.
    """
    half, usual = (of(prediction).to_numpy()[genes] for of in (interval, usual_spread))
    if SPREAD in prediction.layers:
        spread = np.asarray(prediction.layers[SPREAD][tiles, genes], np.float64)
    else:
        rows = np.empty(prediction.n_obs)[tiles]
        spread = np.full(np.shape(rows) + np.shape(half), np.nan)
    return np.where(
        np.isfinite(usual) & np.isfinite(spread), scaled_half_width(half, usual, spread), half
    )


def scaled_half_width(half: ArrayLike, usual: ArrayLike, spread: ArrayLike) -> NDArray[np.float64]:
    """Half width of an interval where the heads of a model differ by a given spread.

    It grows with the spread from half of its usual value, since heads that agree may all be wrong:
    half · (1 + spread / usual) / 2.

    Parameters
    ----------
    half
        (genes,) half width at the usual spread.
    usual
        (genes,) usual spread, above 0.
    spread
        (..., genes) spread.
    """
    ratio = np.asarray(spread, np.float64) / np.asarray(usual, np.float64)
    return np.asarray(half, np.float64) * (1 + ratio) / 2


def typical_half_width(prediction: AnnData, gene: str) -> float | None:
    """The median over the tiles of a gene's half width; None if unknown.

    If no tile has a spread (yet), it is the half width at the usual spread.
    """
    each = half_widths(prediction, genes=int(prediction.var_names.get_loc(gene)))
    each = each[np.isfinite(each)]
    return float(np.median(each)) if len(each) else None
