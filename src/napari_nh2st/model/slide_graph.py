"""Graph over the tiles of a slide: near ones, and shortcuts through the centers of clusters.

After MERGE (Ganguly et al., CVPR 2025, arXiv 2412.02601). A tile is joined with those beside it and
with the center of the two clusters that it is in, one of positions and one of features; a center
with all members, and all centers with each other. So two tiles of a slide are three steps apart at
most, however far.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from threadpoolctl import threadpool_limits
from torch import Tensor

TILES_A_CLUSTER = 100
"""Of the sizes that the paper tries, 25 to 200, the best."""

BESIDE = 1.6
"""Pitches within which tiles lie beside each other: between the diagonal of a square array and
twice its pitch, and below the second ring of a hexagonal one."""

_SEED = 0
_MOST_FOR_KMEANS = 20_000
"""Tiles beyond which k-means goes by batches: its time grows with the square of their number."""

_MOST_EDGES = 2**15
"""Edges that a layer computes at a time: with nodes of 256 numbers, 32 MB."""


class Block(NamedTuple):
    """Some nodes with about as many neighbors, and these."""

    nodes: Tensor
    """(b,)"""
    neighbors: Tensor
    """(b, k) indices of nodes, the node itself among them; places that are not filled hold 0."""
    mask: Tensor
    """(b, k) bool, which places are filled."""


@dataclass(frozen=True, eq=False)
class SlideGraph:
    """Neighbors of every node, cut in blocks so that a layer's memory is bounded.

    Parameters
    ----------
    blocks
        Every node is in one.
    centers
        (c,) nodes that are centers of clusters.
    """

    blocks: tuple[Block, ...]
    centers: NDArray[np.int64]

    def to(self, device: torch.device) -> "SlideGraph":
        """The same on a device."""
        blocks = tuple(Block(*(each.to(device) for each in block)) for block in self.blocks)
        return SlideGraph(blocks, self.centers)


def slide_graph(
    features: NDArray[np.floating], positions: NDArray[np.floating], neighbors: int
) -> SlideGraph:
    """Build the graph of a slide; the same arrays give the same graph.

    Parameters
    ----------
    features
        (n, d) of the tiles.
    positions
        (n, 2) centers of the tiles in units of the pitch.
    neighbors
        Tiles beside a tile, at most.
    """
    count = len(positions)
    centers, members = _clusters(
        np.asarray(features, np.float32), np.asarray(positions, np.float64)
    )
    among = np.stack(np.meshgrid(centers, centers, indexing="ij"), -1).reshape(-1, 2)
    pairs = np.concatenate([_beside(positions, neighbors), members, members[:, ::-1], among])
    own = np.arange(count)
    # Each edge once: a tile beside the center of its own cluster has it by two ways.
    edges = np.unique(np.concatenate([pairs @ [count, 1], own * count + own]))
    receiver, sender = np.divmod(edges, count)
    return SlideGraph(tuple(_blocks(receiver, sender, count)), centers)


def _beside(positions: NDArray[np.floating], neighbors: int) -> NDArray[np.int64]:
    """(m, 2) pairs of tiles that lie beside each other, both ways."""
    _, near = KDTree(positions).query(
        positions, k=np.arange(1, neighbors + 2), distance_upper_bound=BESIDE
    )
    receiver, place = np.nonzero(near < len(positions))
    pairs = np.stack([receiver, near[receiver, place]], axis=1)
    # Where tiles lie closer than on an array, one may be among the nearest of another alone.
    return np.concatenate([pairs, pairs[:, ::-1]])


def _clusters(
    features: NDArray[np.float32], positions: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Centers (c,), and (m, 2) pairs of a center and a member.

    The center of a cluster, of positions or of features, is the member whose features are nearest
    to the members' mean.
    """
    n_clusters = min(len(features), max(2, round(len(features) / TILES_A_CLUSTER)))
    pairs = []
    for points in (positions, features):
        label = _k_means(points, n_clusters)
        order = np.argsort(label, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
            of_members = features[members].astype(np.float64)
            off = np.square(of_members - of_members.mean(0)).sum(1)
            # Members may be equally far from the mean but for rounding, as two always are.
            nearest = members[np.flatnonzero(off <= off.min() * (1 + 1e-9))[0]]
            pairs.append(np.stack([np.full(len(members), nearest), members], axis=1))
    joined = np.concatenate(pairs)
    return np.unique(joined[:, 0]), joined


def _k_means(points: NDArray[np.floating], n_clusters: int) -> NDArray[np.int64]:
    """(n,) number of each point's cluster."""
    # Not above: it takes a while to load, and only networks over slides need it.
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(points) > _MOST_FOR_KMEANS:
        model = MiniBatchKMeans(n_clusters, n_init=1, batch_size=4096, random_state=_SEED)
    else:
        model = KMeans(n_clusters, n_init=1, random_state=_SEED)
    # Threads add up in the order in which they are done, which rounds differently every time.
    with threadpool_limits(1), warnings.catch_warnings():
        # Tiles that all look the same are fewer clusters than were asked for.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit_predict(points), np.int64)


def _blocks(receiver: NDArray[np.int64], sender: NDArray[np.int64], count: int) -> Iterator[Block]:
    """Blocks of nodes, those of few neighbors first.

    Parameters
    ----------
    receiver, sender
        (m,) ends of the edges, sorted by the receiver.
    count
        Number of nodes.
    """
    degree = np.bincount(receiver, minlength=count)
    first = np.cumsum(degree) - degree
    order = np.argsort(degree, kind="stable")
    at = 0
    while at < count:
        # The widest node of a block sets the room of all: so many as fit with the last of them.
        room = np.arange(1, count - at + 1) * degree[order[at:]]
        size = max(1, int(np.searchsorted(room, _MOST_EDGES, side="right")))
        nodes = order[at : at + size]
        place = np.arange(degree[nodes[-1]])
        mask = place < degree[nodes][:, None]
        neighbors = np.where(
            mask, sender[np.minimum(first[nodes][:, None] + place, len(sender) - 1)], 0
        )
        yield Block(*(torch.from_numpy(each) for each in (nodes, neighbors, mask)))
        at += size
