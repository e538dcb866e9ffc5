"""Coarse levels of slides without a pyramid: what they show, and their cache."""

import os
import threading
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from flat_slides import averaged, count_decoded, flat, picture
from napari_nh2st.slide import Slide, coarse, open_slide


def check_coarse(slide: Slide, pixels: NDArray[np.uint8]) -> None:
    assert slide.n_native_levels == 1
    for index, level in enumerate(slide.levels):
        expected = pixels if index == 0 else averaged(pixels, 2**index)
        np.testing.assert_array_equal(level.read(0, 0, *level.shape), expected)
    assert max(slide.levels[-1].shape) <= 1024 < max(slide.levels[-2].shape)


@pytest.mark.parametrize("options", [{"tile": (256, 256)}, {"rowsperstrip": 13}, {}])
@pytest.mark.parametrize("built", [True, False], ids=["built", "on demand"])
def test_coarse_levels_are_area_averages(
    tmp_path: Path, options: dict[str, object], built: bool
) -> None:
    path = tmp_path / "slide.tif"
    pixels = picture(1501, 2303)
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
    with open_slide(path) as slide:
        assert not slide.coarse_ready
        if built:
            slide.build_coarse_levels()
            assert slide.coarse_ready
        check_coarse(slide, pixels)


def test_building_decodes_each_tile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoded(monkeypatch)
    with open_slide(flat(tmp_path / "slide.tif", picture())) as slide:
        progress: list[tuple[int, int]] = []
        slide.build_coarse_levels(lambda done, total: progress.append((done, total)))
        assert sorted(decoded) == [(row, column) for row in range(6) for column in range(9)]
        assert progress == [(i, len(progress)) for i in range(1, len(progress) + 1)]


def test_strips_are_decoded_once_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "strips.tif"
    pixels = picture(1024, 5000)
    tifffile.imwrite(
        path, pixels, photometric="rgb", rowsperstrip=64, compression="zlib", metadata=None
    )
    decoded = count_decoded(monkeypatch)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.levels[1].read(0, 0, 512, 2500), averaged(pixels))
    assert sorted(decoded) == [(row, 0) for row in range(16)]


def test_coarse_levels_are_there_when_the_slide_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with open_slide(path) as slide:
        slide.build_coarse_levels()
    decoded = count_decoded(monkeypatch)
    with open_slide(path) as slide:
        assert slide.coarse_ready
        np.testing.assert_array_equal(slide.levels[1].read(0, 0, 750, 1150), averaged(pixels))
    assert not decoded


def test_another_slide_does_not_get_the_cached_levels(tmp_path: Path) -> None:
    with open_slide(flat(tmp_path / "one.tif", picture(seed=1))) as slide:
        slide.build_coarse_levels()
    with open_slide(flat(tmp_path / "two.tif", picture(seed=2))) as slide:
        assert not slide.coarse_ready
        check_coarse(slide, picture(seed=2))


@pytest.mark.parametrize("name", ["slide.tif", "other.tif"], ids=["rewritten", "another"])
def test_cached_levels_belong_to_one_file_even_where_fingerprints_agree(
    tmp_path: Path, name: str
) -> None:
    """One changed byte between the blocks that are hashed, and the time of change given back."""
    path = tmp_path / "slide.tif"
    pixels = picture()
    options = {"photometric": "rgb", "rowsperstrip": 1500, "metadata": None}
    tifffile.imwrite(path, pixels, **options)
    with open_slide(path) as slide:
        slide.build_coarse_levels()
        fingerprint = slide.fingerprint
    written = path.stat().st_mtime_ns
    pixels[600, 1000] += 100
    tifffile.imwrite(tmp_path / name, pixels, **options)
    os.utime(tmp_path / name, ns=(written, written))
    with open_slide(tmp_path / name) as slide:
        assert slide.fingerprint == fingerprint
        assert not slide.coarse_ready
        check_coarse(slide, pixels)


def test_stopped_build_is_not_ready_and_not_wrong(tmp_path: Path) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    stop = threading.Event()
    with open_slide(path) as slide:
        slide.build_coarse_levels(lambda done, total: stop.set(), stop)
        assert not slide.coarse_ready
    with open_slide(path) as slide:
        assert not slide.coarse_ready
        check_coarse(slide, pixels)


