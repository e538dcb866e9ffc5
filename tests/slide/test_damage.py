"""Damage that a decoder can know of is reported, and never shown as tissue."""

import json
import struct
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_nh2st.cli.main import main
from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.inference.notices import slide_notices
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.tiff_page import misplaced

TILE = 128


@cache
def picture(height: int = 512, width: int = 512) -> NDArray[np.uint8]:
    """Smooth colors with grain, so that every tile has many bytes."""
    y, x = np.mgrid[:height, :width]
    planes = [127 + 90 * np.sin(y / 23 + i) * np.cos(x / (31 + i)) for i in range(3)]
    grain = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(np.stack(planes, axis=-1) + grain, 0, 255).astype(np.uint8)


def pyramid(path: Path, compression: str | None, levels: int = 2, **options: Any) -> Path:
    options = {"photometric": "rgb", "tile": (TILE, TILE), **options}
    with tifffile.TiffWriter(path, bigtiff=path.stem == "big") as writer:
        for level in range(levels):
            step = 2**level
            writer.write(
                np.ascontiguousarray(picture()[::step, ::step]),
                compression=compression,
                subfiletype=int(level > 0),
                metadata=None,
                **options,
            )
    return path


def tile_place(path: Path, tile: int, page: int = 0) -> tuple[int, int]:
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[page].dataoffsets[tile], tiff.pages[page].databytecounts[tile]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def set_tag(path: Path, page: int, code: int, value: int, index: int = 0) -> None:
    """Write one value of a tag as damage would, and leave its other values."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
        size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
        place = tag.valueoffset + size * index
    overwrite(path, place, value.to_bytes(size, "little"))


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_slide(path)
    return str(caught.value)


def check_marked(path: Path, tile: int, expected: NDArray[np.uint8], reason: str) -> None:
    """One tile of level 0 is reported with the reason, all others are as they were."""
    with open_slide(path) as slide:
        level = slide.levels[0]
        for index, (row, column) in enumerate(np.ndindex(level.n_segments)):
            if index == tile:
                with pytest.raises(SegmentError, match=reason):
                    level.read_segment(row, column)
                continue
            top, left, height, width = level.segment_bounds(row, column)
            np.testing.assert_array_equal(
                level.read_segment(row, column), expected[top : top + height, left : left + width]
            )


@pytest.mark.parametrize(
    ("compression", "n_zeros", "reason"),
    [("jpeg", 100, "JPEG data"), ("lzw", 16, "zeros"), ("zstd", 4096, "zeros")],
)
def test_zeros_inside_compressed_data(
    tmp_path: Path, compression: str, n_zeros: int, reason: str
) -> None:
    path = pyramid(tmp_path / "slide.tif", compression)
    expected = tifffile.imread(path)
    offset, count = tile_place(path, 5)
    overwrite(path, offset + count // 2, bytes(n_zeros))
    check_marked(path, 5, expected, f"level 0, row 1, column 1: .*{reason}")


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
def test_data_that_decode_to_more_than_a_tile(tmp_path: Path, compression: str) -> None:
    """A longer tile's data in place of a tile's: what fits would be shown as its pixels."""
    path = pyramid(tmp_path / "slide.tif", compression)
    expected = tifffile.imread(path)
    offset, count = tile_place(path, 5)
    encode = getattr(imagecodecs, f"{compression}_encode")
    data = encode(np.full((TILE + 1, TILE, 3), 7, np.uint8).tobytes())
    assert len(data) < count
    overwrite(path, offset, data)
    check_marked(path, 5, expected, "decodes to|OUTPUT_TOO_SMALL")


def test_jpeg_of_another_shape_but_as_many_pixels(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", "jpeg")
    expected = tifffile.imread(path)
    offset, count = tile_place(path, 5)
    with tifffile.TiffFile(path) as tiff:
        tiff.filehandle.seek(offset)
        data = tiff.filehandle.read(count)
    size = data.index(b"\xff\xc0") + 5
    overwrite(path, offset + size, struct.pack(">HH", TILE // 2, TILE * 2))
    check_marked(path, 5, expected, "64 × 256 px, not 128 × 128")


def padded(data: bytes) -> bytes:
    """A JPEG with bytes between its image and its end, as some writers leave them."""
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + b"\x55\xaa" * 3 + b"\xff\xd9"


def write_tiles(path: Path, change: Callable[[int, bytes], bytes]) -> NDArray[np.uint8]:
    """A tiled JPEG TIFF whose tiles' data are changed; gives its pixels without the change."""
    tiles = picture().reshape(4, TILE, 4, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    data = [imagecodecs.jpeg_encode(tile, level=90) for tile in tiles]
    tifffile.imwrite(
        path,
        iter([change(index, one) for index, one in enumerate(data)]),
        shape=(512, 512, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="ycbcr",
        compression="jpeg",
        metadata=None,
    )
    decoded = np.stack([imagecodecs.jpeg_decode(one) for one in data])
    return decoded.reshape(4, 4, TILE, TILE, 3).swapaxes(1, 2).reshape(512, 512, 3)


def test_left_over_jpeg_data_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    expected = write_tiles(path, lambda index, data: padded(data) if index == 6 else data)
    check_marked(path, 6, expected, "extraneous bytes")


def test_a_writer_that_pads_all_its_jpeg_tiles_is_read(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    expected = write_tiles(path, lambda _, data: padded(data))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 512, 512), expected)


def test_zeros_behind_the_end_of_a_jpeg_tile_are_padding(tmp_path: Path) -> None:
    """In one tile alone, so that it is no habit of the writer."""
    path = tmp_path / "slide.tif"
    expected = write_tiles(path, lambda index, data: data + bytes(100) if index == 6 else data)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 512, 512), expected)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr", "minisblack"])
