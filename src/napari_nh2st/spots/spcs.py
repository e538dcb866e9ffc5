"""SPCS smoothing: a spot's values from those beside it and from those of alike expression.

After "Spatial and Pattern Combined Smoothing" (Briefings in Bioinformatics 2022), which MERGE
(arXiv 2412.02601) trains on. It averages over spots that are alike in *measured* expression,
wherever they lie, and so removes noise that no image can predict: for targets of a training, never
for what predictions are compared with.
"""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.spatial import KDTree

from napari_nh2st.spots.array import spot_array
from napari_nh2st.spots.positions import has_array
from napari_nh2st.spots.target import normalize, panel_counts

_SMOOTHED_SHARE = 0.6
"""Published α: what the smoothed parts count for, the spot itself for the rest."""

_SPATIAL_SHARE = 0.4
"""Published β: what neighbors count for among the smoothed parts, alike spots for the rest."""

_COMPONENTS = 10
_MOST_ALIKE = 16
_FALL_OFF = 4.5
_SPOTS_AT_ONCE = 1024


def spcs_target(spots: AnnData, panel: Sequence[str]) -> NDArray[np.float32]:
    """The training target with SPCS in place of the mean over the array's neighbors.

    Parameters
    ----------
    spots, panel
        As for :func:`~napari_nh2st.spots.expression_target`, whose scale and logarithm are used.

    Returns
    -------
    ndarray
        (spots, panel) float32.

    Raises
    ------
    InputError
        A gene of the panel was not measured.

    Examples
    --------
    .. code-block:: python

        target = spcs_target(read_spots("C6.h5ad"), ["ERBB2", "CD74"])
    """
    values = normalize(panel_counts(spots, panel))
    return spcs(values, _beside(spots), _alike(_components(values))).astype(np.float32)


def spcs(
    values: NDArray[np.floating], beside: csr_matrix, alike: csr_matrix
) -> NDArray[np.float64]:
    """Mix each spot with the weighted means of those beside it and of those like it.

    Parameters
    ----------
    values
        (spots, genes).
    beside, alike
        (spots, spots) weights from 0 on. Where a spot has none of one kind its own value stands
        for their mean; published, a 0 does, which shrinks the spots at a section's edge.
    """
    own: NDArray[np.float64] = np.asarray(values, np.float64)
    spatial, pattern = (_weighted_mean(own, weights) for weights in (beside, alike))
    mixed = _SPATIAL_SHARE * spatial + (1 - _SPATIAL_SHARE) * pattern
    return np.asarray((1 - _SMOOTHED_SHARE) * own + _SMOOTHED_SHARE * mixed)


def _weighted_mean(values: NDArray[np.float64], weights: csr_matrix) -> NDArray[np.float64]:
    total = np.asarray(weights.sum(1)).ravel()
    mean = diags(1 / np.where(total > 0, total, 1)) @ (weights @ values)
    return np.where(total[:, None] > 0, mean, values)


def _beside(spots: AnnData) -> csr_matrix:
    """Weights 1 / Manhattan distance, up to 2, on a square array; elsewhere all neighbors alike.

    On a hexagonal array all six neighbors are at Manhattan distance 2 in Visium's numbering; the
    published rule also takes the two spots straight above and below, √3 pitches away.
    """
    array = spot_array(spots)
    if array.layout != "square" or not has_array(spots.obs):
        return csr_matrix(array.neighbors, dtype=np.float64)
    tree = KDTree(spots.obs[["array_row", "array_col"]].to_numpy(np.float64))
    pairs = tree.sparse_distance_matrix(tree, 2, p=1, output_type="coo_matrix").tocsr()
    pairs.eliminate_zeros()  # itself
    pairs.data = 1 / pairs.data
    return csr_matrix(pairs)


def _components(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(spots, 10) principal components."""
    from sklearn.decomposition import PCA  # takes a second to load

    n = min(_COMPONENTS, *values.shape)
    return np.asarray(PCA(n, svd_solver="full").fit_transform(values))


def _alike(components: NDArray[np.float64]) -> csr_matrix:
    """Weights exp(-4.5 (1 - r)²) of the 16 spots of highest correlation r, where r ≥ 0."""
    centered = components - components.mean(1, keepdims=True)
    length = np.linalg.norm(centered, axis=1, keepdims=True)
    unit = centered / np.where(length > 0, length, 1)
    n = len(unit)
    k = min(_MOST_ALIKE, n - 1)
    rows, columns, weights = [], [], []
    for first in range(0, n, _SPOTS_AT_ONCE):
        r = unit[first : first + _SPOTS_AT_ONCE] @ unit.T
        here = np.arange(first, first + len(r))
        r[np.arange(len(r)), here] = -np.inf  # not itself
        near = np.argpartition(-r, k - 1, axis=1)[:, :k] if k else np.empty((len(r), 0), np.int64)
        chosen = np.take_along_axis(r, near, axis=1)
        rows.append(np.repeat(here, k))
        columns.append(near.ravel())
        weights.append(np.where(chosen >= 0, np.exp(-_FALL_OFF * (1 - chosen) ** 2), 0).ravel())
    parts = (np.concatenate(each) for each in (weights, rows, columns))
    data, row, column = parts
    return csr_matrix((data, (row, column)), shape=(n, n))
