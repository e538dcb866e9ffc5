"""Communities of a nearest-neighbor graph, as many as wanted.

The algorithm is Leiden (Traag, Waltman & van Eck 2019) as igraph has it, which on such graphs is
ten times faster than the package leidenalg; the search for a number of communities runs it often.
"""

import random
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEIGHBORS = 15

_LARGEST_GRAPH = 10_000
"""Points in the graph, at most: finding neighbors costs their square, and igraph keeps all other
threads waiting while it works, a viewer's among them. Of more points a sample is clustered, and the
others join what most of their nearest in the sample are in."""

_ITERATIONS = 2
_MOST_TRIALS = 24
_FIRST_RESOLUTION = 0.5
_WIDENING = 4.0
_RESOLUTIONS = (1e-4, 1e4)
_NARROWEST = 1.005
"""Resolutions nearer to each other than this factor count as one."""

_AT_ONCE = 4096

_generator_lock = threading.Lock()
"""igraph has one random generator for all threads."""


@dataclass(frozen=True)
class Communities:
    """What the search ended with.

    Parameters
    ----------
    labels
        (points,) int from 0.
    resolution
        Resolution of the modularity that gave them.
    sampled
        Points in the graph.
    """

    labels: NDArray[np.int64]
    resolution: float
    sampled: int


def leiden(
    points: NDArray[np.floating],
    n_communities: int,
    resolution: float | None,
    seed: int,
    stop: threading.Event,
) -> Communities | None:
    """Find communities by modularity with a resolution (Reichardt & Bornholdt 2006).

    Parameters
    ----------
    points
        (points, dimensions); each is joined with its 15 nearest.
    n_communities
        How many are wanted. The resolution is searched by bisection; where no resolution gives
        so many, the nearest number that was met is taken.
    resolution
        Takes this one, and as many communities as it gives.
    seed
        Seed of sample and search.
    stop
        Ends the work early.

    Returns
    -------
    Communities or None
        None if it was stopped.
    """
    chosen = np.arange(len(points))
    if len(points) > _LARGEST_GRAPH:
        draw = np.random.default_rng(seed).choice(len(points), _LARGEST_GRAPH, replace=False)
        chosen = np.sort(draw)
    graph = _nearest_neighbor_graph(points[chosen])
    found = _search(graph, n_communities, resolution, seed, stop)
    if found is None:
        return None
    labels, reached = found
    if len(chosen) < len(points):
        joined = _join(points, chosen, labels, stop)
        if joined is None:
            return None
        labels = joined
    return Communities(labels, reached, len(chosen))


def _nearest_neighbor_graph(points: NDArray[np.floating]) -> Any:
    from igraph import Graph
    from sklearn.neighbors import NearestNeighbors

    count = len(points)
    k = min(_NEIGHBORS, count - 1)
    near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    pairs = np.column_stack([np.repeat(np.arange(count), k), near.ravel()])
    low, high = pairs.min(1), pairs.max(1)
    once = np.unique(low * count + high)
    return Graph(n=count, edges=np.column_stack([once // count, once % count]))


def _search(
    graph: Any, wanted: int, resolution: float | None, seed: int, stop: threading.Event
) -> tuple[NDArray[np.int64], float] | None:
    """Labels and their resolution: more of it makes more communities, if not strictly."""
    if resolution is not None:
        return (_communities(graph, resolution, seed), resolution)
    low, high = 0.0, np.inf
    trial = _FIRST_RESOLUTION
    best: tuple[NDArray[np.int64], float] | None = None
    least = np.inf
    for _ in range(_MOST_TRIALS):
        if stop.is_set():
            return None
        labels = _communities(graph, trial, seed)
        count = int(labels.max()) + 1
        if abs(count - wanted) < least:
            best, least = (labels, trial), abs(count - wanted)
        if count == wanted:
            break
        if count < wanted:
            low = trial
        else:
            high = trial
        if low == 0:
            trial = high / _WIDENING
        elif np.isinf(high):
            trial = low * _WIDENING
        else:
            trial = float(np.sqrt(low * high))
        if high < low * _NARROWEST or not _RESOLUTIONS[0] < trial < _RESOLUTIONS[1]:
            break
    return best


def _communities(graph: Any, resolution: float, seed: int) -> NDArray[np.int64]:
    import igraph

    membership: Any = None
    with _generator_lock:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            # One iteration a call: between calls, other threads have their turn.
            for _ in range(_ITERATIONS):
                membership = graph.community_leiden(
                    "modularity",
                    resolution=resolution,
                    initial_membership=membership,
                    n_iterations=1,
                ).membership
        finally:
            igraph.set_random_number_generator(random)  # as igraph itself has it
    _, labels = np.unique(np.asarray(membership, np.int64), return_inverse=True)
    return np.asarray(labels, np.int64)


def _join(
    points: NDArray[np.floating],
    chosen: NDArray[np.int64],
    labels: NDArray[np.int64],
    stop: threading.Event,
) -> NDArray[np.int64] | None:
    """The labels of all points from those of the chosen."""
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(n_neighbors=_NEIGHBORS).fit(points[chosen], labels)
    result = np.full(len(points), -1)
    result[chosen] = labels
    rest = np.flatnonzero(result < 0)
    for first in range(0, len(rest), _AT_ONCE):
        if stop.is_set():
            return None
        some = rest[first : first + _AT_ONCE]
        result[some] = nearest.predict(points[some])
    return result