@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_strict_decoder_gives_the_pixels_of_others(
    tmp_path: Path, photometric: str, subsampling: tuple[int, int]
) -> None:
    """Compared with tifffile, at a size that is no multiple of a tile."""
    pixels = picture()[:300, :333]
    if photometric == "minisblack":
        pixels = pixels[..., 0]
    tifffile.imwrite(
        tmp_path / "slide.tif",
        pixels,
        photometric=photometric,
        subsampling=subsampling if photometric == "ycbcr" else None,
        tile=(TILE, TILE),
        compression="jpeg",
        metadata=None,
    )
    expected = tifffile.imread(tmp_path / "slide.tif")
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=-1)
    with open_slide(tmp_path / "slide.tif") as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 300, 333), expected)


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_inside_a_whole_jpeg(tmp_path: Path, progressive: bool) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(picture()).save(path, quality=90, progressive=progressive)
    overwrite(path, path.stat().st_size // 2, bytes(200))
    with open_slide(path) as slide, pytest.raises(SegmentError, match="JPEG data"):
        slide.levels[0].read_segment(0, 0)


def test_bytes_behind_the_image_of_a_whole_jpeg_are_said(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(picture()).save(path, quality=90)
    expected = np.asarray(Image.open(path))
    path.write_bytes(padded(path.read_bytes()))
    with open_slide(path) as slide:
        assert slide.notices == ()
        np.testing.assert_array_equal(slide.read_region(0, 0, 512, 512), expected)
        (notice,) = slide.notices
        assert "bytes after its image" in notice
        assert notice in slide_notices(slide)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"JFIF\0\x01", b"JFIF\0\x02"),  # a later revision
        (bytes.fromhex("0311003f00"), bytes.fromhex("0311000000")),  # an end of spectrum of 0
    ],
)
def test_jpeg_that_libjpeg_warns_of_without_damage(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(picture()).save(path, quality=90)
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(
            slide.read_region(0, 0, 512, 512), np.asarray(Image.open(path))
        )


@pytest.mark.parametrize("factors", [(0x22, 0x11, 0x21), (0x41, 0x21, 0x21), (0x31, 0x11, 0x11)])
def test_jpeg_of_rare_subsampling(tmp_path: Path, factors: tuple[int, int, int]) -> None:
    """One block of color and then no change, in libjpeg's usual Huffman codes."""
    path = tmp_path / "image.jpg"
    Image.new("RGB", (48, 48)).save(path, subsampling="4:4:4")
    data = bytearray(path.read_bytes())
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    data[frame + 11 : frame + 18 : 3] = bytes(factors)
    firsts, same = ("110101011010", "11101000" + "00"), ("001010", "0000")
    n_blocks = [(factor >> 4) * (factor & 15) for factor in factors]
    n_units = -(-48 // (8 * (factors[0] >> 4))) * -(-48 // (8 * (factors[0] & 15)))
    bits = ""
    for unit in range(n_units):
        for component, number in enumerate(n_blocks):
            blocks = [same[component > 0]] * number
            if unit == 0:
                blocks[0] = firsts[component > 0]
            bits += "".join(blocks)
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8)
    path.write_bytes(data[: scan + 14] + coded.replace(b"\xff", b"\xff\0") + b"\xff\xd9")
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert len(np.unique(expected.reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(expected[0, 0])) > 1
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 48, 48), expected)


def test_flat_jpeg_whose_code_is_zeros_is_read(tmp_path: Path) -> None:
    """With code tables made for the image, long runs of zeros are what flat areas look like."""
    path = tmp_path / "image.jpg"
    pixels = np.full((1024, 1024, 3), 240, np.uint8)
    pixels[:8, :8] = 10
    Image.fromarray(pixels).save(path, quality=90, optimize=True)
    assert bytes(64) in path.read_bytes()
    with open_slide(path) as slide:
        np.testing.assert_array_equal(
            slide.read_region(0, 0, 1024, 1024), np.asarray(Image.open(path))
        )


