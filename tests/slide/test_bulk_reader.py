"""Tiles read in bulk are the level's pixels, at one decoding per native segment."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.slide.bulk import BulkReader, TileBatch
from napari_nh2st.slide.level import DAMAGED_GREY
from napari_nh2st.slide.overview import slide_overview

SIZE = (50, 70)


def raster(level: ArrayLevel, step: tuple[int, int] = (37, 53)) -> NDArray[np.int64]:
    """Overlapping tiles from before the level's first pixel to beyond its last."""
    rows = np.arange(-40, level.shape[0] + 30, step[0])
    columns = np.arange(-60, level.shape[1] + 30, step[1])
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def batches(count: int, size: int) -> list[NDArray[np.int64]]:
    return np.split(np.arange(count), range(size, count, size))


def assert_as_read_one_by_one(
    level: ArrayLevel, top_left: NDArray[np.int64], batch: TileBatch
) -> None:
    whole = ArrayLevel(level.pixels)
    for position, tile in enumerate(batch.index):
        expected = whole.read(*top_left[tile].tolist(), *SIZE)
        np.testing.assert_array_equal(batch.pixels[position], expected)


@pytest.mark.parametrize("segment", [(64, 64), (17, 200), (300, 400), (200, 31)])
def test_tiles_are_the_levels_pixels_and_white_beyond(segment: tuple[int, int]) -> None:
    level = ArrayLevel(textured(230, 310), segment)
    top_left = raster(level)
    reader = BulkReader(level, top_left, SIZE)
    for index in batches(len(top_left), 7):
        batch = reader.read(index)
        assert batch.failures == {}
        assert_as_read_one_by_one(level, top_left, batch)


def test_every_segment_is_decoded_once_and_none_is_kept_in_the_end() -> None:
    level = ArrayLevel(textured(500, 700))
    top_left = raster(level)
    reader = BulkReader(level, top_left, SIZE)
    for index in batches(len(top_left), 16):
        reader.read(index)
    assert len(level.decoded) == np.prod(level.n_segments)
    assert set(level.decoded.values()) == {1}
    assert reader._kept_bytes == 0
    assert not reader._kept


def test_threads_that_want_the_same_segment_share_one_decoding() -> None:
    level = ArrayLevel(textured(500, 700), (128, 128))
    top_left = raster(level, (29, 31))
    reader = BulkReader(level, top_left, SIZE)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(reader.read, batches(len(top_left), 5)))
    for batch in found:
        assert_as_read_one_by_one(level, top_left, batch)
    assert len(level.decoded) == np.prod(level.n_segments)
    assert set(level.decoded.values()) == {1}
    assert reader._kept_bytes == 0


def test_segments_no_tile_touches_are_not_decoded() -> None:
    level = ArrayLevel(textured(500, 700))
    top_left = np.array([[70, 70], [300, 600], [-500, 0], [0, 900], [520, 720]])
    batch = BulkReader(level, top_left, (40, 40)).read(np.arange(5))
    assert set(level.decoded) == {(1, 1), (4, 9), (5, 9)}
    assert (batch.pixels[2:] == 255).all()


def test_damage_fails_the_tiles_that_touch_it_and_no_other() -> None:
    level = ArrayLevel(textured(400, 400), damaged=[(2, 3), (5, 0)])
    top_left = raster(level)
    reader = BulkReader(level, top_left, SIZE)
    failed: dict[int, str] = {}
    for index in batches(len(top_left), 9):
        batch = reader.read(index)
        failed |= {int(index[i]): reason for i, reason in batch.failures.items()}
        for position, tile in enumerate(index.tolist()):
            if tile in failed:
                assert (batch.pixels[position] == 255).all()
            else:
                expected = level.read(*top_left[tile].tolist(), *SIZE)
                np.testing.assert_array_equal(batch.pixels[position], expected)
    for tile, (y, x) in enumerate(top_left.tolist()):
        touches = y < 3 * 64 and y + 50 > 2 * 64 and x < 4 * 64 and x + 70 > 3 * 64
        touches |= y < 6 * 64 and y + 50 > 5 * 64 and x < 64 and x + 70 > 0
        assert (tile in failed) == touches
    assert set(failed.values()) == {"segment (2, 3) is damaged", "segment (5, 0) is damaged"}


