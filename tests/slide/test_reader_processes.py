"""Processes read the same tiles as threads, and are gone when they are not needed."""

import errno
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from array_slides import textured
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.bulk import BulkReader, TileBatch
from napari_nh2st.slide.reader_processes import ReaderProcesses, places_of_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are none elsewhere")

SIZE = (50, 70)
BATCH = 7
PLACES = 6  # of two processes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A slide whose second page is the one that is read, with a tile that is cut to pieces."""
    path = tmp_path / "slide.tiff"
    pixels = textured(300, 420)
    with tifffile.TiffWriter(path) as tiff:
        for image in (np.repeat(np.repeat(pixels, 2, 0), 2, 1), pixels):
            tiff.write(image, tile=(64, 64), photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[9]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    return path


def corners() -> NDArray[np.int64]:
    rows, columns = np.arange(-30, 320, 41), np.arange(-60, 430, 53)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


@contextmanager
def started(slide: Slide) -> Iterator[ReaderProcesses]:
    """Processes that are ready, but for those that have ended."""
    with closing(ReaderProcesses(slide, 1, corners(), SIZE, BATCH, PLACES)) as processes:
        processes.wait()
        yield processes


def empty(index: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.full((len(index), *SIZE, 3), 7, np.uint8)


def test_tiles_and_failures_are_those_of_the_bulk_reader(path: Path) -> None:
    with open_slide(path) as slide, started(slide) as processes:
        assert len(processes._processes) == 2
        reader = BulkReader(slide.levels[1], corners(), SIZE)
        order = np.random.default_rng(0).permutation(len(corners()))
        batches = np.split(order, range(BATCH, len(order), BATCH))

        def read(index: NDArray[np.int64]) -> TileBatch | None:
            return processes.read(index, empty(index))

        with ThreadPoolExecutor(PLACES) as pool:
            found = list(pool.map(read, batches))
        failed = 0
        for index, batch in zip(batches, found, strict=True):
            expected = reader.read(index)
            assert batch is not None
            np.testing.assert_array_equal(batch.pixels, expected.pixels)
            assert batch.index is index
            assert batch.failures == expected.failures
            failed += len(batch.failures)
        assert 0 < failed < len(corners()) / 2


def test_a_process_that_is_killed_is_no_error_and_is_not_asked_again(path: Path) -> None:
    index = np.arange(5)
    with open_slide(path) as slide, started(slide) as processes:
        for process in processes._processes:
            process.kill()
            process.wait()
        for _ in range(PLACES):
            assert processes.read(index, empty(index)) is None
        assert not processes._free
        assert not processes._starting
        assert processes.read(index, empty(index)) is None


def test_closing_ends_them(path: Path) -> None:
    with open_slide(path) as slide:
        with started(slide) as processes:
            assert all(process.poll() is None for process in processes._processes)
        assert all(process.poll() is not None for process in processes._processes)
        with closing(ReaderProcesses(slide, 1, corners(), SIZE, BATCH, PLACES)) as starting:
            pass
        assert all(process.poll() is not None for process in starting._processes)


def test_where_they_cannot_be_started_no_file_stays_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, "too little memory")

    def numbers() -> set[str]:
        return {each.name for each in Path("/proc/self/fd").iterdir()}

    with open_slide(path) as slide:
        for where in ("mmap.mmap", "subprocess.Popen"):
            before = numbers()
            with monkeypatch.context() as patch:
                patch.setattr(f"napari_nh2st.slide.reader_processes.{where}", refuse)
                with pytest.raises(OSError, match="too little memory"):
                    ReaderProcesses(slide, 1, corners(), SIZE, BATCH, PLACES)
            assert numbers() <= before


def test_a_slide_that_was_exchanged_is_not_read_by_them(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tiff"
    pixels = textured(300, 420)[::-1]
    tifffile.imwrite(other, pixels, tile=(64, 64), photometric="rgb", compression="zlib")
    with open_slide(path) as slide:
        os.replace(other, path)  # noqa: PTH105
        with started(slide) as processes:
            index = np.arange(3)
            for _ in range(PLACES):
                assert processes.read(index, empty(index)) is None


def test_they_are_for_many_tiles_of_a_level_of_many_segments(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cores(count: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count)))

    cores(64)
    with open_slide(path) as slide:
        assert places_of_processes(slide.levels[0], 10**6) == 0
    big = path.with_name("big.tiff")
    tifffile.imwrite(big, np.zeros((2048, 2048, 3), np.uint8), tile=(64, 64), photometric="rgb")
    with open_slide(big) as slide:
        assert places_of_processes(slide.levels[0], 20_000) == 16
        assert places_of_processes(slide.levels[0], 19_999) == 0
        cores(9)
        assert places_of_processes(slide.levels[0], 20_000) == 8
        cores(7)
        assert places_of_processes(slide.levels[0], 20_000) == 0
