"""Files that ask for more memory than they are worth, or that would block whoever opens them."""

import os
import socket
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, ShardingCodec, ZstdCodec

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.slide import level as levels
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.codestreams import declared_shape
from napari_nh2st.slide.limits import impossible_size
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.spots import read_spots

MB = 1 << 20
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")


@pytest.fixture(autouse=True)
def small_memory() -> Any:
    """None of these takes more than a picture of a few hundred pixels needs."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * MB


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def jpeg_of_size(path: Path, side: int) -> Path:
    """A small JPEG that says that it is large."""
    Image.new("RGB", (16, 16)).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, side, side)
    path.write_bytes(data)
    return path


def png_of_size(path: Path, side: int) -> Path:
    Image.new("RGB", (16, 16)).save(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, 16, side, side)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "make"), [("bomb.jpg", jpeg_of_size), ("bomb.png", png_of_size)])
def test_image_that_says_it_is_huge(
    tmp_path: Path, name: str, make: Callable[[Path, int], Path]
) -> None:
    said = refusal(make(tmp_path / name, 65_000))
    assert "65,000 × 65,000 px" in said
    assert "NH2ST_MAX_DECODED_MB" in said


def test_large_jpegs_are_within_the_limit(tmp_path: Path) -> None:
    with open_slide(jpeg_of_size(tmp_path / "large.jpg", 20_000)) as slide:
        assert slide.shape == (20_000, 20_000)


def test_limit_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.jpg"
    Image.new("RGB", (1000, 1000)).save(path)
    monkeypatch.setenv("NH2ST_MAX_DECODED_MB", "1")
    said = refusal(path)
    assert "NH2ST_MAX_DECODED_MB to 3" in said
    monkeypatch.setenv("NH2ST_MAX_DECODED_MB", "3")
    with open_slide(path) as slide:
        assert slide.read_region(0, 0, 10, 10).max() == 0
    monkeypatch.setenv("NH2ST_MAX_DECODED_MB", "much")
    assert "must be a number of MB, not much" in refusal(path)


def sparse_tiff(path: Path, side: int, tile: int | None, compression: int = 8) -> Path:
    """A TIFF in which one tile, or strip, is all of the page."""
    data = zlib.compress(bytes(1000))
    entries = {
        256: (4, 1, side),
        257: (4, 1, side),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 1),
        277: (3, 1, 1),
    }
    if tile is None:
        entries |= {273: (4, 1, 8), 278: (4, 1, side), 279: (4, 1, len(data))}
    else:
        entries |= {322: (4, 1, tile), 323: (4, 1, tile), 324: (4, 1, 8), 325: (4, 1, len(data))}
    directory = struct.pack("<H", len(entries))
    for tag, (kind, n, value) in sorted(entries.items()):
        directory += struct.pack("<HHII", tag, kind, n, value)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(header + data + directory + bytes(4))
    return path


@pytest.mark.parametrize(
    ("side", "tile", "compression", "said"),
    [
        (60_000, 60_000, 8, "a tile of 60,000 × 60,000 px"),
        (60_000, None, 8, "a strip of 60,000 × 60,000 px"),
        (1_000_000, 256, 8, "needs 15,264,649 tiles and lists 1"),
        (1_000_000, None, 1, "cut off"),
        (1_000_000, 1_000_000, 8, "once decoded"),
    ],
)
def test_tiff_that_says_it_is_huge(
    tmp_path: Path, side: int, tile: int | None, compression: int, said: str
) -> None:
    assert said in refusal(sparse_tiff(tmp_path / "bomb.tif", side, tile, compression))


def test_tile_whose_data_say_they_are_huge(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (256, 512, 3), np.uint8)
    for compression, size, write in (
        ("jpeg", lambda data: data.index(b"\xff\xc0") + 5, ">HH"),
        ("jpeg2000", lambda data: data.index(b"\xff\x4f\xff\x51") + 8, ">II"),
        ("webp", lambda data: data.index(b"\x9d\x01\x2a") + 3, "<HH"),
        ("jpegxr", lambda data: data.index(b"WMPHOTO\0") + 12, ">HH"),
    ):
        options: dict[str, Any] = {"lossless": False} if compression == "webp" else {}
        tifffile.imwrite(
            path,
            pixels,
            photometric="rgb",
            tile=(256, 256),
            compression=compression,
            compressionargs=options,
            metadata=None,
        )
        with tifffile.TiffFile(path) as tiff:
            start = tiff.pages[0].dataoffsets[1]
        data = bytearray(path.read_bytes())
        place = start + size(bytes(data[start:]))
        struct.pack_into(write, data, place, 16_000, 16_000)
        path.write_bytes(data)
        with open_slide(path) as slide:
            assert slide.levels[0].read_segment(0, 0).shape == (256, 256, 3)
            with pytest.raises(SegmentError, match=r"1600[01] × 1600[01] px, not 256 × 256"):
                slide.levels[0].read_segment(0, 1)


@pytest.mark.parametrize("shape", [(256, 256), (250, 300), (16, 8), (128, 120), (9000, 12), (6, 8)])
@pytest.mark.parametrize("container", [False, True])
def test_size_of_jpeg_xl_and_xr_is_known_before_they_are_decoded(
    shape: tuple[int, int], container: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, usecontainer=container)
    assert declared_shape(data, 50002) == shape
    if not container:
        assert declared_shape(imagecodecs.jpegxr_encode(pixels), 22610) == shape


def test_jpeg_xl_tile_of_another_size_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (256, 512, 3), np.uint8)
    options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "metadata": None}
    tifffile.imwrite(path, pixels, compression="jpegxl", **options)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[1]
    data = bytearray(path.read_bytes())
    # Not small, a height of 18 bits and the same width: 200,000 px of each.
    size = 2 << 1 | 199_999 << 3 | 1 << 21
    data[start + 2 : start + 5] = size.to_bytes(3, "little")
    path.write_bytes(data)
    with open_slide(path) as slide:
        assert slide.levels[0].read_segment(0, 0).shape == (256, 256, 3)
        with pytest.raises(SegmentError, match="200000 × 200000 px, not 256 × 256"):
            slide.levels[0].read_segment(0, 1)


@pytest.mark.parametrize(
    ("shape", "n_segments", "said"),
    [
        ((200_000, 200_000), (782, 782), None),
        ((1_000_000, 1_000_000), (100, 100), "damaged"),
        ((100_000, 100_000), (100_000, 100_000), "too many"),
    ],
)
def test_impossible_sizes(
    shape: tuple[int, int], n_segments: tuple[int, int], said: str | None
) -> None:
    problem = impossible_size(shape, n_segments)
    assert problem is None if said is None else said in str(problem)


def ome_zarr(
    folder: Path,
    pixels: NDArray[np.uint8] | None,
    chunk: int | tuple[int, int],
    zarr_format: int,
    **options: Any,
) -> Path:
    """An OME-Zarr image of one level; without pixels, nothing of 100,000 × 100,000 is stored."""
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    shape = (3, 100_000, 100_000) if pixels is None else pixels.shape
    array = group.create_array(
        "0",
        shape=shape,
        chunks=(1, *(chunk if isinstance(chunk, tuple) else (chunk, chunk))),
        dtype=np.uint8,
        **options,
    )
    if pixels is not None:
        array[...] = pixels
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space"} for a in "yx")]
    ome = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    group.attrs.update({"ome": {"version": "0.5", **ome}} if zarr_format == 3 else ome)
    return folder


def test_zarr_chunk_that_is_huge(tmp_path: Path) -> None:
    said = refusal(ome_zarr(tmp_path / "bomb.zarr", None, 60_000, 3))
    assert "a chunk of 1 × 60,000 × 60,000 values" in said
    assert "NH2ST_MAX_DECODED_MB" in said


PIXELS = np.random.default_rng(0).integers(1, 255, (3, 64, 128), np.uint8)
ZEROS = bytes(48 * MB)


@pytest.mark.parametrize(
    ("zarr_format", "codec", "encode"),
    [
        (2, numcodecs.Blosc("zstd"), numcodecs.Blosc("zstd").encode),
        (2, numcodecs.GZip(), numcodecs.GZip().encode),
        (2, numcodecs.Zlib(), numcodecs.Zlib().encode),
        (2, numcodecs.BZ2(), numcodecs.BZ2().encode),
        (2, numcodecs.LZ4(), numcodecs.LZ4().encode),
        (3, ZstdCodec(), numcodecs.Zstd().encode),
        (3, GzipCodec(), numcodecs.GZip().encode),
        (3, BloscCodec(), numcodecs.Blosc("lz4").encode),
    ],
)
def test_zarr_chunk_that_decodes_to_more_than_it_says(
    tmp_path: Path, zarr_format: int, codec: Any, encode: Callable[[bytes], bytes]
) -> None:
    tracemalloc.stop()  # while the bomb is built
    bomb = bytes(encode(ZEROS))
    folder = ome_zarr(tmp_path / "bomb.zarr", PIXELS, 64, zarr_format, compressors=codec)
    chunk = folder / "0" / ("c/0/0/1" if zarr_format == 3 else "0.0.1")
    assert chunk.is_file()
    chunk.write_bytes(bomb)
    tracemalloc.start()
    with open_slide(folder) as slide:
        np.testing.assert_array_equal(
            slide.levels[0].read_segment(0, 0), PIXELS[:, :, :64].transpose(1, 2, 0)
        )
        with pytest.raises(SegmentError, match="decodes to more than the 4,096 bytes"):
            slide.levels[0].read_segment(0, 1)
        assert tracemalloc.get_traced_memory()[1] < 24 * MB


@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize(
    ("codec", "encode"),
    [
        (ZstdCodec(), numcodecs.Zstd().encode),
        (GzipCodec(), numcodecs.GZip().encode),
        (BloscCodec(), numcodecs.Blosc("lz4").encode),
    ],
)
def test_chunk_of_a_shard_that_decodes_to_more_than_it_says(
    tmp_path: Path, codec: Any, encode: Callable[[bytes], bytes], location: str
) -> None:
    tracemalloc.stop()  # while the bomb is built
    bomb = bytes(encode(ZEROS))
    sharding = ShardingCodec(
        chunk_shape=(1, 64, 64), codecs=[BytesCodec(), codec], index_location=location
    )
    options = {"serializer": sharding, "compressors": None}
    folder = ome_zarr(tmp_path / "bomb.zarr", PIXELS, (64, 128), 3, **options)
    with open_slide(folder) as slide:
        np.testing.assert_array_equal(
            slide.levels[0].read_segment(0, 1), PIXELS[:, :, 64:].transpose(1, 2, 0)
        )
    shard = folder / "0" / "c/0/0/0"
    data = shard.read_bytes()
    at = 0 if location == "start" else len(data) - 36
    index = np.frombuffer(data[at : at + 32], "<u8").copy()
    index[2:] = (len(data) if location == "start" else at), len(bomb)
    stored = bytes(numcodecs.CRC32C(location="end").encode(index))
    is_first = location == "start"
    shard.write_bytes(stored + data[36:] + bomb if is_first else data[:at] + bomb + stored)
    tracemalloc.start()
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match="decodes to more than the 4,096 bytes"):
            slide.levels[0].read_segment(0, 1)
        assert tracemalloc.get_traced_memory()[1] < 24 * MB


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


@needs_fifo
@pytest.mark.parametrize("name", ["slide.svs", "slide.jpg", "slide.h5ad", "slide"])
def test_pipe_is_refused_by_whatever_opens_it(tmp_path: Path, name: str) -> None:
    path = pipe(tmp_path / name)
    assert "named pipe" in refusal(path)
    with pytest.raises(InputError, match="named pipe"):
        read_spots(path)
    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(InputError, match="named pipe"):
        reader(str(path))


@needs_fifo
def test_sockets_and_devices_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("slide.svs")
        assert "is a socket" in refusal(tmp_path / "slide.svs")
    assert "is a device" in refusal(Path("/dev/zero"))


@needs_fifo
@pytest.mark.parametrize("name", ["zarr.json", ".zattrs", "0/.zarray", "0/zarr.json"])
def test_pipe_in_place_of_metadata(tmp_path: Path, name: str) -> None:
    folder = ome_zarr(tmp_path / "slide.zarr", PIXELS, 64, 3 if name.endswith("json") else 2)
    (folder / name).unlink()
    pipe(folder / name)
    assert "named pipe" in refusal(folder)
    reader = get_reader(str(folder))
    if reader is not None:
        with pytest.raises(InputError, match="named pipe"):
            reader(str(folder))


@needs_fifo
def test_pipe_in_place_of_a_chunk(tmp_path: Path) -> None:
    folder = ome_zarr(tmp_path / "slide.zarr", PIXELS, 64, 3)
    chunk = folder / "0/c/0/0/1"
    chunk.unlink()
    pipe(chunk)
    with open_slide(folder) as slide:
        with pytest.raises(SegmentError, match="named pipe"):
            slide.levels[0].read_segment(0, 1)
        assert len(slide.fingerprint) == 64


@needs_fifo
def test_pipe_in_place_of_the_second_file_of_an_ome_tiff(tmp_path: Path) -> None:
    name = "slide.ome.tif"
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" '
        'SizeX="64" SizeY="64" SizeC="2" SizeZ="1" SizeT="1">'
        '<Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>'
        f'<TiffData FirstC="0" IFD="0"><UUID FileName="{name}">urn:uuid:1</UUID></TiffData>'
        '<TiffData FirstC="1" IFD="0"><UUID FileName="other&amp;.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    tifffile.imwrite(tmp_path / name, np.zeros((64, 64), np.uint8), description=xml, metadata=None)
    pipe(tmp_path / "other&.tif")
    assert "other&.tif: is a named pipe" in refusal(tmp_path / name)


@needs_fifo
def test_pipe_inside_a_folder_of_spots(tmp_path: Path) -> None:
    pipe(tmp_path / "outs" / "spatial" / "scalefactors_json.json")
    with pytest.raises(InputError, match="named pipe"):
        read_spots(tmp_path / "outs")


def test_overview_holds_few_large_chunks_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, np.full((2048, 2048, 3), 7, np.uint8), tile=(256, 256), compression="zlib"
    )
    threads = set()
    read = levels.Level.read

    def noted(self: levels.Level, *args: Any, **options: Any) -> NDArray[np.uint8]:
        threads.add(threading.get_ident())
        return read(self, *args, **options)

    monkeypatch.setattr(levels.Level, "read", noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    with open_slide(path) as slide:
        monkeypatch.setenv("NH2ST_MAX_DECODED_MB", "20")
        assert (slide_overview(slide, 4) == 7).all()
    assert len(threads) == 1
