"""What open_slide reads of each format is what an independent reader reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from packaging.version import Version
from PIL import Image

from array_slides import tissue
from napari_nh2st.errors import InputError
from napari_nh2st.slide import open_slide


def whole(path: Path) -> NDArray[np.uint8]:
    with open_slide(path) as slide:
        return slide.levels[0].read(0, 0, *slide.shape)


def by_segments(path: Path) -> NDArray[np.uint8]:
    with open_slide(path) as slide:
        level = slide.levels[0]
        out = np.zeros((*level.shape, 3), np.uint8)
        for row in range(level.n_segments[0]):
            for column in range(level.n_segments[1]):
                top, left, height, width = level.segment_bounds(row, column)
                segment = level.read_segment(row, column)
                assert segment.shape == (height, width, 3)
                out[top : top + height, left : left + width] = segment
        return out


@dataclass(frozen=True)
class Layout:
    """How tifffile is asked to store an RGB picture."""

    name: str
    options: dict[str, Any]
    segment: tuple[int, int] | None = None
    bigtiff: bool = False
    planar: bool = False


LAYOUTS = (
    Layout("tiles, JPEG YCbCr", {"tile": (128, 256), "compression": "jpeg"}, (128, 256)),
    Layout("tiles, JPEG 2000", {"tile": (256, 256), "compression": "jpeg2000"}, (256, 256)),
    Layout("tiles, LZW", {"tile": (64, 64), "compression": "lzw"}, (64, 64)),
    Layout(
        "tiles, deflate, predictor",
        {"tile": (256, 256), "compression": "zlib", "predictor": True},
        (256, 256),
    ),
    Layout("tiles, zstd", {"tile": (256, 256), "compression": "zstd"}, (256, 256)),
    Layout("tiles, uncompressed", {"tile": (256, 256)}, (256, 256)),
    Layout("BigTIFF", {"tile": (256, 256), "compression": "zstd"}, (256, 256), bigtiff=True),
    Layout("strips, deflate", {"rowsperstrip": 10, "compression": "zlib"}, (260, 900)),
    Layout("strips, JPEG", {"rowsperstrip": 16, "compression": "jpeg"}, (256, 900)),
    Layout("one strip, deflate", {"rowsperstrip": 700, "compression": "zlib"}, (700, 900)),
    Layout("one strip, uncompressed", {"rowsperstrip": 700}, (256, 900)),
    Layout("strips, uncompressed", {"rowsperstrip": 7}, (256, 900)),
    Layout(
        "planes apart, tiles",
        {"tile": (256, 256), "compression": "zlib", "planarconfig": "separate"},
        (256, 256),
        planar=True,
    ),
    Layout("planes apart, uncompressed", {"planarconfig": "separate"}, (256, 900), planar=True),
    Layout("tiles, WebP", {"tile": (256, 256), "compression": "webp"}, (256, 256)),
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_tiff_layout_is_read_like_tifffile(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "slide.tif"
    pixels = np.moveaxis(tissue(), -1, 0) if layout.planar else tissue()
    tifffile.imwrite(
        path, pixels, photometric="rgb", bigtiff=layout.bigtiff, metadata=None, **layout.options
    )
    expected = tifffile.imread(path)
    if layout.planar:
        expected = np.moveaxis(expected, 0, -1)
    np.testing.assert_array_equal(whole(path), expected)
    np.testing.assert_array_equal(by_segments(path), expected)
    with open_slide(path) as slide:
        assert slide.levels[0].segment_shape == layout.segment
        assert slide.brightfield
        assert slide.vendor == "generic-tiff"


def test_big_endian_uncompressed_16_bit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    pixels = tissue().astype(np.uint16) * 257
    tifffile.imwrite(path, pixels, photometric="rgb", byteorder=">", metadata=None)
    np.testing.assert_array_equal(whole(path), tissue())
    with open_slide(path) as slide:
        assert not slide.brightfield
        assert "16-bit" in slide.brightfield_reason


def test_12_bit_values_in_16_bits_span_black_to_white(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    pixels = (tissue().astype(np.float64) / 255 * 4095).round().astype(np.uint16)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), metadata=None)
    np.testing.assert_allclose(whole(path).astype(int), tissue(), atol=1)


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    grey = tissue(samples=1)[..., 0]
    tifffile.imwrite(path, grey, tile=(256, 256), metadata=None)
    np.testing.assert_array_equal(whole(path), np.repeat(grey[..., None], 3, axis=-1))


def test_white_is_zero_grey_is_inverted(tmp_path: Path) -> None:
    path = tmp_path / "grey.tif"
    grey = tissue(samples=1)[..., 0]
    tifffile.imwrite(path, grey, photometric="miniswhite", tile=(256, 256), metadata=None)
    np.testing.assert_array_equal(whole(path)[..., 0], 255 - grey)


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "palette.tif"
    image = Image.fromarray(tissue()).quantize(64)
    image.save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(whole(path), np.asarray(image.convert("RGB")))


def test_black_and_white_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "bits.tif"
    image = Image.fromarray(tissue(samples=1)[..., 0]).convert("1")
    image.save(path, compression="group4")
    if Version(imagecodecs.__version__) >= Version("2026.3.6"):
        np.testing.assert_array_equal(whole(path), np.asarray(image.convert("RGB")))
    else:
        with pytest.raises(InputError, match="CCITT, needs imagecodecs 2026"):
            whole(path)


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_alpha_is_composed_over_white(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"alpha.{ending}"
    image = Image.fromarray(tissue(samples=4), "RGBA")
    if ending == "tif":
        tifffile.imwrite(
            path,
            np.asarray(image),
            photometric="rgb",
            extrasamples=["unassalpha"],
            tile=(256, 256),
            metadata=None,
        )
    else:
        image.save(path)
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)
    np.testing.assert_allclose(whole(path).astype(int), expected, atol=1)


def test_multiplied_alpha_is_composed_over_white(tmp_path: Path) -> None:
    path = tmp_path / "alpha.tif"
    half_red = np.zeros((64, 64, 4), np.uint8)
    half_red[:] = (128, 0, 0, 128)
    tifffile.imwrite(path, half_red, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    np.testing.assert_array_equal(whole(path)[0, 0], (255, 127, 127))


def test_fourth_sample_of_no_stated_meaning_is_no_alpha(tmp_path: Path) -> None:
    path = tmp_path / "extra.tif"
    pixels = tissue(samples=4)
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unspecified"], metadata=None)
    np.testing.assert_array_equal(whole(path), pixels[..., :3])


def _ycbcr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(rgb).convert("YCbCr"))


def test_aperio_jpeg_2000_ycbcr_is_converted(tmp_path: Path) -> None:
    """Aperio's compression 33003 stores YCbCr in JPEG 2000, which decoders hand out as it is."""
    path = tmp_path / "slide.svs"
    rgb = tissue(512, 768)
    ycbcr = _ycbcr(rgb)
    tiles = [
        imagecodecs.jpeg2k_encode(
            np.ascontiguousarray(ycbcr[y : y + 256, x : x + 256]), codecformat="j2k", mct=False
        )
        for y in range(0, 512, 256)
        for x in range(0, 768, 256)
    ]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=rgb.shape,
        dtype=np.uint8,
        photometric="rgb",
        tile=(256, 256),
        compression=34712,
        description="Aperio Image Library v1\r\n768x512 |MPP = 0.25",
        metadata=None,
    )
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["Compression"].valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 2] = (33003).to_bytes(2, "little")
    path.write_bytes(data)
    np.testing.assert_allclose(whole(path).astype(int), rgb, atol=3)


