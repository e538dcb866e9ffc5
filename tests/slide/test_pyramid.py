"""Levels: which pages are levels, lazy arrays, fingerprints, very large slides."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from flat_slides import count_decoded, flat, picture
from napari_nh2st.slide import Level, open_slide

MEGABYTE = 1 << 20


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


@pytest.mark.parametrize("size", [5, 3 * MEGABYTE, 3 * MEGABYTE + 1, 50 * MEGABYTE])
def test_fingerprint_hashes_ends_and_16_blocks_between(tmp_path: Path, size: int) -> None:
    path = flat(tmp_path / "slide.tif", picture(64, 64))
    with path.open("ab") as file:
        file.write(np.random.default_rng(0).bytes(max(0, size - path.stat().st_size)))
    data = path.read_bytes()
    parts = [data]
    if len(data) > 3 * MEGABYTE:
        last = len(data) - MEGABYTE - (1 << 16)
        starts = [MEGABYTE + i * (last - MEGABYTE) // 15 for i in range(16)]
        between = [data[start : start + (1 << 16)] for start in starts]
        parts = [data[:MEGABYTE], *between, data[-MEGABYTE:]]
    expected = hashlib.sha256(f":{len(data)}:".encode() + b"".join(parts)).hexdigest()
    with open_slide(path) as slide:
        assert slide.fingerprint == expected


def test_slides_that_differ_only_in_the_middle_have_different_fingerprints(tmp_path: Path) -> None:
    prints = []
    for color in (10, 200):
        pixels = np.full((2000, 2500, 3), 240, np.uint8)
        pixels[900:1100] = color
        path = tmp_path / f"{color}.tif"
        tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=100, metadata=None)
        with open_slide(path) as slide:
            prints.append(slide.fingerprint)
    assert prints[0] != prints[1]


def test_copy_has_the_same_fingerprint(tmp_path: Path) -> None:
    path = flat(tmp_path / "slide.tif", picture())
    copy = Path(shutil.copyfile(path, tmp_path / "copy.tif"))
    os.utime(copy, (1, 1))
    with open_slide(path) as one, open_slide(copy) as other:
        assert one.fingerprint == other.fingerprint


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
