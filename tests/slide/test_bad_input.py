"""Files that cannot be opened say why; a damaged segment does not spoil the rest of a slide."""

import builtins
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.slide import open_slide


def picture(height: int = 512, width: int = 768) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 32, width // 32, 3), np.uint8)
    return coarse.repeat(32, axis=0).repeat(32, axis=1)


def tiled_jpeg(path: Path) -> Path:
    tifffile.imwrite(
        path, picture(), photometric="rgb", tile=(256, 256), compression="jpeg", metadata=None
    )
    return path


def message(path: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_slide(path, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400 + len(str(path))
    return text


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in message(tmp_path / "nothing.svs")
    assert "nothing.svs" in message(str(tmp_path / "nothing.svs"))


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").touch()
    assert "empty" in message(tmp_path / "empty.svs")


def test_folder_that_is_no_zarr(tmp_path: Path) -> None:
    assert "folder" in message(tmp_path)


def test_text_behind_the_name_of_a_slide(test_data: Path) -> None:
    assert "known format" in message(test_data / "slides" / "broken.svs")


@pytest.mark.parametrize("name", ["note.txt", "slide.jpg", "slide.tif", "slide.mrxs"])
def test_text_is_no_slide(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not an image\n" * 100, encoding="utf-8")
    assert name in message(tmp_path / name)


@pytest.mark.parametrize("header", ["49492a00 00000000", "49492b00 08000000 00000000 00000000"])
def test_tiff_whose_writer_did_not_finish(tmp_path: Path, header: str) -> None:
    """No directory is linked from the header, as before a writer closes the file."""
    path = tmp_path / "slide.tif"
    path.write_bytes(bytes.fromhex(header) + bytes(1000))
    assert "a TIFF without an image" in message(path)


def test_missing_openslide_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_openslide(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "openslide":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_openslide)
    monkeypatch.delitem(sys.modules, "openslide", raising=False)
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8 not really")
    (tmp_path / "slide.dcm").write_bytes(bytes(128) + b"DICM")
    assert "napari-nh2st[openslide]" in message(tmp_path / "slide.dcm")


@pytest.mark.parametrize("mpp", [(0.5,), "half", "0.5", True, [[0.5, 0.5]], [1, [2, 3]], []])
def test_given_resolution_must_be_numbers(tmp_path: Path, mpp: Any) -> None:
    assert f"(y, x), not {mpp!r}" in message(tiled_jpeg(tmp_path / "slide.tif"), mpp=mpp)


@pytest.mark.parametrize(
    ("mpp", "said"),
    [
        (0, "0"),
        (-1.0, "-1.0"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (0.019, "0.019"),
        (20.1, "20.1"),
        ((0.5, 0), "[0.5, 0.0]"),
        (np.array([500.0, 0.5]), "[500.0, 0.5]"),
    ],
)
def test_given_resolution_must_be_that_of_a_microscope(tmp_path: Path, mpp: Any, said: str) -> None:
    text = message(tiled_jpeg(tmp_path / "slide.tif"), mpp=mpp)
    assert text == f"µm/px must be from 0.02 to 20, not {said}."


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.97])
def test_cut_off_tiff_says_both_sizes(tmp_path: Path, part: float, bigtiff: bool) -> None:
    """Tifffile writes directories first, so what is lost is pixels."""
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path,
        picture(),
        photometric="rgb",
        tile=(256, 256),
        compression="zlib",
        metadata=None,
        bigtiff=bigtiff,
    )
    size = int(path.stat().st_size * part)
    with path.open("r+b") as file:
        file.truncate(size)
    text = message(path)
    assert "cut off" in text
    assert f"{size:,} bytes" in text


def test_tiff_cut_off_before_its_last_directory(tmp_path: Path) -> None:
    """The first level is whole; what is lost must not look like a slide of one level."""
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as writer:
        for step in (1, 2):
            writer.write(
                picture()[::step, ::step], photometric="rgb", tile=(256, 256), metadata=None
            )
    with tifffile.TiffFile(path) as tiff:
        second = tiff.pages[1].offset
    with path.open("r+b") as file:
        file.truncate(second)
    assert "cut off" in message(path)


def test_ome_tiff_cut_off_before_its_coarser_levels(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    options = {"photometric": "rgb", "tile": (256, 256)}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(picture(), subifds=1, metadata={"axes": "YXS"}, **options)
        writer.write(picture()[::2, ::2], subfiletype=1, **options)
    with tifffile.TiffFile(path) as tiff:
        second = tiff.series[0].levels[1].keyframe.offset
    with path.open("r+b") as file:
        file.truncate(second + 10)
    assert "cut off" in message(path)


def test_real_slide_cut_in_half(test_data: Path, tmp_path: Path) -> None:
    data = (test_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "half.svs").write_bytes(data[: len(data) // 2])
    assert "cut off" in message(tmp_path / "half.svs")


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("part", [0.001, 0.5, 0.999])
def test_cut_off_image(tmp_path: Path, ending: str, part: float) -> None:
    path = tmp_path / f"image.{ending}"
    Image.fromarray(picture()).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: max(10, int(len(data) * part))])
    assert "cut off" in message(path)


def test_tiff_in_a_compression_nobody_reads(tmp_path: Path) -> None:
    path = tiled_jpeg(tmp_path / "slide.tif")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["Compression"].valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 2] = (60001).to_bytes(2, "little")
    path.write_bytes(data)
    assert "60001" in message(path)


def test_jpeg_for_print_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "print.jpg")
    assert "save it as RGB" in message(tmp_path / "print.jpg")