def test_uncompressed_ycbcr_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "ycbcr.tif"
    rgb = tissue(300, 200)
    tifffile.imwrite(
        path,
        _ycbcr(rgb),
        photometric="ycbcr",
        subsampling=(1, 1),
        compression="zlib",
        rowsperstrip=32,
        metadata=None,
    )
    np.testing.assert_allclose(whole(path).astype(int), rgb, atol=3)


def test_three_planes_of_8_bits_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "slide.ome.tif"
    planes = np.moveaxis(tissue(), -1, 0)
    tifffile.imwrite(
        path, planes, photometric="minisblack", tile=(256, 256), metadata={"axes": "CYX"}
    )
    np.testing.assert_array_equal(whole(path), tissue())
    with open_slide(path) as slide:
        assert slide.brightfield
        assert slide.vendor == "ome-tiff"


def test_three_contiguous_planes_of_one_page_are_rgb(tmp_path: Path) -> None:
    """ImageJ describes a whole stack by its first page."""
    path = tmp_path / "stack.tif"
    planes = np.moveaxis(tissue(), -1, 0)
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(whole(path), tissue())


def test_first_focal_plane_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stack.ome.tif"
    stack = np.stack([tissue(), 255 - tissue()])
    tifffile.imwrite(path, stack, photometric="rgb", tile=(256, 256), metadata={"axes": "ZYXS"})
    np.testing.assert_array_equal(whole(path), tissue())


