"""OME-Zarr 0.4 and 0.5: axes, resolution, colors, and what is no image."""

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.slide import open_slide

RGB = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)


def written(
    folder: Path,
    pixels: NDArray[Any],
    axes: str,
    *,
    version: str = "0.4",
    scale: float = 0.25,
    unit: str | None = "micrometer",
    chunk: int = 64,
    **extra: Any,
) -> Path:
    """An OME-Zarr image with a second level of every second pixel."""
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    datasets = []
    for level, step in enumerate((1, 2)):
        part = tuple(slice(None, None, step if axis in "yx" else 1) for axis in axes)
        array = np.ascontiguousarray(pixels[part])
        chunks = tuple(chunk if axis in "yx" else 1 for axis in axes)
        stored = group.create_array(str(level), shape=array.shape, chunks=chunks, dtype=array.dtype)
        stored[...] = array
        scales = [scale * step if axis in "yx" else 1.0 for axis in axes]
        transformation = {"type": "scale", "scale": scales}
        datasets.append({"path": str(level), "coordinateTransformations": [transformation]})
    kinds = {"t": "time", "c": "channel"}
    described = []
    for axis in axes:
        entry = {"name": axis, "type": kinds.get(axis, "space")}
        if axis in "yx" and unit:
            entry["unit"] = unit
        described.append(entry)
    ome = {"multiscales": [{"axes": described, "datasets": datasets}], **extra}
    group.attrs.update({"ome": {"version": version, **ome}} if version == "0.5" else ome)
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tczyx", "cyx", "zcyx", "yxc", "cxy"])
def test_rgb_in_any_order_of_axes(tmp_path: Path, version: str, axes: str) -> None:
    own = [axis for axis in axes if axis in "yxc"]
    pixels = RGB.transpose(["yxc".index(axis) for axis in own])
    for position, axis in enumerate(axes):
        if axis in "tz":
            pixels = np.expand_dims(pixels, position)
    folder = written(tmp_path / "image.ome.zarr", pixels, axes, version=version)
    with open_slide(folder) as slide:
        assert slide.vendor == "ome-zarr"
        assert slide.brightfield
        assert slide.levels[0].segment_shape == (64, 64)
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert slide.downsamples == ((1, 1), (2, 2))
        np.testing.assert_array_equal(slide.read_region(0, 0, 200, 300), RGB)
        np.testing.assert_array_equal(slide.dask_levels()[1].compute(), RGB[::2, ::2])


def test_grey_without_channel_axis(tmp_path: Path) -> None:
    folder = written(tmp_path / "grey.zarr", RGB[..., 0], "yx")
    with open_slide(folder) as slide:
        expected = np.repeat(RGB[..., :1], 3, axis=-1)
        np.testing.assert_array_equal(slide.read_region(0, 0, 200, 300), expected)


def test_fluorescence_uses_the_windows_and_colors_it_brings(tmp_path: Path) -> None:
    pixels = np.zeros((2, 128, 128), np.uint16)
    pixels[0] = 500
    pixels[1, :64] = 2000
    channels = [
        {"color": "0000FF", "window": {"start": 0, "end": 1000}},
        {"color": "FF0000", "window": {"start": 1000, "end": 2000}},
    ]
    folder = written(tmp_path / "cells.zarr", pixels, "cyx", omero={"channels": channels})
    with open_slide(folder) as slide:
        assert not slide.brightfield
        seen = slide.read_region(0, 0, 128, 128)
    np.testing.assert_array_equal(seen[0, 0], (255, 0, 128))
    np.testing.assert_array_equal(seen[100, 0], (0, 0, 128))


def channels(key: str, *values: str) -> dict[str, Any]:
    return {"omero": {"channels": [{key: value} for value in values]}}


@pytest.mark.parametrize(
    ("described", "brightfield"),
    [
        ({}, True),
        ({"omero": {"channels": [{"active": True}] * 3}}, True),
        (channels("color", "FF0000", "00FF00", "0000FF"), True),
        (channels("color", "ff0000", "00ff00", "0000ff"), True),
        (channels("label", "R", "G", "B"), True),
        (channels("label", "Red", "Green", "Blue"), True),
        (channels("label", "DAPI", "FITC", "TRITC"), False),
        (channels("color", "0000FF", "00FF00", "FF0000"), False),
    ],
)
def test_8_bit_channels_are_brightfield_unless_they_are_stains(
    tmp_path: Path, described: dict[str, Any], brightfield: bool
) -> None:
    folder = written(tmp_path / "image.zarr", RGB.transpose(2, 0, 1), "cyx", **described)
    with open_slide(folder) as slide:
        assert slide.brightfield == brightfield
        if not brightfield:
            assert slide.brightfield_reason == "fluorescence channels"


