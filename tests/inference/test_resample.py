"""Resampled tiles, compared with averages and overlaps computed pixel by pixel."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_nh2st.inference import resample
from napari_nh2st.inference.resample import Resampler

CPU = torch.device("cpu")


def drawn(n: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [5, 8, 33])
def test_whole_factors_average_squares(size: int) -> None:
    tiles = drawn(3, 4 * size, 3 * size)
    got = Resampler((4 * size, 3 * size), size, CPU)(torch.from_numpy(tiles)).numpy()
    squares = tiles.reshape(3, size, 4, size, 3, 3).astype(np.float64)
    np.testing.assert_allclose(got, squares.mean((2, 4)), atol=1e-4)


def overlap(low: float, high: float, pixel: int) -> float:
    return max(0.0, min(high, pixel + 1) - max(low, pixel))


@pytest.mark.parametrize("block", [1, 4, 100])
def test_parts_of_pixels_count_by_their_share(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "_CPU_BLOCK", block)
    extent, size = (23.4, 17.0), 10
    tiles = drawn(2, 24, 17)
    got = Resampler(extent, size, CPU)(torch.from_numpy(tiles)).numpy()
    dy, dx = (along / size for along in extent)
    for row in range(size):
        for column in range(size):
            total = np.zeros((2, 3))
            for y in range(24):
                for x in range(17):
                    share = overlap(row * dy, (row + 1) * dy, y)
                    share *= overlap(column * dx, (column + 1) * dx, x)
                    total += share * tiles[:, y, x]
            np.testing.assert_allclose(got[:, row, column], total / (dy * dx), atol=1e-4)


def test_tiles_are_enlarged_between_pixel_centers() -> None:
    ramp = np.arange(8, dtype=np.uint8)[:, None, None] * np.full((1, 8, 3), 10, np.uint8)
    got = Resampler((8, 8), 16, CPU)(torch.from_numpy(ramp[None])).numpy()[0]
    expected = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7) * 10
    np.testing.assert_allclose(got, np.broadcast_to(expected[:, None, None], got.shape), atol=1e-4)


def test_tiles_of_the_same_scale_stay_as_they_are() -> None:
    tiles = torch.from_numpy(drawn(1, 6, 6))
    assert Resampler((6, 6), 6, CPU)(tiles) is tiles