def test_fluorescence_channels_are_added_up_in_their_colors(tmp_path: Path) -> None:
    path = tmp_path / "fluorescence.ome.tif"
    channels = np.zeros((2, 512, 512), np.uint16)
    channels[0, :256] = 3000
    channels[1, :, :256] = 900
    tifffile.imwrite(
        path,
        channels,
        photometric="minisblack",
        tile=(256, 256),
        metadata={"axes": "CYX", "Channel": {"Color": [0x0000FFFF, 0x00FF00FF]}},
    )
    seen = whole(path)
    np.testing.assert_array_equal(seen[0, 0], (0, 255, 255))
    np.testing.assert_array_equal(seen[0, 300], (0, 0, 255))
    np.testing.assert_array_equal(seen[300, 0], (0, 255, 0))
    np.testing.assert_array_equal(seen[300, 300], (0, 0, 0))
    with open_slide(path) as slide:
        assert not slide.brightfield
        assert slide.brightfield_reason == "fluorescence channels"


def test_8_bit_channels_that_name_a_dye_are_no_brightfield(tmp_path: Path) -> None:
    path = tmp_path / "dyes.ome.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(tissue(), -1, 0),
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Fluor": ["DAPI", "FITC", "TRITC"]}},
    )
    with open_slide(path) as slide:
        assert not slide.brightfield


def test_tile_that_is_not_stored_is_white(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    black = imagecodecs.zlib_encode(np.zeros((256, 256, 3), np.uint8).tobytes())
    tifffile.imwrite(
        path,
        iter([black, b"", black, black]),
        shape=(512, 512, 3),
        dtype=np.uint8,
        photometric="rgb",
        tile=(256, 256),
        compression="zlib",
        metadata=None,
    )
    seen = whole(path)
    assert (seen[:256, 256:] == 255).all()
    assert (seen[256:] == 0).all()


def test_real_jpeg_has_its_size_before_it_is_decoded(test_data: Path) -> None:
    with open_slide(test_data / "her2st/images/C6.jpg") as slide:
        assert slide.shape == (9907, 9288)
        assert slide.vendor == "jpeg"
        assert slide.mpp is None


def test_real_jpeg_is_read_like_pillow(test_data: Path) -> None:
    path = test_data / "mob/MOB1.jpg"
    with open_slide(path) as slide, Image.open(path) as image:
        assert slide.shape == image.size[::-1]
        box = (600, 500, 1300, 1100)
        expected = np.asarray(image.crop(box)).astype(int)
        seen = slide.read_region(y=500, x=600, height=600, width=700).astype(int)
        assert np.abs(seen - expected).max() <= 2


def test_grey_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "grey.jpg"
    Image.fromarray(tissue(samples=1)[..., 0]).save(path, quality=95)
    expected = np.asarray(Image.open(path))
    np.testing.assert_allclose(whole(path)[..., 2].astype(int), expected, atol=2)


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "1"])
def test_png_is_read_like_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    image = Image.fromarray(tissue())
    image = image.quantize(32) if mode == "P" else image.convert(mode)
    image.save(path)
    np.testing.assert_array_equal(whole(path), np.asarray(image.convert("RGB")))


def test_16_bit_png_is_viewable_but_no_brightfield(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(tissue().astype(np.uint16) * 257))
    np.testing.assert_array_equal(whole(path), tissue())
    with open_slide(path) as slide:
        assert not slide.brightfield


def test_outside_the_image_is_white(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    with open_slide(path) as slide:
        seen = slide.levels[0].read(-5, -5, 40, 50)
    assert (seen[5:25, 5:35] == 0).all()
    assert seen.sum() == 255 * 3 * (40 * 50 - 20 * 30)
