"""Images of values: they cover the tissue and nothing else, as tiles or smooth."""

from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.prediction import raster as raster_module
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.prediction.tissue_cells import TISSUE_CELLS, parts_of_cells
from napari_nh2st.prediction.union import Union
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""
DOWNSAMPLE = (3.0, 2.0)
LAYOUTS = pytest.mark.parametrize("layout", ["square", "hexagonal"])


def disc_on(slide: Slide) -> TissueMask:
    """A disc that reaches over the right edge of the slide."""
    height, width = (int(side / scale) for side, scale in zip(slide.shape, DOWNSAMPLE, strict=True))
    y, x = np.ogrid[:height, :width]
    return TissueMask(
        np.hypot((y - 0.5 * height) / height, (x - 0.8 * width) / width) < 0.4, DOWNSAMPLE
    )


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(300, 420)), mpp=MPP)


@pytest.fixture(scope="module")
def mask(slide: Slide) -> TissueMask:
    return disc_on(slide)


def drawn(slide: Slide, mask: TissueMask | None, layout: Any, **more: Any) -> AnnData:
    return drawn_prediction(slide, layout, divisions=2, tissue=mask, **more)


def places(raster: HeatmapRaster) -> np.ndarray:
    """(height, width, 2) centers of the pixels, in full-resolution pixels of the slide."""
    index = np.stack(np.indices(raster.shape), -1)
    return np.asarray(np.array(raster.center) + index * raster.step)


@LAYOUTS
@pytest.mark.parametrize("smooth", [False, True])
def test_a_map_covers_the_tissue_and_nothing_else(
    slide: Slide, mask: TissueMask, layout: Any, smooth: bool
) -> None:
    prediction = drawn(slide, mask, layout)
    raster = HeatmapRaster.of(prediction)
    values = np.arange(1.0, prediction.n_obs + 1)
    image = raster.image(values, smooth)
    at = places(raster)
    row, column = (np.floor(at / mask.downsample).astype(int)).transpose(2, 0, 1)
    on_slide = ((at >= 0) & (at < slide.shape)).all(-1)
    assert not on_slide.all(), "cells reach over the edge"
    height, width = mask.tissue.shape
    tissue = on_slide & mask.tissue[row.clip(0, height - 1), column.clip(0, width - 1)]
    assert 0.2 < tissue.mean() < 0.8
    shown = np.isfinite(image)
    if layout == "square":
        cell = np.array(raster.step) * (raster.height, raster.width)
        inside = (at < prediction.obsm["spatial"][:, ::-1].max(0) + cell / 2).all(-1)
        np.testing.assert_array_equal(shown[inside], tissue[inside])
        assert not (shown & ~on_slide).any()
        assert (shown & ~inside).any(), "it goes on to the edge of the slide"
    else:  # a part is two pixels wide, and goes on where a row ends before the slide
        assert (shown & ~tissue).sum() < 0.03 * tissue.sum()
        assert shown.sum() > 0.98 * tissue.sum()
        assert not (shown & ~on_slide)[:, :-1].any()


@LAYOUTS
def test_a_pixel_shows_the_tile_in_whose_cell_it_lies(
    slide: Slide, mask: TissueMask, layout: Any
) -> None:
    prediction = drawn(slide, mask, layout)
    raster = HeatmapRaster.of(prediction)
    image = raster.image(np.arange(float(prediction.n_obs)))
    shown = np.isfinite(image)
    centers = prediction.obsm["spatial"][:, ::-1][image[shown].astype(int)]
    cell = np.array(raster.step) * (raster.height, raster.width)
    at = places(raster)[shown]
    off = np.abs(at - centers) / cell
    # Half a cell further where a row ends before the slide.
    off, beside = off[off[:, 1] < 0.5], at[off[:, 1] > 0.5]
    half = cell[1] / 2
    is_left = beside[:, 1] < (half if layout == "hexagonal" else 0)
    assert (is_left | (beside[:, 1] > slide.shape[1] - half)).all()
    assert 0 < len(beside) < 0.05 * len(at)
    assert off.max() < 0.5
    assert off.max() > 0.4
    whole = HeatmapRaster.of(drawn(slide, None, layout))
    assert whole.height == 1
    assert raster.height == 8
    np.testing.assert_allclose(np.array(whole.step) / 8, raster.step)


