"""Neighborhoods gathered from a stream of tiles are those gathered at leisure."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.tiles import neighborhoods

PLACES = torch.arange(1.0, 10.0)[:, None]


class WeightedSum:
    """The prediction weighs each place of a neighborhood differently, and two tensors."""

    reach: Reach = "neighborhood"

    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        first, second = gathered
        weights = PLACES * mask[..., None]
        return torch.cat([(first * weights).sum(1), (second * weights).sum(1)], dim=1)


def features(count: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0).random((count, 2))
    return torch.from_numpy(random[:, :1]).float(), torch.from_numpy(random[:, 1:]).float()


def run(
    gatherer: NeighborhoodGatherer,
    order: NDArray[np.int64],
    batch_size: int,
    failed: NDArray[np.int64],
) -> tuple[dict[int, NDArray[np.float32]], int]:
    """Predictions by tile, and the most rows that were ever kept."""
    rows = features(len(gatherer._index))
    found: dict[int, NDArray[np.float32]] = {}
    capacity = 0
    for start in range(0, len(order), batch_size):
        tiles = order[start : start + batch_size]
        ready, values = gatherer.add(
            tiles, tuple(row[tiles] for row in rows), np.isin(tiles, failed)
        )
        capacity = len(gatherer._rows[0])
        assert (values is None) == (len(ready) == 0)
        for tile, value in zip(ready.tolist(), [] if values is None else values, strict=True):
            assert tile not in found, f"tile {tile} came twice"
            found[tile] = value.numpy()
    return found, capacity


def expected(
    index: NDArray[np.int64],
    mask: NDArray[np.bool_],
    wanted: NDArray[np.int64],
    failed: NDArray[np.int64],
) -> dict[int, NDArray[np.float64]]:
    first, second = (row.numpy()[:, 0] for row in features(len(index)))
    found = {}
    for tile in wanted.tolist():
        if tile in failed:
            continue
        total = np.zeros(2)
        for place, other in enumerate(index[tile]):
            if mask[tile, place] and other not in failed:
                total += (place + 1) * np.array([first[other], second[other]])
        found[tile] = total
    return found


def holey(rows: int, columns: int, kept: float) -> NDArray[np.float64]:
    return np.argwhere(np.random.default_rng(1).random((rows, columns)) < kept) * 100.0


@pytest.mark.parametrize("kept", [1.0, 0.4])
@pytest.mark.parametrize("share_failed", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("share_wanted", [1.0, 0.3])
@pytest.mark.parametrize("batch_size", [1, 8, 1000])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_wanted_tile_is_predicted_once_from_its_neighborhood(
    kept: float, share_failed: float, share_wanted: float, batch_size: int, shuffled: bool
) -> None:
    index, mask = neighborhoods(holey(9, 11, kept))
    rng = np.random.default_rng(2)
    wanted = np.flatnonzero(rng.random(len(index)) < share_wanted)
    gatherer = NeighborhoodGatherer(WeightedSum(), index, mask, wanted, 16)
    assert set(gatherer.needed) == set(index[wanted].ravel())
    order = rng.permutation(gatherer.needed) if shuffled else gatherer.needed
    failed = order[rng.random(len(order)) < share_failed]

    found, _ = run(gatherer, order, batch_size, failed)
    wanted_values = expected(index, mask, wanted, failed)
    assert found.keys() == wanted_values.keys()
    for tile, value in wanted_values.items():
        np.testing.assert_allclose(found[tile], value, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("failed", [[], [0], [0, 1]])
def test_fewer_tiles_than_a_neighborhood(count: int, failed: list[int]) -> None:
    index, mask = neighborhoods(np.random.default_rng(3).random((count, 2)))
    gatherer = NeighborhoodGatherer(WeightedSum(), index, mask, np.arange(count), 16)
    found, _ = run(gatherer, np.arange(count), 3, np.array(failed, int))
    wanted_values = expected(index, mask, np.arange(count), np.array(failed, int))
    assert found.keys() == wanted_values.keys()
    for tile, value in wanted_values.items():
        np.testing.assert_allclose(found[tile], value, rtol=1e-5)


def test_predictions_come_as_soon_as_their_neighborhood_is_complete() -> None:
    index, mask = neighborhoods(holey(6, 6, 1.0))
    gatherer = NeighborhoodGatherer(WeightedSum(), index, mask, np.arange(36), 16)
    rows = features(36)
    there: set[int] = set()
    for tile in range(36):
        ready, _ = gatherer.add(
            np.array([tile]), tuple(row[[tile]] for row in rows), np.zeros(1, bool)
        )
        before = {t for t in range(36) if set(index[t]) <= there}
        there.add(tile)
        now = {t for t in range(36) if set(index[t]) <= there}
        assert set(ready) == now - before


@pytest.mark.parametrize("share_failed", [0.0, 0.05])
def test_rows_are_reused_so_that_a_long_slide_needs_few(share_failed: float) -> None:
    index, mask = neighborhoods(holey(500, 6, 1.0))
    gatherer = NeighborhoodGatherer(WeightedSum(), index, mask, np.arange(3000), 16)
    rng = np.random.default_rng(4)
    failed = np.flatnonzero(rng.random(3000) < share_failed)
    found, capacity = run(gatherer, np.arange(3000), 16, failed)
    assert len(found) == 3000 - len(failed)
    assert capacity <= 64
    assert len(gatherer._free) == capacity, "a row is still taken in the end"
    assert sorted(gatherer._free) == list(range(capacity)), "a row was given back twice"


class WeightedOffsets(WeightedSum):
    """The prediction is where the neighbors lie, each place weighed differently."""

    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        (from_first,) = offsets
        return (from_first * PLACES * mask[..., None]).sum(1)


def test_offsets_go_from_the_tile_to_its_neighbors() -> None:
    centers = holey(6, 7, 0.7)
    index, mask = neighborhoods(centers)
    every = np.arange(len(index))
    gatherer = NeighborhoodGatherer(WeightedOffsets(), index, mask, every, 16, centers)
    found, _ = run(gatherer, every, 5, np.array([], int))
    assert found.keys() == set(every)
    for tile, value in found.items():
        total = np.zeros(2)
        for place, other in enumerate(index[tile]):
            if mask[tile, place]:
                total += (place + 1) * (centers[other] - centers[tile])
        np.testing.assert_allclose(value, total, rtol=1e-5)
