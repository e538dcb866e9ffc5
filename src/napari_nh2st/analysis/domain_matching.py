"""Matching of two groupings of the same tiles."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def is_same_domain(labels: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which tiles fall into the same domain in two groupings, whose numbers mean nothing.

    Domains are matched one to one so that as many tiles as possible are in the same (the Hungarian
    method); a domain without a counterpart has no such tile.

    Parameters
    ----------
    labels, other
        (tiles,) group of each.
    """
    _, one = np.unique(labels, return_inverse=True)
    _, two = np.unique(other, return_inverse=True)
    shared = np.zeros((one.max() + 1, two.max() + 1), np.int64)
    np.add.at(shared, (one, two), 1)
    matched = np.full(len(shared), -1)
    rows, columns = linear_sum_assignment(shared, maximize=True)
    matched[rows] = columns
    return np.asarray(matched[one] == two)