@LAYOUTS
@pytest.mark.parametrize("divisions", [1, 2, 3, 4])
@pytest.mark.parametrize("least", [0, 100])
def test_a_map_reaches_the_edge_of_the_slide(
    slide: Slide, layout: Any, divisions: int, least: int
) -> None:
    # Glass at the top, that the map is one of parts.
    tissue = TissueMask(np.arange(300)[:, None].repeat(420, 1) >= 150, (1.0, 1.0))
    prediction = drawn_prediction(slide, layout, 32.0, divisions=divisions, tissue=tissue)
    prediction = prediction[prediction.obsm["spatial"][:, 0] >= least].copy()
    raster = HeatmapRaster.of(prediction)
    at = places(raster)
    looked_at = at[..., 1] > (least + 32 if least else -np.inf)
    below = at[:, 0, 0] > 150 + 2 * prediction.uns["nh2st"]["step_px_fullres"][0]
    on_slide = ((at >= 0) & (at < slide.shape)).all(-1) & looked_at
    smooth = raster.image(np.ones(prediction.n_obs), smooth=True)
    for image in (raster.image(np.ones(prediction.n_obs)), smooth):
        shown = np.isfinite(image) & looked_at
        np.testing.assert_array_equal(shown[below], on_slide[below])
    np.testing.assert_allclose(smooth[np.isfinite(smooth)], 1.0, rtol=1e-6)
    numbers = raster.image(np.arange(float(prediction.n_obs)))
    for row, column in np.argwhere(np.isfinite(numbers))[::97]:
        assert raster.tile_at(row, column) == numbers[row, column]
    assert raster.beside is not None
    tile, down, right = raster.beside[-1]
    at_end = int(raster.rows[tile] + down), int(raster.columns[tile] + right)
    assert raster.tile_at(*at_end) == tile
    cell = np.array(raster.step) * (raster.height, raster.width)
    assert (at[at_end] > slide.shape - cell / 2).any()
    # No further than needed, to a pixel, and a brick where these are bricks.
    beyond = at[-1, -1] + np.array(raster.step) / 2 - slide.shape
    assert (beyond >= -np.array(raster.step) / 2 - 1e-6).all()


def test_a_map_of_whole_tiles_is_divided_where_it_would_end_before_the_slide() -> None:
    slide = array_slide(ArrayLevel(textured(270, 330)), mpp=(1.0, 1.0))
    tissue = TissueMask(np.ones((270, 330), bool), (1.0, 1.0))
    prediction = drawn_prediction(slide, "square", 60.0, tissue=tissue)
    raster = HeatmapRaster.of(prediction)
    # Centers at 30, 90, …, 210 and 30, …, 270: half a step is left at the bottom and at the right.
    assert (raster.height, raster.step, raster.shape) == (8, (7.5, 7.5), (36, 44))
    image = raster.image(np.arange(float(prediction.n_obs)))
    assert image[0, 0] == 0
    np.testing.assert_array_equal(image[32:], np.repeat(image[31:32], 4, axis=0))
    np.testing.assert_array_equal(image[:, 40:], np.repeat(image[:, 39:40], 4, axis=1))
    assert image[35, 43] == prediction.n_obs - 1
    assert raster.tile_at(35, 43) == prediction.n_obs - 1
    inner = HeatmapRaster.of(prediction[prediction.obs["array_col"] < 4].copy())
    assert inner.shape == (36, 32)


@LAYOUTS
@pytest.mark.parametrize("first_row", [0, 1])
def test_smooth_values_are_interpolated_between_the_centers(
    slide: Slide, mask: TissueMask, layout: Any, first_row: int
) -> None:
    prediction = drawn(slide, mask, layout)
    # From the second row on, as of a region, the bricks of a hexagonal array lie the other way.
    prediction = prediction[prediction.obs["array_row"] >= first_row].copy()
    raster = HeatmapRaster.of(prediction)
    spatial = prediction.obsm["spatial"][:, ::-1]
    values = spatial @ (2.0, -3.0)
    image, at = raster.image(values, smooth=True), places(raster)
    inside = np.isfinite(image) & ((at > spatial.min(0)) & (at < spatial.max(0))).all(-1)
    if layout == "hexagonal":  # at a jagged edge there is no tile on the other side
        inside &= (at > spatial.min(0) + 40).all(-1) & (at < spatial.max(0) - 40).all(-1)
    assert inside.sum() > 1000
    np.testing.assert_allclose(image[inside], (at @ (2.0, -3.0))[inside], rtol=1e-4, atol=0.05)
    # Nothing is made up at the edges: a value is between those of tiles less than two steps away.
    step = np.array(raster.step) * (raster.height, raster.width)
    for row, column in np.argwhere(np.isfinite(image))[::5]:
        near = values[(np.abs(spatial - at[row, column]) < 2 * step).all(1)]
        assert near.min() - 0.01 <= image[row, column] <= near.max() + 0.01


