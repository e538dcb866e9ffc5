"""Slides of one level that tests write, and what their coarse levels must be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_nh2st.slide.tiff_page import StoredPage


def picture(height: int = 1500, width: int = 2300, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (height, width, 3), np.uint8)


def averaged(pixels: NDArray[np.uint8], factor: int = 2) -> NDArray[np.uint8]:
    """Area average by 2 × 2, edges repeated, rounded half up; again for 4, 8, ..."""
    if factor > 2:
        pixels = averaged(pixels, factor // 2)
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    blocks = padded.reshape(-(-height // 2), 2, -(-width // 2), 2, 3).astype(float)
    return np.floor(blocks.mean((1, 3)) + 0.5).astype(np.uint8)


def flat(path: Path, pixels: NDArray[np.uint8]) -> Path:
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(256, 256), compression="zstd", metadata=None
    )
    return path


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    decoded: list[tuple[int, int]] = []
    read_piece: Callable[..., object] = StoredPage.read_piece

    def counted(self: StoredPage, row: int, column: int) -> object:
        decoded.append((row, column))
        return read_piece(self, row, column)

    monkeypatch.setattr(StoredPage, "read_piece", counted)
    return decoded