def damage(path: Path, tile: int, keep: int) -> None:
    """Overwrite a tile's bytes behind the first `keep` with zeros."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        start, count = page.dataoffsets[tile], page.databytecounts[tile]
    with path.open("r+b") as file:
        file.seek(start + keep)
        file.write(bytes(count - keep))


@pytest.mark.parametrize("keep", [0, 700], ids=["all of it", "its end"])
def test_damaged_tile_is_named_and_the_others_are_read(tmp_path: Path, keep: int) -> None:
    path = tiled_jpeg(tmp_path / "slide.tif")
    expected = tifffile.imread(path)
    damage(path, tile=4, keep=keep)
    with open_slide(path) as slide:
        level = slide.levels[0]
        with pytest.raises(SegmentError, match=r"level 0, row 1, column 1: ."):
            level.read_segment(1, 1)
        with pytest.raises(SegmentError):
            slide.read_region(0, 0, 512, 512)
        np.testing.assert_array_equal(level.read_segment(0, 0), expected[:256, :256])
        np.testing.assert_array_equal(slide.read_region(0, 0, 256, 768), expected[:256])


def test_viewer_sees_grey_where_a_tile_is_damaged(tmp_path: Path) -> None:
    path = tiled_jpeg(tmp_path / "slide.tif")
    expected = tifffile.imread(path)
    damage(path, tile=4, keep=0)
    expected[256:, 256:512] = 128
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.dask_levels()[0].compute(), expected)


def test_png_damaged_inside_fails_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(picture()).save(path)
    data = bytearray(path.read_bytes())
    data[60 : len(data) - 60] = bytes(len(data) - 120)
    path.write_bytes(data)
    with open_slide(path) as slide, pytest.raises(SegmentError):
        slide.levels[0].read_segment(0, 0)


def test_damaged_png_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def decode(data: bytes) -> NDArray[np.uint8]:
        calls.append(len(data))
        raise RuntimeError("bad adler32")

    path = tmp_path / "image.png"
    Image.new("RGB", (2100, 1100)).save(path)
    monkeypatch.setattr(imagecodecs, "png_decode", decode)
    with open_slide(path) as slide:
        level = slide.levels[0]
        assert level.n_segments == (2, 3)
        for row, column in np.ndindex(level.n_segments):
            with pytest.raises(SegmentError, match="bad adler32"):
                level.read_segment(row, column)
    assert len(calls) == 1


def test_png_whose_reading_failed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(picture()).save(path)
    read_bytes = Path.read_bytes

    def interrupted(self: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        raise OSError("network is down")

    with open_slide(path) as slide:
        monkeypatch.setattr(Path, "read_bytes", interrupted)
        with pytest.raises(SegmentError, match="network is down"):
            slide.levels[0].read_segment(0, 0)
        np.testing.assert_array_equal(slide.levels[0].read_segment(0, 0), picture())


def long_file(path: Path, data: bytes) -> Path:
    """`data`, then 64 MB of nothing, which take no space."""
    path.write_bytes(data)
    with path.open("r+b") as file:
        file.truncate(64 << 20)
    return path


@pytest.mark.parametrize("kind", ["no JPEG", "damaged", "cut off", "whole"])
def test_long_file_is_not_held_in_memory_to_open_it(tmp_path: Path, kind: str) -> None:
    Image.fromarray(picture()).save(tmp_path / "image.jpg", quality=80)
    jpeg = (tmp_path / "image.jpg").read_bytes()
    data = {"no JPEG": b"text", "damaged": jpeg[:20], "cut off": jpeg[:-2], "whole": jpeg}[kind]
    path = long_file(tmp_path / "long.jpg", data)
    tracemalloc.start()
    try:
        if kind == "whole":
            with open_slide(path) as slide:
                assert slide.shape == (512, 768)
        else:
            assert ("known format" if kind == "no JPEG" else "cut off") in message(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_closed_slide_cannot_be_read(tmp_path: Path) -> None:
    path = tiled_jpeg(tmp_path / "slide.tif")
    with open_slide(path) as slide:
        pass
    with pytest.raises(SegmentError, match="closed"):
        slide.levels[0].read_segment(0, 0)
