"""Marker genes of spatial domains: standardized differences of means."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_nh2st.prediction.values import GENES_AT_ONCE


def domain_markers(
    values: NDArray[np.floating], labels: NDArray[np.int64], n: int, genes: tuple[str, ...]
) -> pd.DataFrame:
    """Compare each gene inside and outside each domain.

    Parameters
    ----------
    values
        (tiles, genes) without NaN.
    labels
        (tiles,) domain of each, from 1.
    n
        Number of domains.
    genes
        Names of the columns.

    Returns
    -------
    DataFrame
        As :class:`~napari_nh2st.analysis.Domains` has it.
    """
    member = (labels == np.arange(1, n + 1)[:, None]).astype(np.float64)
    n_in = member.sum(1)[:, None]
    tables = []
    for first in range(0, len(genes), GENES_AT_ONCE):
        part = values[:, first : first + GENES_AT_ONCE].astype(np.float64)
        middle = part.mean(0)
        part -= middle  # around 0, sums of squares keep their digits
        total, squares = member @ part, member @ part**2
        inside = _mean_and_variance(total, squares, n_in)
        outside = _mean_and_variance(
            total.sum(0) - total, squares.sum(0) - squares, len(values) - n_in
        )
        spread = np.sqrt((inside[1] + outside[1]) / 2)
        varies = spread > 1e-7 * np.abs(middle)
        score = np.full_like(spread, np.nan)
        np.divide(inside[0] - outside[0], spread, out=score, where=varies)
        tables.append((score, inside[0] + middle, outside[0] + middle))
    score, mean_in, mean_out = (
        np.concatenate(parts, axis=1) for parts in zip(*tables, strict=True)
    )
    markers = pd.DataFrame(
        {
            "domain": np.repeat(np.arange(1, n + 1), len(genes)),
            "gene": np.tile(np.array(genes), n),
            "score": score.ravel(),
            "mean_in": mean_in.ravel(),
            "mean_out": mean_out.ravel(),
        }
    )
    return markers.sort_values(
        ["domain", "score"], ascending=[True, False], kind="stable", ignore_index=True
    )


def _mean_and_variance(
    total: NDArray[np.float64], squares: NDArray[np.float64], count: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, NaN of nothing, and the sample's variance, 0 of a single tile; (domains, genes)."""
    mean = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    variance = np.maximum(squares - count * mean**2, 0) / np.maximum(count - 1, 1)
    return mean, variance
