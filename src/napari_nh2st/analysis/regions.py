"""Genes in regions that somebody drew, and between two of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.values import predicted_tiles
from napari_nh2st.spots.positions import centers
from napari_nh2st.tiles.grid import inside_region

_FEWEST_TILES = 2
"""A spread needs so many."""

_GENES_AT_ONCE = 32


def region_statistics(prediction: AnnData, polygons: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Mean and spread of each gene in each region.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]``.
    polygons
        Polygons by name of the region, (n, 2) corners (y, x) in full-resolution pixels. A tile
        belongs to every region in which its center lies.

    Returns
    -------
    DataFrame
        One row for each region and gene, in the order given: ``region``, ``gene``, ``mean``, ``sd``
        (of the sample, NaN for one tile), ``median``, and ``n_tiles``, the number of predicted
        tiles in the region. A region without any has ``n_tiles`` 0 and else NaN.

    Raises
    ------
    InputError
        A polygon has fewer than three corners, or a corner that is not finite.

    Examples
    --------
    .. code-block:: python

        tumour = [(0, 0), (0, 4000), (3000, 4000), (3000, 0)]  # (y, x)
        region_statistics(prediction, {"tumour": tumour})
    """
    values = np.asarray(prediction.X)
    tables = []
    for name, polygon in polygons.items():
        inside = values[tiles_in_region(prediction, polygon, name)].astype(np.float64)
        missing = np.full(prediction.n_vars, np.nan)
        tables.append(
            pd.DataFrame(
                {
                    "region": name,
                    "gene": prediction.var_names.to_numpy(str),
                    "mean": inside.mean(0) if len(inside) else missing,
                    "sd": inside.std(0, ddof=1) if len(inside) >= _FEWEST_TILES else missing,
                    "median": np.median(inside, axis=0) if len(inside) else missing,
                    "n_tiles": len(inside),
                }
            )
        )
    if not tables:
        return pd.DataFrame(columns=["region", "gene", "mean", "sd", "median", "n_tiles"])
    return pd.concat(tables, ignore_index=True)


def compare_regions(prediction: AnnData, first: ArrayLike, second: ArrayLike) -> pd.DataFrame:
    """Find the genes that differ most between two regions.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]``.
    first, second
        Polygons, (n, 2) corners (y, x) in full-resolution pixels. Tiles in both are left out.

    Returns
    -------
    DataFrame
        One row per gene, the largest ``|effect|`` first: ``gene``, ``mean_first``, ``mean_second``,
        ``difference`` (first − second), ``effect``, ``p``, ``q``, ``n_first``, ``n_second``.

        - ``effect`` is Cohen's d (Cohen 1988), ``difference / s`` with
          ``s² = ((n₁−1) s₁² + (n₂−1) s₂²) / (n₁ + n₂ − 2)``; NaN where ``s`` is 0.
        - ``p`` is from the two-sided Mann–Whitney U test, 1 for a gene without variance;
          ``q`` is ``p`` adjusted over the genes by Benjamini & Hochberg 1995.

    Raises
    ------
    InputError
        A polygon is invalid, or a region has fewer than two predicted tiles of its own.

    Warnings
    --------
    Neighboring tiles resemble each other, so there are fewer independent observations than tiles,
    and ``p`` and ``q`` are smaller than they should be. They rank genes; they are no evidence about
    the tissue. Besides, the values are predictions, which reflect only what the model sees.

    Examples
    --------
    .. code-block:: python

        compare_regions(prediction, tumour, stroma).head(10)
    """
    # Not above: scipy's statistics take a third of a second to load.
    from scipy.stats import false_discovery_control, mannwhitneyu

    masks = [
        tiles_in_region(prediction, polygon, name)
        for polygon, name in ((first, "the first region"), (second, "the second region"))
    ]
    both = masks[0] & masks[1]
    own = [mask & ~both for mask in masks]
    for mask, name in zip(own, ("first", "second"), strict=True):
        count = int(mask.sum())
        if count < _FEWEST_TILES:
            shared = " that the other does not have too" if both.any() else ""
            raise InputError(
                f"The {name} region has too few predicted tiles{shared}: {count}, and a comparison "
                f"needs {_FEWEST_TILES}. Draw it larger, or predict it first."
            )
    values = np.asarray(prediction.X)
    a, b = (values[mask].astype(np.float64) for mask in own)
    difference = a.mean(0) - b.mean(0)
    pooled = (len(a) - 1) * a.var(0, ddof=1) + (len(b) - 1) * b.var(0, ddof=1)
    deviation = np.sqrt(pooled / (len(a) + len(b) - 2))
    # The spread of equal values is the rounding of their mean.
    size = np.maximum(np.abs(a).max(0), np.abs(b).max(0))
    spread = deviation > 1e-12 * size
    effect = np.divide(difference, deviation, out=np.full_like(difference, np.nan), where=spread)
    varies = np.maximum(a.max(0), b.max(0)) > np.minimum(a.min(0), b.min(0))
    p = np.ones(len(difference))
    for some in np.array_split(np.flatnonzero(varies), -(-len(varies) // _GENES_AT_ONCE)):
        if len(some):
            p[some] = mannwhitneyu(a[:, some], b[:, some], axis=0).pvalue
    table = pd.DataFrame(
        {
            "gene": prediction.var_names.to_numpy(str),
            "mean_first": a.mean(0),
            "mean_second": b.mean(0),
            "difference": difference,
            "effect": effect,
            "p": p,
            "q": false_discovery_control(p),
            "n_first": len(a),
            "n_second": len(b),
        }
    )
    order = table["effect"].abs().sort_values(ascending=False, kind="stable", na_position="last")
    return table.loc[order.index].reset_index(drop=True)


def tiles_in_region(
    prediction: AnnData, polygon: ArrayLike, name: str = "the region"
) -> NDArray[np.bool_]:
    """Find the predicted tiles whose center lies in a polygon.

    Parameters
    ----------
    prediction
        Tiles × genes with ``obsm["spatial"]``.
    polygon
        (n, 2) corners (y, x) in full-resolution pixels.
    name
        Name of the region, for the message.

    Returns
    -------
    ndarray
        (tiles,) bool.

    Raises
    ------
    InputError
        The polygon has fewer than three corners, or one that is not finite.
    """
    corners = np.asarray(polygon, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise InputError(f"{name} has shape {corners.shape}; it needs three (y, x) corners or more")
    if not np.isfinite(corners).all():
        raise InputError(f"{name} has a corner that is not finite; draw it again")
    at = centers(prediction)
    # Few tiles lie near a region, and only for these the polygon has to be looked at.
    near = ((at >= corners.min(0) - 1) & (at <= corners.max(0))).all(1)
    near &= predicted_tiles(prediction)
    inside = np.zeros(len(at), bool)
    inside[near] = inside_region(at[near], (corners,))
    return inside
