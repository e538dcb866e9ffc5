"""Every tile is handed out once, and what is looked at comes first."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_nh2st.inference.schedule import Focus, Schedule
from napari_nh2st.inference.settings import Order
from napari_nh2st.tiles import Layout, TileGrid

STEP = 100.0


def grid_of(rows: int, columns: int, layout: Layout = "square", kept: float = 1.0) -> TileGrid:
    array = np.argwhere(np.random.default_rng(0).random((rows, columns)) < kept)
    if layout == "hexagonal":
        array = array[array.sum(1) % 2 == 0]
    step = (STEP, STEP / 2 if layout == "hexagonal" else STEP)
    return TileGrid(array, (array + 0.5) * step, (STEP, STEP), STEP, step, layout, (rows, columns))


def handed_out(
    grid: TileGrid, order: Order = "raster", whole: bool = False, focus: Focus | None = None
) -> NDArray[np.int64]:
    batches = list(Schedule(grid, np.arange(len(grid)), 7, order, whole, focus))
    assert all(len(batch) == 7 for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= 7
    return np.concatenate(batches)


@pytest.mark.parametrize("order", ["raster", "coarse-to-fine"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("layout", ["square", "hexagonal"])
@pytest.mark.parametrize("box", [None, (200.0, 300.0, 500.0, 900.0), (-900.0, 0.0, -800.0, 1.0)])
def test_every_tile_is_handed_out_once(
    order: Order, whole: bool, layout: Layout, box: tuple[float, float, float, float] | None
) -> None:
    grid = grid_of(20, 80, layout, kept=0.6)
    found = handed_out(grid, order, whole, Focus(box))
    np.testing.assert_array_equal(np.sort(found), np.arange(len(grid)))


def test_only_the_wanted_tiles_are_handed_out() -> None:
    wanted = np.array([3, 30, 31, 99])
    schedule = Schedule(grid_of(10, 10), wanted, 3, "coarse-to-fine", False)
    assert sorted(np.concatenate(list(schedule)).tolist()) == wanted.tolist()


def test_raster_runs_row_by_row_in_strips() -> None:
    grid = grid_of(5, 80)
    strips = [range(32), range(32, 64), range(64, 80)]
    expected = [[row, c] for strip in strips for row in range(5) for c in strip]
    assert grid.array[handed_out(grid)].tolist() == expected


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_coarse_to_fine_gives_every_eighth_first_then_every_fourth(layout: Layout) -> None:
    grid = grid_of(20, 48, layout)
    row, column = grid.array.T
    if layout == "hexagonal":
        column = column // 2
    found = handed_out(grid, "coarse-to-fine")
    seen = 0
    for stride in (8, 4, 2, 1):
        on = np.flatnonzero((row % stride == 0) & (column % stride == 0))
        assert set(found[: len(on)]) == set(on)
        assert len(on) > seen
        seen = len(on)


def test_where_neighborhoods_are_needed_whole_blocks_come_together() -> None:
    grid = grid_of(8, 12)
    found = grid.array[handed_out(grid, "coarse-to-fine", whole=True)]
    for start in range(0, len(found), 16):
        blocks = found[start : start + 16] // 4
        assert len(np.unique(blocks, axis=0)) == 1


@pytest.mark.parametrize("order", ["raster", "coarse-to-fine"])
@pytest.mark.parametrize("whole", [False, True])
def test_tiles_in_view_come_first_then_the_nearest_to_it(order: Order, whole: bool) -> None:
    grid = grid_of(30, 30)
    box = (1000.0, 1500.0, 1300.0, 2000.0)
    found = grid.centers[handed_out(grid, order, whole, Focus(box))]
    in_view = (found >= box[:2]).all(1) & (found <= box[2:]).all(1)
    assert in_view[: in_view.sum()].all()
    assert in_view.sum() == 3 * 5
    below, beyond = np.array(box[:2]) - found, found - np.array(box[2:])
    distance = np.linalg.norm(np.maximum(np.maximum(below, beyond), 0), axis=1)
    assert (np.diff(np.ceil(distance / 500)) >= 0).all()  # in rings as wide as the view


def test_without_a_view_the_order_is_the_fixed_one() -> None:
    grid = grid_of(9, 9)
    np.testing.assert_array_equal(handed_out(grid, focus=Focus(None)), np.arange(81))


def test_moving_the_view_reorders_what_is_left() -> None:
    grid = grid_of(20, 20)
    focus = Focus((0.0, 0.0, 500.0, 500.0))
    batches = iter(Schedule(grid, np.arange(400), 5, "raster", False, focus))
    first = [next(batches) for _ in range(2)]
    assert (grid.centers[np.concatenate(first)] < 500).all()
    focus.move((1500.0, 1500.0, 2000.0, 2000.0))
    after = [next(batches) for _ in range(5)]
    assert (grid.centers[np.concatenate(after)] > 1500).all()
    focus.move(None)
    rest = list(batches)
    assert (np.diff(np.concatenate(rest)) > 0).all()  # back to plain rows
    everything = np.concatenate([*first, *after, *rest])
    np.testing.assert_array_equal(np.sort(everything), np.arange(400))


def test_a_view_that_stays_changes_nothing() -> None:
    focus = Focus((0.0, 0.0, 1.0, 1.0))
    _, version = focus.read()
    focus.move((0.0, 0.0, 1.0, 1.0))
    assert focus.read() == ((0.0, 0.0, 1.0, 1.0), version)


def test_blocks_are_spread_evenly_over_what_is_seen_at_any_time() -> None:
    grid = grid_of(32, 32)
    found = grid.array[handed_out(grid, "coarse-to-fine", whole=True)]
    blocks = found[::16] // 4
    assert len(np.unique(blocks, axis=0)) == 64
    for count in range(1, 65):
        for side in (4, 2):  # quarters of the slide, and quarters of these
            squares = blocks[:count] // side
            _, counts = np.unique(squares[:, 0] * 8 + squares[:, 1], return_counts=True)
            here = np.zeros((8 // side) ** 2, int)
            here[: len(counts)] = counts
            assert here.max() - here.min() <= 1


def test_out_of_view_and_of_many_tiles_blocks_come_in_one_sweep_so_that_few_wait() -> None:
    grid = grid_of(68, 68)
    found = grid.array[handed_out(grid, "coarse-to-fine", whole=True)]
    rows = (found // 4)[::16, 0]
    assert (np.diff(rows) >= 0).all(), "4624 tiles"
    view = Focus((0.0, 0.0, 3200.0, 3200.0))
    found = grid.array[handed_out(grid, "coarse-to-fine", whole=True, focus=view)]
    seen, rest = found[:1024] // 4, found[1024:2048] // 4  # what is a view's width away or less
    np.testing.assert_array_equal(seen[:48:16], [(0, 0), (4, 4), (0, 4)])
    assert seen.max() == 7
    assert (np.diff(rest[:, 0]) >= 0).all()
