"""Grids, neighborhoods and resampling against loops and closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import downscale_local_mean

from array_slides import ArrayLevel, array_slide
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import (
    Layout,
    TileGrid,
    TissueMask,
    neighborhoods,
    resampling_weights,
    tile_grid,
)


def bare_slide(
    height: int = 400, width: int = 600, mpp: float | tuple[float, float] | None = 0.5
) -> Slide:
    return array_slide(ArrayLevel(np.full((height, width, 3), 255, np.uint8)), mpp=mpp)


def whole_grid(slide: Slide, pitch_um: float, layout: Layout = "square") -> TileGrid:
    return tile_grid(slide, tile_um=20.0, pitch_um=pitch_um, mask=None, layout=layout)


def nearest_um(grid: TileGrid, slide: Slide) -> NDArray[np.floating]:
    """Distances of each tile to all others in µm, sorted: (n, n - 1)."""
    um = grid.centers * slide.mpp
    distances = np.linalg.norm(um[:, None] - um, axis=-1)
    return np.sort(distances, axis=1)[:, 1:]


@pytest.mark.parametrize("mpp", [0.5, (0.5, 0.25)])
def test_square_grid_has_its_pitch_in_micrometres(mpp: float | tuple[float, float]) -> None:
    slide = bare_slide(mpp=mpp)
    grid = whole_grid(slide, 25.0)
    inner = np.all((grid.array > 0) & (grid.array < np.array(grid.array_shape) - 1), axis=1)
    assert inner.any()
    nearest = nearest_um(grid, slide)[inner]
    np.testing.assert_allclose(nearest[:, :4], 25)
    np.testing.assert_allclose(nearest[:, 4:8], 25 * np.sqrt(2))


@pytest.mark.parametrize("mpp", [0.5, (0.5, 0.25)])
def test_hexagonal_grid_has_six_nearest_at_its_pitch(mpp: float | tuple[float, float]) -> None:
    slide = bare_slide(mpp=mpp)
    grid = whole_grid(slide, 25.0, "hexagonal")
    assert ((grid.array.sum(1) % 2) == 0).all()  # as in Visium's arrays
    rows, columns = grid.array_shape
    inner = (grid.array[:, 0] > 0) & (grid.array[:, 0] < rows - 1)
    inner &= (grid.array[:, 1] > 1) & (grid.array[:, 1] < columns - 2)
    assert inner.any()
    nearest = nearest_um(grid, slide)[inner]
    np.testing.assert_allclose(nearest[:, :6], 25)
    assert (nearest[:, 6] > 43).all()


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_centers_follow_from_array_positions(layout: Layout) -> None:
    grid = whole_grid(bare_slide(mpp=(0.5, 0.25)), 25.0, layout)
    expected = np.array(grid.origin) + grid.array * np.array(grid.step_px)
    np.testing.assert_allclose(grid.centers, expected)
    assert grid.tile_px == (40, 80)
    assert len({tuple(place) for place in grid.array}) == len(grid)


def test_grid_covers_the_slide_to_half_a_pitch_from_its_edges() -> None:
    slide = bare_slide(421, 600)
    grid = whole_grid(slide, 20.0)  # tiles of 40 px side by side
    assert grid.array_shape == (11, 15)
    assert len(grid) == 11 * 15
    covered = np.zeros(slide.shape, int)
    for y, x in (grid.centers - 20).astype(int):
        covered[y : y + 40, x : x + 40] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("height", "rows"), [(420, 10), (421, 11), (459, 11), (461, 12)])
def test_centers_lie_on_the_slide(height: int, rows: int) -> None:
    slide = bare_slide(height, 600)
    grid = whole_grid(slide, 20.0)  # a row every 40 px, the eleventh at 420
    assert grid.array_shape == (rows, 15)
    assert (grid.centers >= 0).all()
    assert (grid.centers < slide.shape).all()


def test_tiles_without_enough_tissue_are_left_out() -> None:
    slide = bare_slide(80, 120)
    tissue = np.zeros((80, 120), bool)
    tissue[:, :10] = True  # a quarter of the first column of tiles
    tissue[40:, 60:110] = True  # half and three quarters of two tiles below
    mask = TissueMask(tissue, (1.0, 1.0))

    def kept(least: float) -> list[list[int]]:
        grid = tile_grid(slide, tile_um=20, pitch_um=20, mask=mask, min_tissue=least)
        return grid.array.tolist()

    assert kept(0.2) == [[0, 0], [1, 0], [1, 1], [1, 2]]
    assert kept(0.5) == [[1, 1], [1, 2]]
    assert kept(0.7) == [[1, 2]]


def test_only_tiles_centered_in_a_region_are_kept() -> None:
    slide = bare_slide()
    triangle = np.array([[0.0, 0.0], [400.0, 0.0], [400.0, 400.0]])
    square = np.array([[5.0, 505.0], [5.0, 595.0], [95.0, 595.0], [95.0, 505.0]])
    grid = tile_grid(slide, tile_um=20, pitch_um=13, mask=None, region=(triangle, square))
    expected = [
        center
        for center in whole_grid(slide, 13.0).centers.tolist()
        if (center[0] > center[1] and center[0] < 400)
        or (5 < center[0] < 95 and 505 < center[1] < 595)
    ]
    strictly = [c for c in grid.centers.tolist() if c[0] != c[1]]  # on the edge is either
    assert strictly == expected


def test_slide_of_unknown_resolution_is_refused() -> None:
    with pytest.raises(InputError, match="µm/px"):
        whole_grid(bare_slide(mpp=None), 20.0)


def test_slide_without_tissue_is_refused() -> None:
    slide = bare_slide()
    nothing = TissueMask(np.zeros((40, 60), bool), (10, 10))
    with pytest.raises(InputError, match="no tissue was found on the slide"):
        tile_grid(slide, tile_um=20, pitch_um=20, mask=nothing)
    far = np.array([[900.0, 900.0], [900.0, 950.0], [950.0, 950.0]])
    with pytest.raises(InputError, match="in the region"):
        tile_grid(slide, tile_um=20, pitch_um=20, mask=None, region=(far,))


def test_an_absurd_number_of_tiles_is_refused() -> None:
    with pytest.raises(InputError, match=r"24,000,000 places for tiles.*Is the µm/px right\?"):
        whole_grid(bare_slide(mpp=1000.0), 100.0)


def naive_neighborhoods(centers: NDArray[np.floating], size: int) -> NDArray[np.int64]:
    found = []
    for own, center in enumerate(centers):
        distances = np.round(np.linalg.norm(centers - center, axis=1), 6)
        distances[own] = -1
        found.append(sorted(range(len(centers)), key=lambda i: (distances[i], i))[:size])
    return np.array(found)


def square_array() -> NDArray[np.floating]:
    return np.argwhere(np.ones((9, 11), bool)) * 112.0 + 56


def holey_array() -> NDArray[np.floating]:
    kept = np.random.default_rng(0).random((14, 16)) < 0.5
    kept[3:9, 5:12] = False
    kept[6, 8] = True  # one tile alone in a hole
    return np.argwhere(kept) * 100.0


def hexagonal_array() -> NDArray[np.floating]:
    return whole_grid(bare_slide(mpp=1.0), 55.0, "hexagonal").centers


def scattered() -> NDArray[np.floating]:
    return np.random.default_rng(1).random((150, 2)) * 1e5


@pytest.mark.parametrize("layout", [square_array, holey_array, hexagonal_array, scattered])
@pytest.mark.parametrize("size", [9, 5, 25])
def test_neighborhoods_are_the_nearest_by_distance_then_by_index(
    layout: Callable[[], NDArray[np.floating]], size: int
) -> None:
    centers = layout()
    index, mask = neighborhoods(centers, size)
    np.testing.assert_array_equal(index, naive_neighborhoods(centers, size))
    assert mask.all()
    np.testing.assert_array_equal(index[:, 0], np.arange(len(centers)))


def test_inner_tiles_of_a_square_grid_take_the_eight_around_them() -> None:
    index, _ = neighborhoods(square_array())
    middle = 4 * 11 + 5
    around = {middle + down * 11 + right for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert set(index[middle]) == around


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_fewer_tiles_than_a_neighborhood_are_masked(count: int) -> None:
    centers = np.random.default_rng(2).random((count, 2)) * 100
    index, mask = neighborhoods(centers)
    assert index.shape == mask.shape == (count, 9)
    np.testing.assert_array_equal(mask.sum(1), count)
    assert mask[:, :count].all()
    for own in range(count):
        assert set(index[own][mask[own]]) == set(range(count))
        assert (index[own][~mask[own]] == own).all()


def test_tiles_that_coincide_each_come_first_in_their_own_neighborhood() -> None:
    index, mask = neighborhoods(np.zeros((9, 2)))
    np.testing.assert_array_equal(index[:, 0], np.arange(9))
    assert mask.all()


def test_neighborhoods_of_a_large_slide() -> None:
    side = 300
    centers = np.argwhere(np.ones((side, side), bool)) * 112.0
    index, mask = neighborhoods(centers)
    assert mask.all()
    inner = ((centers > 112) & (centers < 112 * (side - 2))).all(1)
    apart = np.abs(centers[index[inner]] - centers[inner][:, None])
    assert (apart <= 112).all()
    assert all(len(set(row)) == 9 for row in index[::1000].tolist())


@pytest.mark.parametrize(("extent", "size"), [(64.0, 32), (100.3, 32), (33.0, 32), (320.75, 64)])
def test_reduction_averages_the_exact_area(extent: float, size: int) -> None:
    weights = resampling_weights(extent, size)
    assert weights.shape == (size, int(np.ceil(extent)))
    # Each new pixel as the mean of many points within it.
    points = 20_000
    for row in (0, 1, size // 2, size - 1):
        places = (row + (np.arange(points) + 0.5) / points) * extent / size
        counts = np.bincount(places.astype(int), minlength=weights.shape[1])
        np.testing.assert_allclose(weights[row], counts / points, atol=2 / points)


def test_reduction_by_whole_factors_is_the_block_mean() -> None:
    image = np.random.default_rng(3).random((96, 128))
    vertical, horizontal = resampling_weights(96, 32), resampling_weights(128, 32)
    expected = downscale_local_mean(image, (3, 4))
    np.testing.assert_allclose(vertical @ image @ horizontal.T, expected, rtol=1e-5)


@pytest.mark.parametrize(("extent", "size"), [(10.0, 32), (31.9, 32), (0.6, 4), (25.5, 64)])
def test_enlargement_is_linear_between_pixel_centers(extent: float, size: int) -> None:
    weights = resampling_weights(extent, size)
    count = weights.shape[1]
    values = np.random.default_rng(4).random(count)
    places = (np.arange(size) + 0.5) * extent / size
    expected = np.interp(places, np.arange(count) + 0.5, values)
    np.testing.assert_allclose(weights @ values, expected, rtol=1e-5)


@pytest.mark.parametrize("extent", [7.0, 31.5, 32.0, 32.2, 71.111, 500.0])
def test_every_new_pixel_weighs_one(extent: float) -> None:
    np.testing.assert_allclose(resampling_weights(extent, 32).sum(1), 1, rtol=1e-6)


def test_same_size_changes_nothing() -> None:
    np.testing.assert_array_equal(resampling_weights(32.0, 32), np.eye(32))


@pytest.mark.parametrize("corner", [0.0, 0.5, 0.5 + 1e-9])
def test_a_region_drawn_along_the_edge_of_the_slide_has_the_tiles_centered_on_it(
    corner: float,
) -> None:
    """An image's edge is that of its first pixels, or runs through their centers."""
    slide = array_slide(ArrayLevel(np.full((400, 400, 3), 255, np.uint8)), mpp=0.5)
    square = np.array([(corner, corner), (corner, 200), (200, 200), (200, corner)])
    grid = tile_grid(slide, tile_um=20, pitch_um=20, divisions=2, mask=None, region=(square,))
    assert sorted(map(tuple, grid.centers.tolist())) == [
        (y, x) for y in range(0, 201, 20) for x in range(0, 201, 20)
    ]


def test_the_picture_of_a_grid_has_its_tiles_where_they_are() -> None:
    grid = whole_grid(bare_slide(120, 120, 1.0), 60)
    picture = grid.subset(np.array([0]))._drawing()
    filled = np.zeros(picture.shape[:2], bool)
    filled[: len(filled) // 2, : len(filled) // 2] = True
    np.testing.assert_array_equal((picture != 235).any(-1), filled)
