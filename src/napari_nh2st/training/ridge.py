"""Closed-form start of the prediction head, from feature maps as they are.

A few hundred spots and maps of tens of thousands of values: gradient descent from random weights
fits noise long before it has found what ridge regression gives at once. The head's linear layers
can hold that solution exactly (up to their width), and so can the neighbor branch where its
ReLUs are kept in their linear range; training goes on from there.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.training.batches import patches
from napari_nh2st.training.inputs import StudyInputs, TrainedPart

_MOST_SPOTS = 2000
"""Spots that are solved for; of larger studies an even selection."""

_QUERIES_A_PASS = 64

PENALTIES = 10.0 ** np.arange(-2.0, 3.5, 0.5)
"""Ridge penalties that are tried, in units of a spot's mean squared features."""

_MARGIN = 2.0
"""Distance of the neighbor branch's ReLUs from their bend, in units of the largest input seen."""


@torch.no_grad()
def start_from_ridge(part: TrainedPart, inputs: StudyInputs) -> float:
    """Set the prediction head (and neighbor branch, if it predicts) to a ridge regression.

    Minimizes ``‖Y - X W‖² + λ ‖W‖²``, X being a spot's flattened map and, for
    ``context="neighborhood"``, beside it the neighborhood's maps as two hypergraph convolutions
    without ReLU mean them. λ is the one with the least squared error where each section is left
    out in turn (with one section, each of five compact parts of it).

    Parameters
    ----------
    part
        The network; its expression side and cross-attention stay as they are.
    inputs
        Inputs of the training sections; no other is looked at.

    Returns
    -------
    float
        The penalty λ.
    """
    network = part.network
    was_training = part.training
    part.eval()
    own, around, target, group = _design(part, inputs)
    blocks = [own] if around is None else [own, around]
    means = [block.mean(0) for block in blocks]
    for block, mean in zip(blocks, means, strict=True):
        block -= mean
    joined = np.concatenate(blocks, axis=1)
    kernel = (joined @ joined.T).astype(np.float64)
    unit = float(np.trace(kernel)) / len(kernel)
    penalty = _best_penalty(kernel / unit, target, group)
    center = target.mean(0)
    dual = np.linalg.solve(kernel / unit + penalty * np.eye(len(kernel)), target - center) / unit
    # The head is narrower than the panel may be: it gets the directions of the panel in which
    # the predictions vary most.
    axes = _principal(kernel @ dual, _rank(network))
    factors = [torch.from_numpy((block.T @ (dual @ axes)).T).float() for block in blocks]
    shift = [mean @ factor.numpy().T for mean, factor in zip(means, factors, strict=True)]
    _fill(network, factors, axes, center - axes @ sum(shift), _largest(part, inputs, factors))
    part.train(was_training)
    return penalty