@pytest.mark.parametrize("rubbish", [b"", b"\0" * 5000, None], ids=["empty", "zeros", "half"])
def test_half_written_chunks_are_made_again(
    tmp_path: Path, own_cache: Path, rubbish: bytes | None
) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with open_slide(path) as slide:
        slide.build_coarse_levels()
    chunks = [file for file in (own_cache / "levels").rglob("c/*/*/*") if file.is_file()]
    assert chunks
    for chunk in chunks:
        data = chunk.read_bytes()
        chunk.write_bytes(data[: len(data) // 2] if rubbish is None else rubbish)
    with open_slide(path) as slide:
        check_coarse(slide, pixels)


def test_half_written_description_of_the_cache_is_made_again(
    tmp_path: Path, own_cache: Path
) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with open_slide(path) as slide:
        slide.build_coarse_levels()
    for description in (own_cache / "levels").rglob("zarr.json"):
        description.write_text(description.read_text(encoding="utf-8")[:40], encoding="utf-8")
    with open_slide(path) as slide:
        assert not slide.coarse_ready
        check_coarse(slide, pixels)


@pytest.mark.parametrize("cache", ["a file", "not permitted"])
def test_without_a_writable_cache_coarse_levels_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    def refused(subfolder: str) -> Path:
        raise PermissionError(13, "Permission denied", subfolder)

    if cache == "a file":
        (tmp_path / "file").write_text("a file where a folder is wanted", encoding="utf-8")
        monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "file"))
    else:
        monkeypatch.setattr(coarse, "cache_folder", refused)
    pixels = picture()
    with open_slide(flat(tmp_path / "slide.tif", pixels)) as slide:
        check_coarse(slide, pixels)
        slide.build_coarse_levels()
        assert slide.coarse_ready
        check_coarse(slide, pixels)


def test_cached_chunks_that_may_not_be_read_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with open_slide(path) as slide:
        slide.build_coarse_levels()
    is_file = Path.is_file

    def refused(self: Path) -> bool:
        if "c" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return is_file(self)

    monkeypatch.setattr(Path, "is_file", refused)
    with open_slide(path) as slide:
        check_coarse(slide, pixels)


def test_cache_that_can_no_longer_be_written_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: zarr.Array, key: object, value: object) -> None:
        raise OSError("no space left on device")

    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with open_slide(path) as slide:
        slide.levels[1].read_segment(0, 0)
    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with open_slide(path) as slide:
        check_coarse(slide, pixels)
        decoded = count_decoded(monkeypatch)
        slide.levels[1].read_segment(0, 0)
        assert not decoded


def test_damaged_tile_is_grey_in_coarse_levels(tmp_path: Path) -> None:
    path, pixels = flat(tmp_path / "slide.tif", picture()), picture()
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(100))
    with open_slide(path) as slide:
        slide.build_coarse_levels()
        seen = slide.levels[1].read(0, 0, 750, 1150)
    expected = averaged(pixels)
    expected[:128, :128] = 128
    np.testing.assert_array_equal(seen, expected)


def test_small_slide_needs_no_coarse_levels(test_data: Path) -> None:
    with open_slide(test_data / "slides" / "boxes.tiff") as slide:
        assert slide.coarse_ready
        assert len(slide.levels) == slide.n_native_levels
        slide.build_coarse_levels()


def test_memory_of_a_build_does_not_grow_with_the_height(tmp_path: Path) -> None:
    tile = imagecodecs.jpeg_encode(np.full((512, 512, 3), 200, np.uint8))
    peaks = []
    for rows in (8, 32):
        path = tmp_path / f"{rows}.tif"
        tifffile.imwrite(
            path,
            iter([tile] * (rows * 4)),
            shape=(rows * 512, 2048, 3),
            dtype=np.uint8,
            photometric="rgb",
            tile=(512, 512),
            compression="jpeg",
            metadata=None,
        )
        with open_slide(path) as slide:
            tracemalloc.start()
            coarse.build(slide._coarse[:2], None, threading.Event())
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    # How far the reading threads run ahead differs from run to run; it would be four times.
    assert peaks[1] < 2 * peaks[0]