@LAYOUTS
def test_a_tile_without_a_value_stays_empty_and_spoils_no_neighbor(
    slide: Slide, mask: TissueMask, layout: Any
) -> None:
    prediction = drawn(slide, mask, layout)
    raster = HeatmapRaster.of(prediction)
    numbers = np.arange(float(prediction.n_obs))
    owner = raster.image(numbers)
    tiles, counts = np.unique(owner[np.isfinite(owner)], return_counts=True)
    empty = tiles[counts == raster.height * raster.width][5]
    values = np.full(prediction.n_obs, 7.0)
    values[int(empty)] = np.nan
    image = raster.image(values, smooth=True)
    np.testing.assert_array_equal(np.isnan(image), np.isnan(owner) | (owner == empty))
    np.testing.assert_allclose(image[np.isfinite(image)], 7.0, rtol=1e-6)


def test_tiles_are_divided_less_where_there_are_many(
    slide: Slide, mask: TissueMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = drawn(slide, mask, "square")
    n_pixels = np.prod(HeatmapRaster.of(prediction, whole_tiles=True).shape)
    for most, height in ((64, 8), (63, 4), (4, 2), (3, 1)):
        monkeypatch.setattr(raster_module, "_LARGEST_DIVIDED", most * n_pixels)
        raster = HeatmapRaster.of(prediction)
        assert raster.height == height
        image = raster.image(np.ones(prediction.n_obs))
        if height > 1:
            covered = np.isfinite(image).sum() * np.prod(raster.step)
            assert covered == pytest.approx(mask.tissue.sum() * np.prod(DOWNSAMPLE), rel=0.05)


@pytest.mark.parametrize("spoil", ["missing", "shape", "kind", "whole"])
def test_whole_tiles_are_drawn_where_it_is_not_known_or_all_is_tissue(
    slide: Slide, mask: TissueMask, spoil: str
) -> None:
    prediction = drawn(slide, mask, "square")
    match spoil:
        case "missing":
            del prediction.obsm[TISSUE_CELLS]
        case "shape":
            prediction.obsm[TISSUE_CELLS] = prediction.obsm[TISSUE_CELLS][:, :7]
        case "kind":
            prediction.obsm[TISSUE_CELLS] = prediction.obsm[TISSUE_CELLS].astype(float)
        case "whole":
            prediction.obsm[TISSUE_CELLS][:] = 255
            # All but the last column, behind which half a step of the slide is left.
            prediction = prediction[prediction.obs["array_col"] < 20].copy()
    raster = HeatmapRaster.of(prediction)
    assert (raster.height, raster.width, raster.parts) == (1, 1, None)
    assert np.isfinite(raster.image(np.ones(prediction.n_obs))).sum() == prediction.n_obs


def test_tissue_travels_with_the_file_and_with_a_selection_of_tiles(
    slide: Slide, mask: TissueMask, tmp_path: Any
) -> None:
    prediction = drawn(slide, mask, "hexagonal")
    write_anndata(prediction, tmp_path / "map.h5ad")
    read = read_anndata_file(tmp_path / "map.h5ad")
    np.testing.assert_array_equal(read.obsm[TISSUE_CELLS], prediction.obsm[TISSUE_CELLS])
    values = np.arange(float(prediction.n_obs))
    image = HeatmapRaster.of(prediction).image(values)
    np.testing.assert_array_equal(HeatmapRaster.of(read).image(values), image)
    some = HeatmapRaster.of(prediction[::3].copy()).image(values[::3])
    shown = some[np.isfinite(some)]
    np.testing.assert_array_equal(np.sort(shown), np.sort(image[image % 3 == 0]))


def test_in_a_union_the_tissue_of_the_part_counts(slide: Slide, mask: TissueMask) -> None:
    former, part = drawn(slide, mask, "square"), drawn(slide, mask, "square")[40:90].copy()
    part.obsm[TISSUE_CELLS][:] = 0b11110000
    union = Union.of(former, part).prediction
    np.testing.assert_array_equal(union.obsm[TISSUE_CELLS][40:90], part.obsm[TISSUE_CELLS])
    np.testing.assert_array_equal(union.obsm[TISSUE_CELLS][:40], former.obsm[TISSUE_CELLS][:40])


@pytest.mark.parametrize("divisions", [1, 2, 4, 8])
def test_a_part_is_tissue_where_half_of_it_is(slide: Slide, divisions: int) -> None:
    prediction = drawn_prediction(slide)
    # Of every two bits one is set here and there: many parts are tissue by exactly half.
    bits = np.random.default_rng(0).random((prediction.n_obs, 8, 8)) < 0.5
    prediction.obsm[TISSUE_CELLS] = np.packbits(bits, axis=2)[:, :, 0]
    found, side = parts_of_cells(prediction, divisions), 8 // divisions
    assert found is not None
    for tile, row, column in np.ndindex(prediction.n_obs, divisions, divisions):
        part = bits[tile, row * side : (row + 1) * side, column * side : (column + 1) * side]
        assert found[tile, row, column] == (part.sum() >= side**2 / 2)