def _design(
    part: TrainedPart, inputs: StudyInputs
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float64], NDArray[np.int64]]:
    """Own features, those around or None, target, and each spot's left-out group."""
    own, around, rows = [], [], []
    for queries, flat, mixed in _features(part, inputs, _chosen(inputs)):
        own.append(flat)
        rows.append(queries)
        if mixed is not None:
            around.append(mixed)
    every = np.concatenate(rows)
    target = inputs.study.target.numpy()[every].astype(np.float64)
    group = inputs.study.section_of(every).numpy()
    if len(inputs.study.sections) == 1:
        parts = patches(inputs.study.centers[0], -(-len(inputs.study) // 5), _generator())
        for number, members in enumerate(parts):
            group[np.isin(every, members)] = number
    return np.concatenate(own), np.concatenate(around) if around else None, target, group


def _chosen(inputs: StudyInputs) -> NDArray[np.bool_]:
    count = len(inputs.study)
    chosen = np.zeros(count, bool)
    chosen[np.linspace(0, count - 1, min(count, _MOST_SPOTS)).astype(int)] = True
    return chosen


def _features(
    part: TrainedPart, inputs: StudyInputs, chosen: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32] | None]]:
    """Rows, their own flattened maps (h, w, d), and those of their neighborhoods (d, h, w)."""
    study, network = inputs.study, part.network
    for number, centers in enumerate(study.centers):
        for queries in patches(centers, _QUERIES_A_PASS, _generator()):
            rows = queries + study.first[number]
            rows = rows[chosen[rows]]
            if not len(rows):
                continue
            if network.hyperparameters.context != "neighborhood":
                maps = part.maps(inputs.plain(rows))
                yield rows, _numpy(maps.permute(0, 2, 3, 1).flatten(1)), None
                continue
            needed, near = np.unique(study.neighborhoods[rows], return_inverse=True)
            maps = part.maps(inputs.plain(needed))
            index = torch.from_numpy(near.reshape(len(rows), -1)).to(maps.device)
            mask = torch.from_numpy(study.mask[rows]).to(maps.device)
            operator = network.hypergraph(maps, index, mask)
            present = mask.to(maps.dtype)[:, None, :] / mask.sum(1)[:, None, None]
            share = (present @ operator @ operator)[:, 0]
            mixed = torch.einsum("bn,bnd->bd", share, maps.flatten(1)[index])
            flat = maps[index[:, 0]].permute(0, 2, 3, 1).flatten(1)
            yield rows, _numpy(flat), _numpy(mixed)


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


def _largest(part: TrainedPart, inputs: StudyInputs, factors: list[Tensor]) -> Tensor | None:
    """Largest size (rank,) of what the neighbor branch's ReLUs see; None if it does not predict."""
    if len(factors) == 1:
        return None
    study = inputs.study
    largest = torch.zeros(len(factors[1]))
    for rows in np.array_split(np.arange(len(study)), -(-len(study) // _QUERIES_A_PASS)):
        maps = part.maps(inputs.plain(rows)).flatten(1).cpu()
        # A convolution takes means over nodes: it makes nothing larger.
        largest = torch.maximum(largest, (maps @ factors[1].T).abs().amax(0))
    return largest


def _rank(network: NH2ST) -> int:
    p = network.hyperparameters
    widths = [p.dim, p.hidden, p.panel_size]
    if p.context == "neighborhood":
        widths.append(p.hypergraph_hidden)
    return min(widths)


def _principal(predictions: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """(panel, rank) directions of the panel in which predictions (spots, panel) vary most."""
    _, axes = np.linalg.eigh(predictions.T @ predictions)
    return np.ascontiguousarray(axes[:, ::-1][:, :rank])


def _fill(
    network: NH2ST,
    factors: list[Tensor],
    axes: NDArray[np.float64],
    constant: NDArray[np.float64],
    largest: Tensor | None,
) -> None:
    """Put the solution into the network's layers: maps → (rank,) → panel."""
    rank, dim = axes.shape[1], network.hyperparameters.dim
    first, last = network.decoder
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    network.query_head.weight[:rank] = factors[0].to(network.query_head.weight)
    network.query_head.bias[:rank] = 0
    units = torch.arange(rank)
    first.weight.zero_()
    first.bias.zero_()
    first.weight[units, units] = 1
    last.weight.zero_()
    last.weight[:, :rank] = torch.from_numpy(axes).to(last.weight)
    last.bias.copy_(torch.from_numpy(constant))
    if largest is None:
        return
    encoder = network.neighbor_image_encoder
    shift = (_MARGIN * largest).to(encoder.conv1.bias)
    encoder.conv1.lin.weight[:rank] = factors[1].to(encoder.conv1.lin.weight)
    # Rows of the operator add up to 1, so the shift comes through both convolutions as it is.
    encoder.conv1.bias[:rank] = shift
    encoder.conv2.lin.weight[:rank] = 0
    encoder.conv2.lin.weight[units, units] = 1
    encoder.conv2.bias[:rank] = 0
    first.weight[units, dim + units] = 1
    first.bias[:rank] = -shift.to(first.bias)


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