def test_8_bit_stains_are_shown_in_their_colors(tmp_path: Path) -> None:
    window = {"start": 0, "end": 100}
    stains = [
        {"label": "DAPI", "color": "0000FF", "window": window},
        {"label": "FITC", "color": "00FF00", "window": window},
        {"label": "TRITC", "color": "FF0000", "window": window},
    ]
    pixels = np.zeros((3, 64, 64), np.uint8)
    pixels[0] = 100
    folder = written(tmp_path / "cells.zarr", pixels, "cyx", omero={"channels": stains})
    with open_slide(folder) as slide:
        assert (slide.read_region(0, 0, 64, 64) == (0, 0, 255)).all()


def test_one_8_bit_channel_of_a_stain_is_no_brightfield(tmp_path: Path) -> None:
    folder = written(tmp_path / "cells.zarr", RGB[..., 0], "yx", **channels("label", "DAPI"))
    with open_slide(folder) as slide:
        assert not slide.brightfield


@pytest.mark.parametrize(
    ("scale", "unit", "expected"),
    [(250.0, "nanometer", 0.25), (0.5, "micrometer", 0.5), (1.0, None, None)],
)
def test_resolution_needs_a_unit(
    tmp_path: Path, scale: float, unit: str | None, expected: float | None
) -> None:
    folder = written(tmp_path / "image.zarr", RGB, "yxc", scale=scale, unit=unit)
    with open_slide(folder) as slide:
        assert slide.mpp == (None if expected is None else pytest.approx((expected, expected)))


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"plate": {"wells": []}}, "plate"),
        ({"well": {"images": []}}, "well"),
        ({"labels": ["cells"]}, "labels"),
        ({"image-label": {}, "multiscales": [{}]}, "labels"),
        ({}, "without an OME-Zarr image"),
        ({"multiscales": [{"datasets": [{"path": "0"}]}]}, "incomplete"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_group_that_is_no_image(
    tmp_path: Path, attributes: dict[str, Any], word: str, version: str
) -> None:
    group = zarr.open_group(tmp_path / "g.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    group.attrs.update({"ome": attributes} if version == "0.5" and attributes else attributes)
    with pytest.raises(InputError, match=word):
        open_slide(tmp_path / "g.zarr")


def test_only_image_of_a_converted_file_is_found(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "converted.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    written(tmp_path / "converted.zarr" / "0", RGB, "yxc")
    with open_slide(tmp_path / "converted.zarr") as slide:
        assert slide.shape == (200, 300)


def test_damaged_chunk_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "image.zarr", RGB, "cyx"[1:] + "c", version="0.5")
    chunk = folder / "0" / "c" / "1" / "2" / "0"
    chunk.write_bytes(b"rubbish")
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match="level 0, row 1, column 2"):
            slide.levels[0].read_segment(1, 2)
        np.testing.assert_array_equal(slide.levels[0].read_segment(0, 0), RGB[:64, :64])


def test_images_with_equal_metadata_have_different_fingerprints(tmp_path: Path) -> None:
    first = written(tmp_path / "a" / "image.zarr", RGB, "yxc")
    second = written(tmp_path / "b" / "image.zarr", 255 - RGB, "yxc")
    again = written(tmp_path / "c" / "image.zarr", RGB, "yxc")
    prints = [open_slide(folder).fingerprint for folder in (first, second, again)]
    assert prints[0] != prints[1]
    assert prints[0] == prints[2]


def rgb_levels(folder: Path, axes: str) -> tuple[Path, NDArray[np.uint8]]:
    """RGB of 256 × 256 px in chunks of 64, without a pixel of the fill value."""
    pixels = np.random.default_rng(1).integers(1, 255, (256, 256, 3), np.uint8)
    own = pixels.transpose(2, 0, 1) if axes == "cyx" else pixels
    return written(folder, own, axes, version="0.5"), pixels


def test_chunk_missing_from_one_channel(tmp_path: Path) -> None:
    folder, pixels = rgb_levels(tmp_path / "slide.zarr", "cyx")
    (folder / "0/c/1/2/3").unlink()
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match="level 0, row 2, column 3: the chunk 3 is missing"):
            slide.levels[0].read_segment(2, 3)
        np.testing.assert_array_equal(slide.levels[0].read_segment(2, 2), pixels[128:192, 128:192])
        assert "1 of the 48 chunks of level 0 are not stored" in slide.notices[0]


