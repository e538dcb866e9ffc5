"""The array that spots stand on: its layout, its pitch, neighbors and how alike they are."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import KDTree

from napari_nh2st.spots.positions import ARRAY, has_array, positions

ArrayLayout = Literal["square", "hexagonal", "interleaved", "irregular"]

_SQUARE_OFFSETS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_ALONG_ROWS, _ALONG_COLUMNS = ((-2, 0), (2, 0)), ((0, -2), (0, 2))

_TIE = 1.05
"""Distances that differ by less are equal: measured positions are good to a few percent."""

_REACH = 1.55
"""Without an array: neighbors lie within this many pitches. Between the diagonal of a square
(1.41) and the second ring of a hexagon (1.73)."""

_MOST_NEIGHBORS = 8


@dataclass(frozen=True)
class SpotArray:
    """The array of a section's spots.

    Parameters
    ----------
    layout
        - ``"square"``: rows and columns; 8 neighbors;
        - ``"hexagonal"``: every other row shifted by half a step, as on Visium; 6 neighbors;
        - ``"interleaved"``: a square array with a second one in its gaps, as on legacy arrays of
          2,000 spots;
        - ``"irregular"``: none of these.
    pitch_px
        Characteristic distance between spots in full-resolution pixels: on an interleaved array,
        between spots of the same one of its two arrays.
    neighbors
        (spots, spots) bool, symmetric, False on the diagonal.
    """

    layout: ArrayLayout
    pitch_px: float
    neighbors: csr_matrix


def spot_array(spots: AnnData) -> SpotArray:
    """Find the array of a section.

    On a square array, neighbors are the up to 8 spots one step away along rows, columns or both,
    as published. On shifted arrays that rule would miss some of the nearest spots: there, neighbors
    are the 4 diagonal ones and, along rows or along columns, the 2 that are nearer in pixels
    (all 4 if these are equally far). That makes 6 on a hexagonal array.

    Parameters
    ----------
    spots
        With ``obsm["spatial"]``. ``obs["array_row"]`` and ``obs["array_col"]`` are used if they
        exist and fit the pixels; else neighbors are found by pixel distance.

    Examples
    --------
    >>> grid = np.array([(x, y) for y in range(9) for x in range(9)], float)
    >>> array = spot_array(AnnData(np.ones((81, 1)), obsm={"spatial": 100 * grid}))
    >>> array.layout, array.pitch_px
    ('square', 100.0)
    """
    pixels = positions(spots)
    if has_array(spots.obs):
        array = spots.obs[list(ARRAY)].to_numpy(np.int64)
        fitted = _fit(array, pixels)
        if fitted is not None:
            return _on_array(*fitted)
    return _by_distance(pixels)


def fits_one_array(spots: AnnData) -> bool:
    """Whether the array places of all spots are one array in pixels, each place with one spot.

    Parameters
    ----------
    spots
        With ``obsm["spatial"]``, ``obs["array_row"]`` and ``obs["array_col"]``, as in a file.
    """
    places = [pd.to_numeric(spots.obs[name], errors="coerce") for name in ARRAY]
    array = np.column_stack([place.to_numpy(np.float64) for place in places])
    try:
        pixels = positions(spots)
    except (TypeError, ValueError):
        return False
    if pixels.ndim != 2:
        return False
    known = np.isfinite(array).all(1) & np.isfinite(pixels).all(1)
    if np.count_nonzero(known) < 3:
        return False
    return _fit(np.rint(array[known]).astype(np.int64), pixels[known]) is not None


def _fit(
    array: NDArray[np.int64], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """The array in single steps and its axes (2, 2) in pixels; None if the two do not fit."""
    steps = array - array.min(0)
    # Where, say, every second column is unused throughout, one step is two columns.
    steps = steps // np.maximum(np.gcd.reduce(steps, axis=0), 1)
    design = np.column_stack([steps, np.ones(len(steps))])
    if np.linalg.matrix_rank(design) < 3 or len(np.unique(steps, axis=0)) < len(steps):
        return None
    solution = np.linalg.lstsq(design, pixels, rcond=None)[0]
    axes = solution[:2]
    off = np.sqrt(np.mean(((design @ solution - pixels) ** 2).sum(1)))
    # Rows shifted in pixels but not in their numbers are off by a quarter of a step throughout.
    return (steps, axes) if off < 0.2 * np.linalg.norm(axes, axis=1).min() else None


def _on_array(steps: NDArray[np.int64], axes: NDArray[np.float64]) -> SpotArray:
    along_rows, along_columns = np.linalg.norm(axes, axis=1).tolist()
    odd = float(np.mean(steps.sum(1) % 2))
    if 0.05 < odd < 0.95:
        pitch = np.sqrt(along_rows * along_columns)
        return SpotArray("square", float(pitch), _linked(steps, _SQUARE_OFFSETS))
    double = 2 * along_rows, 2 * along_columns
    near = min(double)
    offsets = list(_DIAGONAL)
    if double[0] <= near * _TIE:
        offsets += _ALONG_ROWS
    if double[1] <= near * _TIE:
        offsets += _ALONG_COLUMNS
    neighbors = _linked(steps, tuple(offsets))
    # The two distances are 1 : √3 on a hexagonal array and equal on an interleaved one.
    if max(double) > near * 3**0.25:
        diagonal = np.mean([np.linalg.norm(axes[0] + axes[1]), np.linalg.norm(axes[0] - axes[1])])
        return SpotArray("hexagonal", float((2 * diagonal + near) / 3), neighbors)
    return SpotArray("interleaved", float(np.sqrt(double[0] * double[1])), neighbors)


def _linked(steps: NDArray[np.int64], offsets: tuple[tuple[int, int], ...]) -> csr_matrix:
    """Spots linked with those that stand at one of the offsets."""
    padded = steps + 2
    width = int(padded[:, 1].max()) + 3
    places = padded[:, 0] * width + padded[:, 1]
    order = np.argsort(places)
    rows, columns = [], []
    for down, across in offsets:
        wanted = places + down * width + across
        found = np.minimum(np.searchsorted(places[order], wanted), len(places) - 1)
        there = places[order][found] == wanted
        rows.append(np.flatnonzero(there))
        columns.append(order[found[there]])
    return _adjacency(np.concatenate(rows), np.concatenate(columns), len(steps))


def _by_distance(pixels: NDArray[np.float64]) -> SpotArray:
    count = len(pixels)
    looked = min(count, _MOST_NEIGHBORS + 1)
    if looked < 2:
        return SpotArray("irregular", float("nan"), _adjacency([], [], count))
    distance, near = KDTree(pixels).query(pixels, k=looked)
    distance, near = distance[:, 1:], near[:, 1:]
    nearest = float(np.median(distance[:, 0]))
    close = distance <= _REACH * nearest
    rows, place = np.nonzero(close)
    links = _adjacency(rows, near[rows, place], count)
    # Where eight places do not hold all who are near, one may see the other and not be seen.
    links = csr_matrix(links + links.T)
    layout: ArrayLayout = "irregular"
    if looked > _MOST_NEIGHBORS:
        ring = np.median(distance, axis=0) / nearest
        if ring[5] < 1.2:
            layout = "hexagonal"
        elif ring[3] < 1.2 and ring[7] < _REACH:
            layout = "square"
    return SpotArray(layout, nearest, links)


def _adjacency(
    rows: NDArray[np.int64] | list[int], columns: NDArray[np.int64] | list[int], count: int
) -> csr_matrix:
    return csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))


def morans_i(values: NDArray[np.floating], neighbors: csr_matrix) -> NDArray[np.float64]:
    """Moran's I of each gene (Moran 1950), with equal weight for every pair of neighbors.

    ``I = n / W · Σ_ij w_ij z_i z_j / Σ_i z_i²`` with ``z`` the deviation from the mean, ``w_ij``
    1 for neighbors and else 0, and ``W`` the sum of ``w``.

    Parameters
    ----------
    values
        (spots, genes).
    neighbors
        (spots, spots) bool.

    Returns
    -------
    ndarray
        (genes,): near 1 where neighbors are alike, ``-1/(n-1)`` expected by chance; NaN for a
        gene without variance, or if no spot has a neighbor.

    Examples
    --------
    >>> in_a_row = csr_matrix(np.eye(4, k=1) + np.eye(4, k=-1), dtype=bool)
    >>> morans_i(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), in_a_row).round(3).tolist()
    [0.333, -1.0]
    """
    deviation = np.asarray(values, np.float64) - np.mean(values, axis=0, dtype=np.float64)
    pairs = neighbors.sum()
    variance = (deviation**2).sum(0)
    # A constant gene's deviations are zero but for rounding.
    varies = variance > 1e-20 * np.maximum(1, np.abs(values).max(0, initial=0)) ** 2 * len(values)
    alike = (deviation * (neighbors.astype(np.float64) @ deviation)).sum(0)
    result = np.full(variance.shape, np.nan)
    if pairs:
        np.divide(len(deviation) * alike, pairs * variance, out=result, where=varies)
    return result
