"""Batches: every spot once an epoch, beside its neighbors, and different places together."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training.batches import Batch, epoch_batches, patches

PITCH = 200.0


def array_of(rows: int, columns: int, holes: int = 0, seed: int = 0) -> NDArray[np.float64]:
    """Spots on a square array, some of them missing, in no order."""
    centers = PITCH * np.argwhere(np.ones((rows, columns), bool)).astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(centers))
    return centers[order[holes:]]


SECTIONS = [array_of(12, 15, 9), array_of(9, 9, 3, seed=1), array_of(14, 8, seed=2)]


def numbered_through(
    sections: list[NDArray[np.float64]],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Neighborhoods of a study."""
    found = [neighborhoods(centers) for centers in sections]
    first = np.cumsum([0, *(len(centers) for centers in sections[:-1])])
    index = np.concatenate([near + at for (near, _), at in zip(found, first, strict=True)])
    return index, np.concatenate([mask for _, mask in found])


def batches_of(
    sections: list[NDArray[np.float64]] = SECTIONS,
    *,
    batch_size: int = 48,
    patch_spots: int = 12,
    seed: int = 0,
    multiple_of: int = 1,
) -> list[Batch]:
    return epoch_batches(
        sections,
        *numbered_through(sections),
        batch_size=batch_size,
        patch_spots=patch_spots,
        generator=np.random.default_rng(seed),
        multiple_of=multiple_of,
    )


def mean_distance(points: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).mean())


@pytest.mark.parametrize("patch_spots", [1, 7, 16, 200])
def test_every_spot_is_once_in_an_epoch(patch_spots: int) -> None:
    rows = np.concatenate([batch.rows for batch in batches_of(patch_spots=patch_spots)])
    assert sorted(rows.tolist()) == list(range(sum(map(len, SECTIONS))))


def test_patches_are_compact_and_no_larger_than_asked_for() -> None:
    centers = SECTIONS[0]
    rng = np.random.default_rng(5)
    for size in (5, 16, 40):
        cut = patches(centers, size, rng)
        assert max(map(len, cut)) <= size
        assert min(map(len, cut)) >= size / 2
        order = rng.permutation(len(centers))
        at_random = np.split(order, np.cumsum([len(rows) for rows in cut])[:-1])
        compact, scattered = (
            np.mean([mean_distance(centers[rows]) for rows in groups])
            for groups in (cut, at_random)
        )
        # As in a square of that many spots, whose mean distance is 0.52 sides.
        assert compact < 1.2 * 0.52 * PITCH * np.sqrt(size)
        assert compact < 0.7 * scattered


def test_neighborhoods_of_a_batch_are_the_studys_within_a_patch() -> None:
    index, mask = numbered_through(SECTIONS)
    n_there = n_cut = 0
    for batch in batches_of():
        patch_of = dict(zip(batch.rows.tolist(), batch.patch.tolist(), strict=True))
        for k, row in enumerate(batch.rows.tolist()):
            assert batch.neighborhoods[k, 0] == k
            assert batch.mask[k, 0]
            for place in range(9):
                neighbor = int(index[row, place])
                here = mask[row, place] and patch_of.get(neighbor) == patch_of[row]
                assert batch.mask[k, place] == here
                got = batch.rows[batch.neighborhoods[k, place]]
                assert got == (neighbor if here else row)
                n_there, n_cut = n_there + here, n_cut + (not here)
    assert n_there > n_cut > 100


def test_patches_are_of_one_section_and_batches_of_several() -> None:
    section_of = np.repeat(np.arange(len(SECTIONS)), [len(centers) for centers in SECTIONS])
    several = []
    for batch in batches_of():
        for patch in range(batch.n_patches):
            assert len(np.unique(section_of[batch.rows[batch.patch == patch]])) == 1
        several.append(len(np.unique(section_of[batch.rows])) > 1)
    assert np.mean(several) > 0.7


def test_batches_are_about_as_large_as_asked_for_and_alike() -> None:
    sizes = [len(batch.rows) for batch in batches_of()]
    assert np.mean(sizes) == pytest.approx(48, rel=0.15)
    assert max(sizes) - min(sizes) <= 12  # a patch


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_as_many_batches_for_every_process(processes: int) -> None:
    batches = batches_of(multiple_of=processes)
    assert len(batches) % processes == 0
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(sum(map(len, SECTIONS))))


def test_more_processes_than_patches_repeat_some() -> None:
    batches = batches_of([array_of(3, 3)], patch_spots=9, multiple_of=4)
    assert [len(batch.rows) for batch in batches] == [9] * 4


def test_the_seed_decides_and_epochs_differ() -> None:
    one, same, other = batches_of(seed=3), batches_of(seed=3), batches_of(seed=4)
    for a, b in zip(one, same, strict=True):
        for name in ("rows", "patch", "neighborhoods", "mask"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert any(a.rows.tolist() != b.rows.tolist() for a, b in zip(one, other, strict=False))
    # Cut elsewhere, not dealt out otherwise only.
    cuts = [
        {frozenset(b.rows[b.patch == p].tolist()) for b in each for p in range(b.n_patches)}
        for each in (one, other)
    ]
    assert len(cuts[0] & cuts[1]) < len(cuts[0]) / 2


@pytest.mark.parametrize("sizes", [(1,), (2, 1), (4, 3)])
def test_sections_of_a_few_spots(sizes: tuple[int, ...]) -> None:
    sections = [array_of(1, n) for n in sizes]
    batches = batches_of(sections, batch_size=8, patch_spots=4)
    rows = np.concatenate([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(sum(sizes)))
    for batch in batches:
        ends = np.cumsum([0, *(np.bincount(batch.patch))])
        for start, stop in pairwise(ends):
            assert batch.mask[start:stop].sum(1).tolist() == [stop - start] * (stop - start)


def test_spots_in_one_place_are_cut_all_the_same() -> None:
    cut = patches(np.zeros((20, 2)), 6, np.random.default_rng(0))
    assert sorted(np.concatenate(cut).tolist()) == list(range(20))
    assert max(map(len, cut)) <= 6


def test_no_batch_has_a_single_spot() -> None:
    for n in range(20, 60):
        batches = batches_of([array_of(1, n)], batch_size=2, patch_spots=2)
        assert min(len(batch.rows) for batch in batches) > 1