@pytest.mark.parametrize("name", ["slide.tif", "big.tif"])
@pytest.mark.parametrize(
    ("page", "tag", "value", "said"),
    [
        (0, 256, 300, "needs 12 tiles and lists 16"),
        (0, 257, 0, "has no size"),
        (1, 257, 4096, "needs 64 tiles and lists 4"),
        (0, 322, 256, "needs 8 tiles and lists 16"),
        (0, 284, 2, "needs 48 tiles"),
        (0, 284, 3367, "unknown PlanarConfiguration 3367"),
        (0, 262, 0, "calls its colors grey values"),
    ],
)
def test_directory_that_does_not_fit_its_list_of_tiles(
    tmp_path: Path, name: str, page: int, tag: int, value: int, said: str
) -> None:
    path = pyramid(tmp_path / name, "zlib")
    set_tag(path, page, tag, value)
    assert said in refusal(path)


@pytest.mark.parametrize("name", ["slide.svs", "slide.tif"])
@pytest.mark.parametrize(
    ("tag", "value", "said"),
    [
        ("ImageWidth", 0, "page 2 has no size"),
        ("ImageLength", 64, "page 2 of 200 × 64 px needs 4 strips and lists 19"),
        ("PlanarConfiguration", 9, "unknown PlanarConfiguration 9"),
        ("StripOffsets list", 2**31, "page 2 lists strips beyond the end of the file"),
    ],
)
def test_a_damaged_label_does_not_take_the_slide_with_it(
    tmp_path: Path, name: str, tag: str, value: int, said: str
) -> None:
    path = with_label(tmp_path / name)
    with open_slide(path) as slide:
        assert slide.notices == ()
    with tifffile.TiffFile(path) as tiff:
        entry = tiff.pages[2].tags[tag.split()[0]]
    is_list = tag.endswith("list")
    place, width = (
        (entry.offset + 8 if is_list else entry.valueoffset),
        2 if entry.dtype == 3 else 4,
    )
    overwrite(path, place, value.to_bytes(width, "little"))
    assert_only_the_label_is_lost(path, said)


def test_a_label_whose_pixels_are_not_in_the_file_does_not_take_the_slide_with_it(
    tmp_path: Path,
) -> None:
    path = with_label(tmp_path / "slide.svs")
    set_tag(path, 2, 273, 2**31, index=0)
    assert_only_the_label_is_lost(path, "The label image is left out.")


def with_label(path: Path) -> Path:
    """A slide of two levels and a label, as Aperio has it by its suffix."""
    aperio = "Aperio Image Library v11.2.1\r\n"
    with tifffile.TiffWriter(path) as writer:
        write = partial(writer.write, photometric="rgb", metadata=None, software=False)
        for step in (1, 2):
            described = f"{aperio}512x512|MPP = 0.5" if path.suffix == ".svs" else None
            tiles = np.ascontiguousarray(picture()[::step, ::step])
            write(tiles, tile=(TILE, TILE), subfiletype=int(step > 1), description=described)
        described = f"{aperio}label 200x300" if path.suffix == ".svs" else "label"
        write(picture()[:300, :200], rowsperstrip=16, subfiletype=1, description=described)
    return path


def assert_only_the_label_is_lost(path: Path, said: str) -> None:
    with open_slide(path) as slide:
        assert "label" not in slide.associated
        assert any("left out" in notice and said in notice for notice in slide.notices)
        assert slide.n_native_levels == 2
        np.testing.assert_array_equal(slide.read_region(0, 0, 512, 512), picture())


