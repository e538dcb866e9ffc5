"""Closed-form start of the prediction head, from feature maps as they are.

A few hundred spots and maps of tens of thousands of values: gradient descent from random weights
fits noise long before it has found what ridge regression gives at once. The head of a network can
hold that solution exactly (NH2ST's up to the width of its layers); training goes on from there.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.model.network import RidgeSolution
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.training.batches import patches
from napari_nh2st.training.inputs import StudyInputs, TrainedPart

_MOST_SPOTS = 2000
"""Spots, in one look or several, that are solved for with whole maps; of more an even selection."""

_QUERIES_A_PASS = 64

PENALTIES = 10.0 ** np.arange(-2.0, 3.5, 0.5)
"""Ridge penalties that are tried, in units of a spot's mean squared features."""


@torch.no_grad()
def start_from_ridge(part: TrainedPart, inputs: StudyInputs, *, within: bool = False) -> float:
    """Set the prediction head to a ridge regression.

    Minimizes ``‖Y - X W‖² + λ ‖W‖²``, X being the features of a spot that the network names in
    :meth:`~napari_nh2st.model.network.Network.ridge_design`, in blocks of one variance where it
    ``balances_blocks``. λ is the one with the least squared error where each section is left out in
    turn (with one section, each of five compact parts of it).

    Parameters
    ----------
    part
        The network; what follows no features stays as it is.
    inputs
        Inputs of the training sections; no other is looked at.
    within
        Regress the differences within a section and look, on all looks that are kept. What a stain
        adds to all tiles of a slide alike then has no say in how its tiles differ.

    Returns
    -------
    float
        The penalty λ.
    """
    network = part.network
    was_training = part.training
    part.eval()
    n_looks = inputs.n_looks if within else 1
    blocks, target, group, image = _design(part, inputs, n_looks)
    # The mean of the tiles as they are is predicted as the mean of the target.
    as_it_is = image % n_looks == 0
    means = [block[as_it_is].mean(0) for block in blocks]
    center = target[as_it_is].mean(0)
    if within:
        centered: list[NDArray[Any]] = [*blocks, target]
        for values in centered:
            for number in np.unique(image):
                values[image == number] -= values[image == number].mean(0)
    else:
        for block, mean in zip(blocks, means, strict=True):
            block -= mean
    scales = [_root_mean_square(block) if network.balances_blocks else 1.0 for block in blocks]
    for block, scale in zip(blocks, scales, strict=True):
        block /= scale
    joined = np.concatenate(blocks, axis=1)
    if joined.shape[1] < len(joined):
        penalty, weights = _by_features(joined.astype(np.float64), target, group)
        axes = _principal(joined @ weights, network.ridge_rank)
        ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
        factors = [torch.from_numpy((w @ axes).T).float() for w in np.split(weights, ends)]
    else:
        penalty, dual, predictions = _by_spots(joined, target, group)
        # The head is narrower than the panel may be: it gets the directions of the panel in which
        # the predictions vary most.
        axes = _principal(predictions, network.ridge_rank)
        factors = [torch.from_numpy((block.T @ (dual @ axes)).T).float() for block in blocks]
    factors = [factor / scale for factor, scale in zip(factors, scales, strict=True)]
    shift = [mean @ factor.numpy().T for mean, factor in zip(means, factors, strict=True)]
    constant = torch.from_numpy(center - axes @ sum(shift))
    solution = RidgeSolution(factors, torch.from_numpy(axes), constant)
    network.start_from_ridge(solution, _maps(part, inputs, n_looks))
    part.train(was_training)
    return penalty


