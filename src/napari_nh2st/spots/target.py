"""Target of training: values made from raw counts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, identity, issparse

from napari_nh2st.errors import InputError
from napari_nh2st.spots.array import spot_array
from napari_nh2st.spots.assembly import are_counts
from napari_nh2st.spots.checks import check_counts

SCALE_TO = 10_000
"""Total that each spot's panel counts are scaled to."""


def panel_counts(spots: AnnData, panel: Sequence[str]) -> NDArray[np.float32]:
    """Raw counts of the panel's genes, in its order.

    Parameters
    ----------
    spots
        Spots × genes, from :func:`~napari_nh2st.spots.read_spots`.
    panel
        Genes, in the model's order.

    Returns
    -------
    ndarray
        (spots, panel) float32.

    Raises
    ------
    InputError
        A gene is missing, the panel is empty, or a value is not a raw count.

    Examples
    --------
    >>> spots = AnnData(np.array([[3, 0], [1, 7]]))
    >>> spots.var_names = ["ERBB2", "CD74"]
    >>> panel_counts(spots, ["CD74"]).tolist()
    [[0.0], [7.0]]
    """
    counts = _panel_values(spots, panel)
    if counts.any() and not are_counts(counts):
        check_counts(AnnData(counts, spots.obs[[]], pd.DataFrame(index=list(panel))))
    return counts


def _panel_values(spots: AnnData, panel: Sequence[str]) -> NDArray[np.float32]:
    if not len(panel):
        raise InputError("The panel is empty; give at least one gene")
    columns = spots.var_names.get_indexer(list(panel))
    if (columns < 0).any():
        missing = [gene for gene, column in zip(panel, columns, strict=True) if column < 0]
        raise InputError(
            f"{len(missing)} of the panel's {len(panel)} genes were not measured: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}"
        )
    counts = spots.X[:, columns]
    return np.asarray(counts.toarray() if issparse(counts) else counts, np.float32)


def normalize(counts: NDArray[np.floating], scale_to: float = SCALE_TO) -> NDArray[np.float64]:
    """``log10(1 + scale_to · count / total)``, with the total of each spot over these genes.

    Parameters
    ----------
    counts
        (spots, genes) raw counts, already restricted to the panel. A spot without counts becomes
        zero.
    scale_to
        Total of each spot after scaling; 10,000 by default.

    Returns
    -------
    ndarray
        (spots, genes) float64.

    Examples
    --------
    >>> normalize(np.array([[999, 9001], [0, 0]])).round(4).tolist()
    [[3.0, 3.9543], [0.0, 0.0]]
    """
    counts = np.asarray(counts, np.float64)
    total = counts.sum(1, keepdims=True)
    return np.log10(1 + counts * (scale_to / np.where(total > 0, total, 1)))


def smooth(values: NDArray[np.floating], neighbors: csr_matrix) -> NDArray[np.float64]:
    """Unweighted mean over each spot and its neighbors.

    Parameters
    ----------
    values
        (spots, genes).
    neighbors
        (spots, spots) bool, as :class:`~napari_nh2st.spots.SpotArray` has them.

    Returns
    -------
    ndarray
        (spots, genes) float64.

    Examples
    --------
    >>> in_a_row = csr_matrix([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=bool)
    >>> smooth(np.array([[0.0], [3.0], [6.0]]), in_a_row).tolist()
    [[1.5], [3.0], [4.5]]
    """
    members = identity(len(values), format="csr") + neighbors.astype(np.float64)
    size = np.asarray(members.sum(1)).ravel()
    return np.asarray(diags(1 / size) @ (members @ np.asarray(values, np.float64)))


def expression_target(
    spots: AnnData, panel: Sequence[str], *, smoothed: bool = True
) -> NDArray[np.float32]:
    """Compute the values that NH2ST is trained to predict.

    Counts are restricted to the panel, scaled to 10,000 per spot, transformed by ``log10(1 + v)``
    and averaged over the spot and its array neighbors, in this order (Qu et al., MICCAI 2025).
    These are not log1p-CPM.

    Parameters
    ----------
    spots
        Spots of one section, from :func:`~napari_nh2st.spots.read_spots`.
    panel
        Genes, in the model's order.
    smoothed
        Whether to average over neighbors.

    Returns
    -------
    ndarray
        (spots, panel) float32.

    Raises
    ------
    InputError
        The panel is empty, a gene of it was not measured, or values are not raw counts.

    Examples
    --------
    .. code-block:: python

        target = expression_target(spots, model.config.panel)
    """
    return _target(panel_counts(spots, panel), spots, smoothed)


def expected_target(
    spots: AnnData, panel: Sequence[str], *, smoothed: bool = True
) -> NDArray[np.float32]:
    """:func:`expression_target` of expected counts, which need not be whole numbers."""
    return _target(_panel_values(spots, panel), spots, smoothed)


def _target(counts: NDArray[np.float32], spots: AnnData, smoothed: bool) -> NDArray[np.float32]:
    values = normalize(counts)
    if smoothed:
        values = smooth(values, spot_array(spots).neighbors)
    return values.astype(np.float32)
