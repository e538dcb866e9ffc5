"""Batches in which tiles have their neighbors beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Some spots of a study, each of them a query.

    Parameters
    ----------
    rows
        (b,) rows of the study.
    patch
        (b,) number of the patch that a row is in.
    neighborhoods
        (b, 9) indices into ``rows``, itself first; places without a neighbor hold itself.
    mask
        (b, 9) bool, True where the neighbor is in the same patch.
    """

    rows: NDArray[np.int64]
    patch: NDArray[np.int64]
    neighborhoods: NDArray[np.int64]
    mask: NDArray[np.bool_]

    @property
    def n_patches(self) -> int:
        """Number of patches it is put together from."""
        return int(self.patch[-1]) + 1


def patches(
    centers: NDArray[np.floating], size: int, generator: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Cut a section into compact patches of about the same number of spots.

    The section is halved across its longer side until parts are small enough, after a random turn
    of the axes: each call cuts it elsewhere.

    Parameters
    ----------
    centers
        (n, 2), in any unit of length that is the same on both axes.
    size
        Spots in a patch, at most.
    generator
        Random generator of the turn.

    Returns
    -------
    list of ndarray
        Rows of each patch; every row is in one.
    """
    angle = generator.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = np.asarray(centers, np.float64) @ turn
    result = []
    waiting = [(np.arange(len(turned)), -(-len(turned) // size))]
    while waiting:
        rows, count = waiting.pop()
        if count <= 1:
            result.append(rows)
            continue
        axis = int(np.ptp(turned[rows], axis=0).argmax())
        left = count // 2
        cut = round(len(rows) * left / count)
        order = rows[np.argsort(turned[rows, axis], kind="stable")]
        waiting += [(order[:cut], left), (order[cut:], count - left)]
    return result


def epoch_batches(
    centers: Sequence[NDArray[np.floating]],
    neighborhoods: NDArray[np.int64],
    mask: NDArray[np.bool_],
    *,
    batch_size: int,
    patch_spots: int,
    generator: np.random.Generator,
    multiple_of: int = 1,
) -> list[Batch]:
    """All spots of a study once, in batches of patches from different places.

    A batch needs no tile beside its own, so that each is encoded once: neighbors beyond a patch
    are masked, as if the tissue ended there.

    Parameters
    ----------
    centers
        (n, 2) of each section; rows are numbered through, section after section.
    neighborhoods, mask
        (all rows, 9) neighbors of every row, numbered through as well, and which there are.
    batch_size, patch_spots
        About how many spots in a batch and in a patch.
    generator
        Random generator of the cuts and of the order.
    multiple_of
        The number of batches is a multiple of this, so that as many processes get as many.
    """
    pieces = []
    first = 0
    for points in centers:
        pieces += [first + rows for rows in patches(points, patch_spots, generator)]
        first += len(points)
    pieces = [pieces[k] for k in generator.permutation(len(pieces))]
    wanted = max(1, round(len(pieces) / max(1, batch_size / patch_spots)))
    wanted = max(multiple_of, wanted // multiple_of * multiple_of)
    if wanted > len(pieces):  # more processes than patches
        pieces = [pieces[k % len(pieces)] for k in range(wanted)]
    # Dealt out like cards, so that the last batch is as large as the others.
    hands = [pieces[number::wanted] for number in range(wanted)]
    if multiple_of == 1:
        hands = _without_single_spots(hands)
    slot = np.full(len(neighborhoods), -1)
    batches = []
    for parts in hands:
        rows = np.concatenate(parts)
        patch = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        slot[rows] = np.arange(len(rows))
        near = slot[neighborhoods[rows]]
        there = mask[rows] & (near >= 0) & (patch[near] == patch[:, None])
        near = np.where(there, near, np.arange(len(rows))[:, None])
        slot[rows] = -1
        batches.append(Batch(rows, patch, near, there))
    return batches


def _without_single_spots(
    hands: list[list[NDArray[np.int64]]],
) -> list[list[NDArray[np.int64]]]:
    """Join a batch of a single spot to another: it has nothing to be contrasted with."""
    if min(sum(map(len, parts)) for parts in hands) > 1:
        return hands
    kept: list[list[NDArray[np.int64]]] = []
    for hand in sorted(hands, key=lambda parts: sum(map(len, parts))):
        if kept and sum(map(len, kept[-1])) < 2:
            kept[-1] = kept[-1] + hand
        else:
            kept.append(hand)
    return kept
