"""Predictions whose tiles are read by other processes."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from array_slides import ArrayLevel, array_slide, textured, write_tiff
from napari_nh2st.inference import PredictSettings, predict, tile_values
from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.source import TileSource
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.bulk import TileBatch
from napari_nh2st.slide.reader_processes import ReaderProcesses
from small_models import small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(device="cpu", precision="float32", tissue_only=False, batch_size=8)


@pytest.mark.skipif(sys.platform != "linux", reason="there are none elsewhere")
def test_values_are_the_same_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bool] = []

    class Ready(ReaderProcesses):
        def read(self, index: NDArray[np.int64], out: NDArray[np.uint8]) -> TileBatch | None:
            batch = super().read(index, out)
            read.append(batch is not None)
            return batch

    def processes(slide: Slide, source: TileSource, placement: Placement, n: int) -> Ready:
        corners, size = source.top_left, source.size
        made = Ready(slide, source.level, corners, size, placement.batch_size, 3)
        made.wait()
        return made

    path = write_tiff(tmp_path / "slide.tiff", textured(500, 700))
    with open_slide(path, mpp=1.0) as slide:
        expected = predict(slide, small_model("neighborhood"), SETTINGS)
        monkeypatch.setattr(tile_values, "reader_processes", processes)
        found = predict(slide, small_model("neighborhood"), SETTINGS)
    assert len(read) > 3
    assert all(read)
    np.testing.assert_array_equal(found.X, expected.X)


def test_they_are_for_a_gpu_and_take_no_more_memory_than_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(tile_values, "ReaderProcesses", lambda *given: started.append(given))
    monkeypatch.setattr(tile_values, "places_of_processes", lambda level, n: 16 if n > 10 else 0)
    slide = array_slide(ArrayLevel(textured(64, 64)))
    corners = np.zeros((30, 2), np.int64)

    def asked(device: str, side: int, n_tiles: int = 30) -> int | None:
        """Batches that are read at a time."""
        started.clear()
        placement = Placement(torch.device(device), torch.float32, 256, 8)
        source = TileSource(0, corners, (side, side), (side, side))
        tile_values.reader_processes(slide, source, placement, n_tiles)
        assert not started or started[0][:5] == (slide, 0, corners, (side, side), 256)
        return started[0][5] if started else None

    assert asked("cuda", 224) == 16
    assert asked("cuda", 448) == 6, "a GB holds no more batches"
    assert asked("cuda", 896) is None, "threads do as much"
    assert asked("cuda", 224, n_tiles=5) is None
    assert asked("cpu", 224) is None

    def refuse(*given: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(tile_values, "ReaderProcesses", refuse)
    assert asked("cuda", 224) is None