def test_damaged_segments_are_tried_once_and_not_remembered() -> None:
    level = ArrayLevel(textured(400, 400), damaged=[(2, 3)])
    top_left = raster(level)
    reader = BulkReader(level, top_left, SIZE)
    reader.read(np.arange(len(top_left)))
    assert set(level.decoded.values()) == {1}
    assert not reader._kept
    assert reader._kept_bytes == 0


@pytest.mark.parametrize("threads", [1, 4])
def test_little_memory_costs_decodings_and_no_pixels(threads: int) -> None:
    level = ArrayLevel(textured(500, 700), damaged=[(3, 3)])
    top_left = np.random.default_rng(0).permutation(raster(level))
    bound = 5 * 64 * 64 * 3
    reader = BulkReader(level, top_left, SIZE, max_bytes=bound)

    def read(index: NDArray[np.int64]) -> tuple[TileBatch, int]:
        return reader.read(index), reader._kept_bytes

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(read, batches(len(top_left), 3)))
    good = ArrayLevel(level.pixels)
    for batch, _ in found:
        for position, tile in enumerate(batch.index):
            if position not in batch.failures:
                expected = good.read(*top_left[tile].tolist(), *SIZE)
                np.testing.assert_array_equal(batch.pixels[position], expected)
    assert max(kept for _, kept in found) <= bound + threads * 64 * 64 * 3
    assert sum(level.decoded.values()) > np.prod(level.n_segments)


def test_an_unforeseen_error_reaches_every_reader_that_waits() -> None:
    class Broken(ArrayLevel):
        def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
            raise ZeroDivisionError

    reader = BulkReader(Broken(textured(64, 64)), np.zeros((2, 2), np.int64), (8, 8))
    for tile in range(2):
        with pytest.raises(ZeroDivisionError):
            reader.read(np.array([tile]))


def block_mean(pixels: NDArray[np.uint8], factor_y: int, factor_x: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[0] // factor_y, pixels.shape[1] // factor_x
    whole = pixels[: height * factor_y, : width * factor_x].astype(float)
    blocks = whole.reshape(height, factor_y, width, factor_x, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


@pytest.mark.parametrize("factor", [1, 2, 7, 13])
def test_overview_is_the_mean_of_blocks(factor: int) -> None:
    level = ArrayLevel(textured(610, 990))
    found = slide_overview(array_slide(level), factor + 0.5)
    np.testing.assert_array_equal(found, block_mean(level.pixels, factor, factor))


def test_overview_reads_the_coarsest_level_that_is_fine_enough() -> None:
    pixels = textured(800, 800)
    fine, coarse = ArrayLevel(pixels), ArrayLevel(pixels[::4, ::4])
    found = slide_overview(array_slide(fine, coarse), 9.0)
    np.testing.assert_array_equal(found, block_mean(coarse.pixels, 2, 2))
    assert not fine.decoded


def test_overview_decodes_segments_about_once() -> None:
    pixels = textured(300, 300).repeat(10, 0).repeat(10, 1)  # several of the viewer's chunks
    level = ArrayLevel(pixels, (240, 240))
    slide = array_slide(level, ArrayLevel(pixels[::32, ::32]))
    found = slide_overview(slide, 31.0)
    np.testing.assert_array_equal(found, block_mean(pixels, 31, 31))
    assert sum(level.decoded.values()) < 1.5 * np.prod(level.n_segments)
    assert max(level.decoded.values()) <= 4


def test_overview_of_a_slide_thinner_than_a_block() -> None:
    level = ArrayLevel(textured(5, 900))
    found = slide_overview(array_slide(level), 10.0)
    np.testing.assert_array_equal(found, block_mean(level.pixels, 5, 10))


def test_overview_shows_damage_as_grey() -> None:
    level = ArrayLevel(textured(256, 256), damaged=[(1, 1)])
    found = slide_overview(array_slide(level), 8.0)
    assert (found[8:16, 8:16] == DAMAGED_GREY).all()
    expected = block_mean(level.pixels, 8, 8)
    expected[8:16, 8:16] = DAMAGED_GREY
    np.testing.assert_array_equal(found, expected)
