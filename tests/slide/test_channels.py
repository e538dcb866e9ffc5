"""Whether channels are colors or dyes, by what is written about them and by what they hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from array_slides import tissue
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.colors import Channels, channels_meaning, is_opacity

RGB = tissue(300, 400)
OPAQUE = np.full((300, 400, 1), 255, np.uint8)
RGBA = np.concatenate([RGB, OPAQUE], axis=-1)
HOLED = RGBA.copy()
HOLED[100:150, 200:260, 3] = 0
OVER_WHITE = RGB.copy()
OVER_WHITE[100:150, 200:260] = 255
PRIMARIES = ["FF0000", "00FF00", "0000FF"]


@pytest.mark.parametrize(
    ("labels", "colors", "expected"),
    [
        ([], [], Channels.RGB),
        ([0, 1, 2], [], Channels.RGB),
        (["0", "1", "2"], [], Channels.RGB),
        (["r", "g", "b"], [], Channels.RGB),
        (["Red", "Green", "Blue"], ["0000FF", "00FF00", "FF0000"], Channels.RGB),
        (["Channel 0", "Channel 1", "Channel 2"], [], Channels.RGB),
        (["Channel:0:0", "Channel:0:1", "Channel:0:2"], PRIMARIES, Channels.RGB),
        (["", None, ""], PRIMARIES, Channels.RGB),
        (["", "", ""], ["FFFFFF"] * 3, Channels.RGB),
        (["DAPI", "FITC", "TRITC"], [], Channels.DYES),
        (["DAPI", "1", "2"], PRIMARIES, Channels.DYES),
        (["DAPI"], [], Channels.DYES),
        (["Cy3", "Cy5", "Cy7"], [], Channels.DYES),
        (["CD3", "CD8", "CD20"], [], Channels.DYES),
        (["Hematoxylin", "Eosin", "Residual"], [], Channels.DYES),
        (["0", "1", "2"], ["0000FF", "00FF00", "FF0000"], Channels.DYES),
        (["Blue", "Green", "Red"], [], Channels.DYES),
    ],
)
def test_three_channels(labels: list[Any], colors: list[str], expected: Channels) -> None:
    assert channels_meaning(3, labels, colors) is expected


@pytest.mark.parametrize(
    ("n", "labels", "expected"),
    [
        (4, ["r", "g", "b", "a"], Channels.RGBA),
        (4, ["Red", "Green", "Blue", "Alpha"], Channels.RGBA),
        (4, [0, 1, 2, 3], Channels.UNKNOWN),
        (4, ["DAPI", "a", "b", "c"], Channels.DYES),
        (1, [], Channels.UNKNOWN),
        (1, ["DAPI"], Channels.DYES),
        (2, [], Channels.DYES),
        (5, [], Channels.DYES),
    ],
)
def test_other_numbers_of_channels(n: int, labels: list[Any], expected: Channels) -> None:
    assert channels_meaning(n, labels) is expected


def test_an_opacity_is_255_or_0() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (500, 4), np.uint8)
    assert not is_opacity(pixels)
    pixels[:, 3] = 255
    assert is_opacity(pixels)
    pixels[:400, 3] = 0
    assert is_opacity(pixels)
    pixels[:, 3] = 0  # nothing would be seen
    assert not is_opacity(pixels)


def seen(path: Path) -> tuple[NDArray[np.uint8], bool]:
    with open_slide(path) as slide:
        return slide.levels[0].read(0, 0, *slide.shape), slide.brightfield


# OME-Zarr


def write_zarr(folder: Path, pixels: NDArray[Any], channels: list[dict[str, Any]] | None) -> Path:
    """As spatialdata writes an image."""
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    array = np.moveaxis(pixels, -1, 0)
    group.create_array("s0", data=array, chunks=(len(array), 128, 128))
    axes = [{"name": n, "type": "channel" if n == "c" else "space"} for n in "cyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets = [{"path": "s0", "coordinateTransformations": scale}]
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    if channels is not None:
        ome["omero"] = {"channels": channels}
    group.attrs["ome"] = ome
    return folder


@pytest.mark.parametrize("labels", [[0, 1, 2], ["0", "1", "2"], ["r", "g", "b"], ["", "", ""]])
def test_histology_of_spatialdata_is_brightfield(tmp_path: Path, labels: list[Any]) -> None:
    path = write_zarr(tmp_path / "image", RGB, [{"label": label} for label in labels])
    pixels, brightfield = seen(path)
    assert brightfield
    np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize("labels", ["rgba", None, [0, 1, 2, 3]])
def test_four_channels_of_colors_and_opacity_lie_over_white(tmp_path: Path, labels: Any) -> None:
    """Also where only the values tell that the fourth is the opacity."""
    channels = None if labels is None else [{"label": label} for label in labels]
    pixels, brightfield = seen(write_zarr(tmp_path / "image", HOLED, channels))
    assert brightfield
    np.testing.assert_array_equal(pixels, OVER_WHITE)


def test_four_dyes_stay_dyes(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "image", tissue(300, 400, samples=4), None)
    assert not seen(path)[1]
    labels = [{"label": label} for label in ("DAPI", "CD3", "CD8", "CD20")]
    assert not seen(write_zarr(tmp_path / "named", RGBA, labels))[1]


def test_numbered_channels_of_16_bits_are_no_brightfield(tmp_path: Path) -> None:
    deep = RGB.astype(np.uint16) * 257
    path = write_zarr(tmp_path / "image", deep, [{"label": i} for i in range(3)])
    pixels, brightfield = seen(path)
    assert not brightfield
    np.testing.assert_array_equal(pixels, RGB)


# TIFF

ONE_CHANNEL = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels DimensionOrder="XYCZT" ID="Pixels:0" Type="uint8" SizeX="400" SizeY="300" SizeC="4" '
    'SizeZ="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="4"/>'
    '<TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
)
STORAGE = {
    "tiles": {"tile": (128, 128)},
    "compressed strips": {"rowsperstrip": 16, "compression": "zlib"},
    "one run of bytes": {},
}


@pytest.mark.parametrize("storage", list(STORAGE))
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("xml", [ONE_CHANNEL, None])
def test_rgba_marked_as_grey_lies_over_white(
    tmp_path: Path, storage: str, planar: bool, xml: str | None
) -> None:
    """As bfconvert writes it; 300 × 400 px leave much padding in tiles of 128."""
    path = tmp_path / ("slide.ome.tif" if xml else "slide.tif")
    pixels = np.moveaxis(HOLED, -1, 0) if planar else HOLED
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack",
        planarconfig="separate" if planar else "contig",
        description=xml.encode() if xml else None,
        metadata=None,
        **STORAGE[storage],
    )
    found, brightfield = seen(path)
    assert brightfield
    np.testing.assert_array_equal(found, OVER_WHITE)


def test_four_named_planes_are_colors_and_opacity(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    channels = {"Name": ["Red", "Green", "Blue", "Alpha"]}
    tifffile.imwrite(
        path,
        np.moveaxis(HOLED, -1, 0),
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": channels},
    )
    found, brightfield = seen(path)
    assert brightfield
    np.testing.assert_array_equal(found, OVER_WHITE)


@pytest.mark.parametrize(
    ("names", "brightfield"),
    [(["Red", "Green", "Blue"], True), (None, True), (["DAPI", "FITC", "TRITC"], False)],
)
def test_three_planes_by_their_names(
    tmp_path: Path, names: list[str] | None, brightfield: bool
) -> None:
    path = tmp_path / "slide.ome.tif"
    metadata = {"axes": "CYX"} | ({"Channel": {"Name": names}} if names else {})
    tifffile.imwrite(path, np.moveaxis(RGB, -1, 0), photometric="minisblack", metadata=metadata)
    found, is_brightfield = seen(path)
    assert is_brightfield == brightfield
    assert np.array_equal(found, RGB) == brightfield


def test_padding_of_tiles_decides_no_contrast(tmp_path: Path) -> None:
    """Three quarters of a lone tile are padding of 65535: values are scaled by their own."""
    values = np.random.default_rng(0).integers(100, 1100, (128, 128), np.uint16)
    tile = np.full((256, 256), 65535, np.uint16)
    tile[:128, :128] = values
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, tile, tile=(256, 256), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite(128)
    found, _ = seen(path)
    low, high = np.percentile(values[::4, ::4], (0.5, 99.8))
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(found[..., 0], expected, atol=1)
