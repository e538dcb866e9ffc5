"""Levels: which pages are levels, lazy arrays, coarse levels of slides without a pyramid."""

import hashlib
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from napari_nh2st.slide import Level, Slide, coarse, open_slide
from napari_nh2st.slide.tiff_page import StoredPage

MEGABYTE = 1 << 20


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


def test_sub_directories_of_ome_tiff_are_levels(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    pixels = picture()
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "zstd"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(pixels, subifds=2, metadata={"axes": "YXS"}, **options)
        writer.write(pixels[::2, ::2], subfiletype=1, **options)
        writer.write(pixels[::4, ::4], subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.n_native_levels == len(slide.levels) == 3
        assert slide.downsamples == ((1, 1), (2, 2), (4, 4))
        for level, step in zip(slide.levels, (1, 2, 4), strict=True):
            expected = pixels[::step, ::step]
            np.testing.assert_array_equal(level.read(0, 0, *level.shape), expected)


def test_pages_in_plain_order_are_levels_if_their_shape_fits(tmp_path: Path) -> None:
    """A thumbnail of another shape and a strip-wise picture are none."""
    path = tmp_path / "slide.tif"
    pixels = picture()
    with tifffile.TiffWriter(path) as writer:
        for part in (pixels, pixels[::5, ::5], pixels[:300, :300], pixels[::25, ::25]):
            writer.write(part, photometric="rgb", tile=(64, 64), metadata=None)
        writer.write(pixels[::10, ::10], photometric="rgb", metadata=None)
    with open_slide(path) as slide:
        assert slide.downsamples[: slide.n_native_levels] == ((1, 1), (5, 5), (25, 25))


def test_real_pyramids(test_data: Path) -> None:
    with open_slide(test_data / "slides" / "boxes.tiff") as slide:
        assert [level.shape for level in slide.levels] == [
            (250, 300),
            (125, 150),
            (62, 75),
            (31, 37),
        ]
    with open_slide(test_data / "slides" / "yb10kx5k.zstd.tiff") as slide:
        assert slide.shape == (5000, 10000)
        assert slide.downsamples == tuple((2.0**i, 2.0**i) for i in range(5))
        expected = tifffile.imread(slide.path, key=4)
        np.testing.assert_array_equal(slide.read_region(0, 0, 312, 625, level=4), expected)


def test_best_level_is_never_coarser_than_asked(test_data: Path) -> None:
    with open_slide(test_data / "slides" / "yb10kx5k.zstd.tiff", mpp=0.25) as slide:
        asked = (0.5, 1, 1.9, 2, 3.99, 4.0001, 7, 100)
        assert [slide.best_level(value) for value in asked] == [0, 0, 0, 1, 1, 2, 2, 4]
        assert slide.level_mpp(3) == (2, 2)


def test_native_level_can_be_asked_for(tmp_path: Path) -> None:
    with open_slide(flat(tmp_path / "slide.tif", picture())) as slide:
        assert slide.best_level(2) == 1
        assert slide.best_level(2, native_only=True) == 0


def test_region_is_placed_in_pixels_of_level_0(tmp_path: Path) -> None:
    pixels = np.full((1200, 2400, 3), 240, np.uint8)
    pixels[400:800, 1600:2000] = (10, 20, 30)
    with open_slide(flat(tmp_path / "slide.tif", pixels)) as slide:
        assert slide.downsamples == ((1, 1), (2, 2), (4, 4))
        for level, factor in enumerate((1, 2, 4)):
            size = 400 // factor
            inside = slide.read_region(400, 1600, size, size, level=level)
            assert (inside == (10, 20, 30)).all()
            around = slide.read_region(400 - factor, 1600 - factor, size + 2, size + 2, level)
            assert (around[0] == 240).all()
            assert (around[:, -1] == 240).all()
            assert (around[1:-1, 1:-1] == (10, 20, 30)).all()


def test_dask_levels_equal_what_is_read(tmp_path: Path) -> None:
    pixels = picture()
    with open_slide(flat(tmp_path / "slide.tif", pixels)) as slide:
        lazy = slide.dask_levels()[0]
        assert (lazy.shape, lazy.dtype) == (pixels.shape, np.uint8)
        assert all(size % 256 == 0 and 1024 <= size < 2048 for size in lazy.chunksize[:2])
        np.testing.assert_array_equal(lazy.compute(), pixels)
        part = np.s_[1000:1100, 100:-1:3, 1]
        np.testing.assert_array_equal(lazy[part].compute(), pixels[part])
        np.testing.assert_array_equal(lazy[::-1][:5].compute(), pixels[::-1][:5])


def test_levels_read_from_many_threads(tmp_path: Path) -> None:
    pixels = picture()
    wrong: list[str] = []

    def read(level: Level, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for y, x in rng.integers(0, 1200, (20, 2)):
            if not (level.read(y, x, 200, 200) == pixels[y : y + 200, x : x + 200]).all():
                wrong.append(f"{y}, {x}")

    with open_slide(flat(tmp_path / "slide.tif", pixels)) as slide:
        threads = [threading.Thread(target=read, args=(slide.levels[0], i)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_reading_without_positioned_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no os.pread."""
    monkeypatch.delattr(os, "pread", raising=False)
    test_levels_read_from_many_threads(tmp_path)


def test_fingerprint_tells_slides_apart(tmp_path: Path) -> None:
    paths = [flat(tmp_path / f"{i}.tif", picture(seed=seed)) for i, seed in enumerate((1, 1, 2))]
    prints = [open_slide(path).fingerprint for path in paths]
    assert prints[0] == prints[1] != prints[2]
    data = paths[0].read_bytes()
    head, tail = data[: 1 << 20], data[-(1 << 20) :]
    expected = hashlib.sha256(f":{len(data)}:".encode() + head + tail).hexdigest()
    assert prints[0] == expected


# --- coarse levels ---------------------------------------------------------------------------


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


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    decoded: list[tuple[int, int]] = []
    read_piece: Callable[..., object] = StoredPage.read_piece

    def counted(self: StoredPage, row: int, column: int) -> object:
        decoded.append((row, column))
        return read_piece(self, row, column)

    monkeypatch.setattr(StoredPage, "read_piece", counted)
    return decoded


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
        description.write_text(description.read_text()[:40])
    with open_slide(path) as slide:
        assert not slide.coarse_ready
        check_coarse(slide, pixels)


def test_without_a_writable_cache_coarse_levels_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is wanted")
    monkeypatch.setenv("NH2ST_CACHE", str(blocked))
    pixels = picture()
    with open_slide(flat(tmp_path / "slide.tif", pixels)) as slide:
        check_coarse(slide, pixels)
        slide.build_coarse_levels()
        assert slide.coarse_ready
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
    assert peaks[1] < 1.3 * peaks[0]


# --- a slide of 100,000 × 100,000 px ----------------------------------------------------------


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of 100,000 × 100,000 px whose tiles are all the same few bytes."""
    path = tmp_path_factory.mktemp("huge") / "huge.tif"
    tile = imagecodecs.jpeg_encode(np.full((512, 512, 3), (200, 100, 180), np.uint8))
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        size = 100_000
        while size > 1000:
            n = -(-size // 512)
            writer.write(
                (tile for _ in range(n * n)),
                shape=(size, size, 3),
                dtype=np.uint8,
                photometric="rgb",
                tile=(512, 512),
                compression="jpeg",
                subfiletype=0 if size == 100_000 else 1,
                metadata=None,
            )
            size //= 2
    return path


def test_opening_a_huge_slide_decodes_nothing_and_stays_small(
    huge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoded(monkeypatch)
    tracemalloc.start()
    with open_slide(huge) as slide:
        levels = slide.dask_levels()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert slide.shape == (100_000, 100_000)
        assert len(levels) == slide.n_native_levels == 7
        assert not decoded
        assert peak < 50 * MEGABYTE
        # Nothing in the graph is listed chunk by chunk.
        for layer in (layer for level in levels for layer in level.dask.layers.values()):
            assert not layer.is_materialized() or len(layer) == 1
        seen = levels[0][70_000:70_100, 90_000:90_050].compute()
        assert decoded == [(70_000 // 512, 90_000 // 512)]
        assert np.abs(seen.astype(int) - (200, 100, 180)).max() <= 3


def test_slides_need_neither_torch_nor_napari_nor_qt() -> None:
    code = (
        "import sys, napari_nh2st.slide; "
        "print([m for m in ('torch', 'napari', 'qtpy', 'PyQt6') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