def _design(
    part: TrainedPart, inputs: StudyInputs, n_looks: int
) -> tuple[list[NDArray[np.float32]], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Blocks of features, target, each row's left-out group, and the number of its image: sections
    times looks, of which each section's first is the section as it is.
    """
    rows, images, parts = [], [], []
    chosen = _chosen(part, inputs, n_looks)
    for look in range(n_looks):
        for queries, blocks in _features(part, inputs, chosen[look], look):
            rows.append(queries)
            images.append(inputs.study.section_of(queries).numpy() * n_looks + look)
            parts.append(blocks)
    every = np.concatenate(rows)
    target = inputs.study.target.numpy()[every].astype(np.float64)
    group = inputs.study.section_of(every).numpy()
    if len(inputs.study.sections) == 1:
        compact = patches(inputs.study.centers[0], -(-len(inputs.study) // 5), _generator())
        for number, members in enumerate(compact):
            group[np.isin(every, members)] = number
    joined = [np.concatenate(block) for block in zip(*parts, strict=True)]
    return joined, target, group, np.concatenate(images)


def _chosen(part: TrainedPart, inputs: StudyInputs, n_looks: int) -> NDArray[np.bool_]:
    """(looks, spots) that are solved for: all where features are pooled, since these are few."""
    count = n_looks * len(inputs.study)
    chosen = np.ones(count, bool)
    if not isinstance(part.network, PooledNetwork):
        chosen[:] = False
        chosen[np.linspace(0, count - 1, min(count, _MOST_SPOTS)).astype(int)] = True
    return chosen.reshape(n_looks, -1)


def _features(
    part: TrainedPart, inputs: StudyInputs, chosen: NDArray[np.bool_], look: int
) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[np.float32], ...]]]:
    """Rows, and the network's features of them in a look."""
    study, network = inputs.study, part.network
    for number, centers in enumerate(study.centers):
        for queries in patches(centers, _QUERIES_A_PASS, _generator()):
            rows = queries + study.first[number]
            rows = rows[chosen[rows]]
            if not len(rows):
                continue
            if network.ridge_reach == "tile":
                blocks = network.ridge_design(part.maps(inputs.in_look(rows, look)))
            else:
                needed, near = np.unique(study.neighborhoods[rows], return_inverse=True)
                maps = part.maps(inputs.in_look(needed, look))
                index = torch.from_numpy(near.reshape(len(rows), -1)).to(maps.device)
                mask = torch.from_numpy(study.mask[rows]).to(maps.device)
                blocks = network.ridge_design(maps, index, mask)
            yield rows, tuple(block.float().cpu().numpy() for block in blocks)


def _maps(part: TrainedPart, inputs: StudyInputs, n_looks: int) -> Iterator[Tensor]:
    """Maps of all spots in all looks, some at a time."""
    count = len(inputs.study)
    for look in range(n_looks):
        for rows in np.array_split(np.arange(count), -(-count // _QUERIES_A_PASS)):
            yield part.maps(inputs.in_look(rows, look)).cpu()


def _by_spots(
    features: NDArray[np.float32], target: NDArray[np.float64], group: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Solve by the products of spots, where features are more: the penalty, the weight (spots,
    panel) of each spot, and what comes out, less its mean.
    """
    kernel = (features @ features.T).astype(np.float64)
    unit = float(np.trace(kernel)) / len(kernel)
    penalty = _best_penalty(kernel / unit, target, group)
    ridge = kernel / unit + penalty * np.eye(len(kernel))
    dual = np.linalg.solve(ridge, target - target.mean(0)) / unit
    return penalty, dual, kernel @ dual


def _by_features(
    features: NDArray[np.float64], target: NDArray[np.float64], group: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Solve by the products of features, where spots are more: the penalty, and the weights
    (features, panel).
    """
    gram, cross = features.T @ features, features.T @ target
    unit = float(np.trace(gram)) / len(features)
    errors = np.zeros(len(PENALTIES))
    for left_out in np.unique(group):
        rows = group == left_out
        tested, n_seen = features[rows], int((~rows).sum())
        mean, center = -tested.sum(0) / n_seen, target[~rows].mean(0)  # all features add up to 0
        within = gram - tested.T @ tested - n_seen * np.outer(mean, mean)
        both = cross - tested.T @ target[rows] - n_seen * np.outer(mean, center)
        size, axes = np.linalg.eigh(within / unit)
        turned, projected = (tested - mean) @ axes, axes.T @ both / unit
        for number, penalty in enumerate(PENALTIES):
            predicted = turned @ (projected / (np.maximum(size, 0) + penalty)[:, None]) + center
            errors[number] += np.square(predicted - target[rows]).mean()
    penalty = float(PENALTIES[errors.argmin()])
    ridge = gram / unit + penalty * np.eye(len(gram))
    return penalty, np.asarray(np.linalg.solve(ridge, cross / unit), np.float64)


def _best_penalty(
    kernel: NDArray[np.float64], target: NDArray[np.float64], group: NDArray[np.int64]
) -> float:
    """The penalty with which left-out groups are predicted best."""
    errors = np.zeros(len(PENALTIES))
    for left_out in np.unique(group):
        seen, tested = np.flatnonzero(group != left_out), np.flatnonzero(group == left_out)
        mean = target[seen].mean(0)
        # As in start_from_ridge, features are centered on what is seen alone.
        within = kernel[np.ix_(seen, seen)]
        across = kernel[np.ix_(tested, seen)]
        row, every = within.mean(0), within.mean()
        within = within - row - row[:, None] + every
        across = across - row - across.mean(1, keepdims=True) + every
        size, axes = np.linalg.eigh(within)
        turned, projected = across @ axes, axes.T @ (target[seen] - mean)
        for number, penalty in enumerate(PENALTIES):
            predicted = turned @ (projected / (np.maximum(size, 0) + penalty)[:, None]) + mean
            errors[number] += np.square(predicted - target[tested]).mean()
    return float(PENALTIES[errors.argmin()])


def _root_mean_square(block: NDArray[np.float32]) -> float:
    """Length of the rows of a centered block; 1 where all are zero."""
    return float(np.sqrt(np.square(block, dtype=np.float64).sum() / len(block))) or 1.0


def _principal(predictions: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """(panel, rank) directions of the panel in which predictions (spots, panel) vary most."""
    _, axes = np.linalg.eigh(predictions.T @ predictions)
    return np.ascontiguousarray(axes[:, ::-1][:, :rank])


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)