@pytest.mark.parametrize("level", [0, 1], ids=["finest", "coarser"])
def test_chunk_that_another_level_shows_not_to_be_empty(tmp_path: Path, level: int) -> None:
    folder, _ = rgb_levels(tmp_path / "slide.zarr", "cyx")
    for channel in range(3):
        (folder / f"{level}/c/{channel}/1/0").unlink()
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match="its chunk is missing"):
            slide.levels[level].read_segment(1, 0)
        slide.levels[level].read_segment(0, 0)
        assert slide.notices


def test_empty_chunks_that_a_writer_left_out_are_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(1, 255, (3, 256, 256), np.uint8)
    pixels[:, 64:192, 64:192] = 0
    folder = written(tmp_path / "slide.zarr", pixels, "cyx")
    assert not (folder / "0/0.1.1").exists()
    with open_slide(folder) as slide:
        assert slide.notices == ()
        np.testing.assert_array_equal(slide.read_region(0, 0, 256, 256), pixels.transpose(1, 2, 0))


def test_chunks_that_nothing_shows_to_have_been_empty_are_said(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(1, 255, (3, 256, 256), np.uint8)
    pixels[:, 64:192, 64:192] = 0
    folder = written(tmp_path / "slide.zarr", pixels, "cyx")
    group = zarr.open_group(folder)
    multiscales = group.attrs["multiscales"]
    group.attrs["multiscales"] = [{**multiscales[0], "datasets": multiscales[0]["datasets"][:1]}]
    with open_slide(folder) as slide:
        (notice,) = slide.notices
    assert notice == (
        "12 of the 48 chunks of level 0 are not stored, and shown black: they were empty, or are "
        "lost."
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_zeros_inside_a_compressed_chunk(tmp_path: Path, version: str) -> None:
    """Blosc (0.4) and Zstandard (0.5) have no checksum, and often decode what is damaged."""
    pixels = np.random.default_rng(1).integers(0, 5, (3, 256, 256), np.uint8)
    folder = written(tmp_path / "slide.zarr", pixels, "cyx", version=version, chunk=128)
    chunk = folder / ("0/1.0.1" if version == "0.4" else "0/c/1/0/1")
    data = bytearray(chunk.read_bytes())
    data[4096:8192] = bytes(4096)
    chunk.write_bytes(data)
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match=r"level 0, row 0, column 1: .*run of zeros"):
            slide.levels[0].read_segment(0, 1)
        np.testing.assert_array_equal(
            slide.levels[0].read_segment(1, 1), pixels[:, 128:, 128:].transpose(1, 2, 0)
        )


@pytest.mark.parametrize("cname", ["lz4", "zstd"])
def test_blosc_chunks_that_are_cut_are_marked(tmp_path: Path, cname: str) -> None:
    group = zarr.open_group(tmp_path / "cut.zarr", mode="w", zarr_format=2)
    array = group.create_array(
        "0",
        shape=(3, 200, 300),
        chunks=(3, 64, 64),
        dtype="uint8",
        compressors=numcodecs.Blosc(cname=cname),
    )
    array[...] = RGB.transpose(2, 0, 1)
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in "cyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    chunk = tmp_path / "cut.zarr" / "0" / "0.1.1"
    whole = chunk.read_bytes()
    for length in (8, len(whole) // 2, len(whole) - 1):
        chunk.write_bytes(whole[:length])
        with open_slide(tmp_path / "cut.zarr") as slide:
            with pytest.raises(SegmentError, match=r"0\.1\.1"):
                slide.levels[0].read_segment(1, 1)
            assert slide.levels[0].read_segment(0, 0).shape == (64, 64, 3)
