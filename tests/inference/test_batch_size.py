"""Batch size on a GPU, from numbers as a GPU gives them."""

import pytest
import torch

from napari_nh2st.inference.batch_size import batch_size_that_fits, with_fitting_batch
from napari_nh2st.inference.device import Placement

GB = 2**30
MANY = 1_000_000
PLACEMENT = Placement(torch.device("cuda"), torch.bfloat16, 256, 16)


class FakeGpu:
    """Weights of half a GB, and so many bytes for each tile."""

    def __init__(self, free: float, bytes_a_tile: float) -> None:
        self.free, self.bytes_a_tile = free, bytes_a_tile

    def peak_bytes(self, n_tiles: int) -> float:
        if n_tiles * self.bytes_a_tile > self.free:
            raise torch.OutOfMemoryError
        return 0.5 * GB + n_tiles * self.bytes_a_tile

    def free_bytes(self) -> float:
        return self.free


@pytest.mark.parametrize(
    ("free", "bytes_a_tile", "expected"),
    [
        (76 * GB, 10e6, 256),  # a ResNet-18 on a large GPU
        (3 * GB, 10e6, 128),  # on a small one
        (6 * GB, 120e6, 64),  # halved further where that does not fit either
        (2 * GB, 100e6, 64),  # not even what is probed fits
    ],
)
def test_as_many_tiles_as_fit_half_of_the_free_memory(
    free: float, bytes_a_tile: float, expected: int
) -> None:
    found = with_fitting_batch(PLACEMENT, FakeGpu(free, bytes_a_tile), MANY)
    assert found.batch_size == expected
    assert (found.dtype, found.reader_threads) == (torch.bfloat16, 16)


def test_the_weights_do_not_count_as_those_of_a_tile() -> None:
    bytes_a_tile = 2e6
    free = 2.1 * 256 * bytes_a_tile
    assert with_fitting_batch(PLACEMENT, FakeGpu(free, bytes_a_tile), MANY).batch_size == 256


def test_short_runs_have_several_batches() -> None:
    assert batch_size_that_fits(76 * GB, 1e6, 1000) == 128
    assert batch_size_that_fits(76 * GB, 1e6, 1024) == 256
    assert batch_size_that_fits(76 * GB, 1e6, 3) == 64


def test_a_little_less_memory_gives_the_same() -> None:
    assert batch_size_that_fits(2.9 * GB, 10e6, MANY) == batch_size_that_fits(3 * GB, 10e6, MANY)
    assert batch_size_that_fits(GB, 0.0, MANY) == 256  # nothing was measured