def test_tile_without_compression_of_too_few_bytes(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", None)
    set_tag(path, 0, 258, 16, index=0)
    assert "bytes where" in refusal(path)


def test_page_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """A coarser level with samples of different sizes is dropped by tifffile."""
    path = pyramid(tmp_path / "slide.tif", "zlib", levels=3)
    with open_slide(path) as slide:
        assert slide.notices == ()
    set_tag(path, 1, 258, 5, index=1)
    with open_slide(path) as slide:
        assert any("Page 1 is left out" in notice for notice in slide.notices)


def test_tags_out_of_order_are_said(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", "zlib")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[1].tags["XResolution"].offset
    overwrite(path, place, (40000).to_bytes(2, "little"))
    with open_slide(path) as slide:
        assert any("out of order" in notice for notice in slide.notices)


@pytest.mark.parametrize("sub", [False, True], ids=["pages", "sub-directories"])
def test_directories_in_a_loop(tmp_path: Path, sub: bool) -> None:
    path = tmp_path / "slide.tif"
    options = {"photometric": "rgb", "tile": (TILE, TILE), "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture(), subifds=int(sub), **options)
        writer.write(picture()[::2, ::2], subfiletype=1, **options)
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].offset
        if sub:
            link = tiff.pages[0].tags["SubIFDs"].valueoffset
        else:
            link = tiff.pages[1].offset + 2 + 12 * len(tiff.pages[1].tags)
    overwrite(path, link, first.to_bytes(4, "little"))
    assert "form a loop" in refusal(path)


@pytest.mark.parametrize("tag", [324, 325], ids=["offset", "count"])
@pytest.mark.parametrize("tile", [3, 15])
def test_tile_whose_entry_in_the_list_is_zeroed(tmp_path: Path, tag: int, tile: int) -> None:
    path = pyramid(tmp_path / "slide.tif", "zlib")
    expected = tifffile.imread(path)
    set_tag(path, 0, tag, 0, index=tile)
    check_marked(path, tile, expected, "place in the file is damaged")


def test_sparse_tiles_are_white(tmp_path: Path) -> None:
    """Neither place nor size is how writers leave tiles out."""
    path = pyramid(tmp_path / "slide.tif", "zlib")
    for tag in (324, 325):
        set_tag(path, 0, tag, 0, index=5)
    with open_slide(path) as slide:
        assert (slide.levels[0].read_segment(1, 1) == 255).all()


def test_tile_that_lies_across_one_of_another_level(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", "zstd")
    expected = tifffile.imread(path)
    offset, count = tile_place(path, 5)
    set_tag(path, 1, 324, offset + count // 2, index=2)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 512, 512), expected)
        with pytest.raises(SegmentError, match="place in the file is damaged"):
            slide.levels[1].read_segment(1, 0)


@pytest.mark.parametrize(
    ("places", "others", "expected"),
    [
        ([(10, 5), (15, 5), (20, 5)], [100], [0, 0, 0]),
        ([(10, 5), (10, 5), (15, 5)], [100], [0, 0, 0]),  # one tile used twice
        ([(10, 5), (12, 5), (20, 5)], [100], [1, 1, 0]),
        ([(10, 30), (15, 5), (20, 5)], [100], [1, 0, 0]),  # over all others
        ([(10, 5), (15, 0), (15, 5)], [100], [0, 0, 0]),  # left out by its writer
        ([(10, 5), (15, 0), (60, 5)], [100], [0, 1, 0]),  # data, but no size
        ([(10, 5), (15, 5), (20, 0)], [20], [0, 0, 0]),  # the last, left out
        ([(10, 5), (15, 5), (20, 0)], [100], [0, 0, 1]),
        ([(10, 5), (0, 5), (0, 0)], [100], [0, 1, 0]),
    ],
)
def test_misplaced(places: list[tuple[int, int]], others: list[int], expected: list[int]) -> None:
    offsets, counts = np.array(places, np.int64).T
    assert misplaced(offsets, counts, np.array(others)).tolist() == [bool(v) for v in expected]


def test_level_that_is_stored_in_another_way_is_said(tmp_path: Path) -> None:
    """As when the number of samples in a directory, and all that goes with it, is damaged."""
    path = tmp_path / "slide.tif"
    options = {"tile": (TILE, TILE), "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture(), photometric="rgb", **options)
        writer.write(picture()[::2, ::2, 0], photometric="minisblack", subfiletype=1, **options)
    with open_slide(path) as slide:
        assert slide.n_native_levels == 1
        assert "256 × 256 px is left out" in slide.notices[0]
        assert slide_notices(slide)[0] == slide.notices[0]


def test_samples_of_an_impossible_size(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "slide.tif", "zlib", levels=3)
    set_tag(path, 1, 258, 43016, index=2)
    assert "page 1 has the unknown BitsPerSample 43016" in refusal(path)


def test_info_prints_what_looks_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = pyramid(tmp_path / "slide.tif", "zlib", levels=3)
    set_tag(path, 1, 258, 5, index=1)
    assert main(["info", str(path)]) == 0
    assert "Page 1 is left out" in capsys.readouterr().out
    assert main(["info", str(path), "--json"]) == 0
    assert "Page 1 is left out" in json.loads(capsys.readouterr().out)["notices"][0]


def test_ome_xml_that_does_not_fit_is_said(tmp_path: Path) -> None:
    """Tifffile then takes the pages as they come, without sub-directories and µm/px."""
    path = tmp_path / "slide.ome.tif"
    tifffile.imwrite(
        path, picture(), photometric="rgb", tile=(TILE, TILE), metadata={"axes": "YXS"}
    )
    with open_slide(path) as slide:
        assert slide.notices == ()
    data = path.read_bytes()
    overwrite(path, data.index(b"</Pixels>"), b"<!Pixels>")
    with open_slide(path) as slide:
        assert "OME-XML" in slide.notices[0]
