"""Fine grids: unions of coarse ones that lie interleaved, against closed forms and loops."""

import numpy as np
import pytest
from numpy.typing import NDArray

from array_slides import ArrayLevel, array_slide
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import Layout, TileGrid, neighborhoods_in_phases, tile_grid
from napari_nh2st.tiles.grid import phases_of, refinements_of

PITCH_UM = 24.0

layouts = pytest.mark.parametrize("layout", ["square", "hexagonal"])
some_divisions = pytest.mark.parametrize("divisions", [1, 2, 3, 4, 6])


def bare_slide() -> Slide:
    pixels = np.full((401, 613, 3), 255, np.uint8)
    return array_slide(ArrayLevel(pixels), mpp=(0.5, 0.3))


def grid_of(layout: Layout, divisions: int) -> TileGrid:
    return tile_grid(
        bare_slide(),
        tile_um=20.0,
        pitch_um=PITCH_UM,
        mask=None,
        layout=layout,
        divisions=divisions,
    )


def to_nearest_um(grid: TileGrid, tiles: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each of some tiles to the nearest other one of them."""
    um = grid.centers[tiles] * (0.5, 0.3)
    distance = np.linalg.norm(um[:, None] - um, axis=-1)
    np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(1))


@pytest.mark.parametrize(("divisions", "first"), [(2, 0.0), (3, 0.5), (4, 0.0), (5, 0.5)])
def test_square_centers_are_multiples_of_the_step_from_half_a_pitch_on(
    divisions: int, first: float
) -> None:
    grid = grid_of("square", divisions)
    step = np.array([PITCH_UM / 0.5, PITCH_UM / 0.3]) / divisions
    rows, columns = (
        int(np.ceil(side / s - first)) for side, s in zip((401, 613), step, strict=True)
    )
    assert grid.array_shape == (rows, columns)
    expected = [
        ((r + first) * step[0], (c + first) * step[1]) for r, c in np.ndindex(rows, columns)
    ]
    np.testing.assert_allclose(grid.centers, expected, atol=1e-9)
    assert grid.step_um == PITCH_UM / divisions


@layouts
@some_divisions
def test_centers_follow_from_array_positions(layout: Layout, divisions: int) -> None:
    grid = grid_of(layout, divisions)
    expected = np.array(grid.origin) + grid.array * np.array(grid.step_px)
    np.testing.assert_allclose(grid.centers, expected, atol=1e-9)
    assert (grid.centers >= 0).all()
    assert (grid.centers < (401, 613)).all()
    assert len({tuple(place) for place in grid.array.tolist()}) == len(grid)


@layouts
@some_divisions
def test_the_first_phase_is_the_coarse_grid_to_the_bit(layout: Layout, divisions: int) -> None:
    coarse, fine = grid_of(layout, 1), grid_of(layout, divisions)
    assert fine.centers[fine.phases == 0].tobytes() == coarse.centers.tobytes()


@layouts
@some_divisions
def test_every_phase_is_a_grid_of_the_pitch(layout: Layout, divisions: int) -> None:
    grid = grid_of(layout, divisions)
    assert set(grid.phases.tolist()) == set(range(divisions**2))
    for phase in range(divisions**2):
        tiles = np.flatnonzero(grid.phases == phase)
        np.testing.assert_allclose(to_nearest_um(grid, tiles), PITCH_UM)


@layouts
@pytest.mark.parametrize(
    ("divisions", "steps"),
    [(1, [1]), (2, [1, 2]), (3, [1, 3]), (4, [1, 2, 4]), (6, [1, 2, 6]), (8, [1, 2, 4, 8])],
)
def test_refinements_make_regular_grids_one_after_the_other(
    layout: Layout, divisions: int, steps: list[int]
) -> None:
    grid = grid_of(layout, divisions)
    refinement = refinements_of(grid.phases, divisions)
    assert set(refinement.tolist()) == set(range(len(steps)))
    for number, parts in enumerate(steps):
        so_far = np.flatnonzero(refinement <= number)
        np.testing.assert_allclose(to_nearest_um(grid, so_far), PITCH_UM / parts)
        np.testing.assert_allclose(len(so_far) / len(grid), (parts / divisions) ** 2, rtol=0.3)


def test_phases_of_a_square_array_count_from_its_coarse_positions() -> None:
    array = np.argwhere(np.ones((8, 8)))
    expected = [4 * ((row - 2) % 4) + (column - 2) % 4 for row, column in array]
    np.testing.assert_array_equal(phases_of(array, "square", 4), expected)


@layouts
def test_neighbors_are_those_of_the_phase_alone(layout: Layout) -> None:
    grid = grid_of(layout, 3)
    kept = np.flatnonzero(np.random.default_rng(0).random(len(grid)) < 0.6)
    um, phases = grid.centers[kept] * (0.5, 0.3), grid.phases[kept]
    index, mask = neighborhoods_in_phases(um, phases, 9)
    assert mask.all()
    for tile in range(0, len(kept), 7):
        own = np.flatnonzero(phases == phases[tile])
        distance = np.round(np.linalg.norm(um[own] - um[tile], axis=1), 5)
        order = sorted(range(len(own)), key=lambda i: (own[i] != tile, distance[i], own[i]))
        assert index[tile].tolist() == own[order[:9]].tolist()


def test_a_phase_of_few_tiles_has_places_that_are_not_filled() -> None:
    centers = np.array([[0.0, 0], [0, 1], [0, 2], [0, 3]])
    index, mask = neighborhoods_in_phases(centers, np.array([0, 1, 0, 1]), 3)
    assert index.tolist() == [[0, 2, 0], [1, 3, 1], [2, 0, 2], [3, 1, 3]]
    assert mask.tolist() == [[True, True, False]] * 4
