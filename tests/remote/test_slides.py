"""Slides at URLs: the same as local ones, read by ranges, and failing in a sentence."""

import os
import re
import threading
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import tifffile
import zarr

from array_slides import textured, write_tiff
from file_server import FileServer
from napari_nh2st.errors import InputError, RemoteError
from napari_nh2st.remote import RemotePath, block_cache, file, http, urls
from napari_nh2st.slide import Slide, open_slide

SIDE = 1536


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of some 7 MB, whose directories lie behind each level's tiles."""
    pixels = textured(SIDE, SIDE)
    path = tmp_path_factory.mktemp("pyramid") / "slide.tif"
    return write_tiff(path, pixels, pixels[::2, ::2], pixels[::4, ::4], segment=128)


@pytest.fixture
def served(pyramid: Path, server: FileServer) -> str:
    (server.folder / "slide.tif").write_bytes(pyramid.read_bytes())
    return f"{server.url}/slide.tif"


def new_process() -> None:
    """Forget what a process holds in memory."""
    block_cache._cache_of.cache_clear()


def assert_same(remote: Slide, local: Slide) -> None:
    assert remote.vendor == local.vendor
    assert remote.mpp == local.mpp
    assert remote.downsamples == local.downsamples
    assert remote.fingerprint == local.fingerprint
    for one, other in zip(remote.levels, local.levels, strict=True):
        np.testing.assert_array_equal(one.read(0, 0, *one.shape), other.read(0, 0, *other.shape))


def test_a_tiff_is_the_same_as_the_local_one(served: str, pyramid: Path) -> None:
    with open_slide(served) as remote, open_slide(pyramid) as local:
        assert_same(remote, local)
        assert remote.path.name == "slide.tif"
        assert remote.path.stem == "slide"
        assert str(remote.path) == served


def test_opening_reads_the_directories_and_a_region_its_tiles(
    served: str, server: FileServer
) -> None:
    size = (server.folder / "slide.tif").stat().st_size
    with open_slide(served) as slide:
        opened = server.n_bytes
        assert opened <= 4 * file.BLOCK < size / 4
        slide.read_region(0, 0, 300, 300)  # three rows of tiles, each in a place of its own
        assert server.n_bytes - opened <= 5 * file.BLOCK
        before = len(server.requests)
        slide.read_region(0, 0, 250, 280)
        assert len(server.requests) == before


def test_neighboring_blocks_come_in_one_request(served: str, server: FileServer) -> None:
    with open_slide(served) as slide:
        slide.levels[0].read(0, 0, SIDE, SIDE)
        asked = [request.n_bytes for request in server.requests]
        assert max(asked) > 4 * file.BLOCK
        assert len(asked) < server.n_bytes / file.BLOCK / 2


def test_a_second_run_is_served_from_the_disk(served: str, server: FileServer) -> None:
    with open_slide(served) as slide:
        first = slide.read_region(0, 0, SIDE, SIDE)
    new_process()
    server.requests.clear()
    with open_slide(served) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, SIDE, SIDE), first)
    assert [request.status for request in server.requests] == [304]  # is it still the same?


def test_versions_are_told_apart_by_time_where_there_is_nothing_else(
    served: str, server: FileServer
) -> None:
    server.dated = True
    for _ in range(2):
        server.requests.clear()
        with open_slide(served) as slide:
            slide.read_region(0, 0, SIDE, SIDE)
        new_process()
    assert [request.status for request in server.requests] == [304]
    place = write_tiff(server.folder / "slide.tif", 255 - textured(400, 400))
    os.utime(place, (1e9, 1e9))
    with open_slide(served) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 400, 400), 255 - textured(400, 400))


def test_the_cache_keeps_to_its_size(
    served: str, server: FileServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(block_cache.VARIABLE, "0.002")
    with open_slide(served) as slide:
        slide.read_region(0, 0, SIDE, SIDE)
    kept = sum(path.stat().st_size for path in own_cache.rglob("*") if path.is_file())
    assert 1e6 < kept < 2e6 * 17 / 16 + 17 * file.BLOCK
    monkeypatch.setenv(block_cache.VARIABLE, "much")
    with pytest.raises(InputError, match="NH2ST_REMOTE_CACHE_GB must be a number of GB, not much"):
        open_slide(served)


def test_without_a_cache_nothing_is_written(
    served: str, own_cache: Path, pyramid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(block_cache.VARIABLE, "0")
    with open_slide(served) as remote, open_slide(pyramid) as local:
        assert_same(remote, local)
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


def test_damaged_and_short_blocks_are_fetched_again(
    served: str, server: FileServer, own_cache: Path, pyramid: Path
) -> None:
    with open_slide(served) as slide:
        slide.read_region(0, 0, SIDE, SIDE)
    blocks = sorted((own_cache / "remote").rglob("*-*"))
    assert len(blocks) > 8
    for path in blocks[::2]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    blocks[1].write_bytes(blocks[1].read_bytes()[:1000])
    blocks[3].write_bytes(b"")
    new_process()
    with open_slide(served) as remote, open_slide(pyramid) as local:
        assert_same(remote, local)


def test_another_version_is_never_mixed_in(served: str, server: FileServer) -> None:
    place = server.folder / "slide.tif"
    with open_slide(served) as slide:
        place.write_bytes(place.read_bytes())  # the same bytes, at another time
        with pytest.raises(RemoteError, match=r"slide.tif was changed while it was read. Open it"):
            slide.read_region(0, 0, SIDE, SIDE)
    other = 255 - textured(SIDE, SIDE)
    write_tiff(place, other, segment=128)
    with open_slide(served) as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, SIDE, SIDE), other)


def test_without_marks_nothing_is_taken_from_an_earlier_run(
    served: str, server: FileServer
) -> None:
    server.marks = False
    for pixels in (textured(400, 400, 1), textured(400, 400, 2)):
        place = write_tiff(server.folder / "slide.tif", pixels)
        with place.open("r+b") as stream:
            stream.truncate(600_000)  # of one size, too
        with open_slide(served) as slide:
            np.testing.assert_array_equal(slide.read_region(0, 0, 400, 400), pixels)


def test_what_was_cut_is_asked_for_again(served: str, server: FileServer, pyramid: Path) -> None:
    server.cuts = 2
    with open_slide(served) as remote, open_slide(pyramid) as local:
        server.cuts = 2
        assert_same(remote, local)
    assert server.cuts == 0


def test_a_network_that_stays_away_fails_and_makes_no_white_tile(
    served: str, server: FileServer
) -> None:
    with open_slide(served) as slide:
        server.cuts = 1000
        with pytest.raises(RemoteError, match=r"the connection to 127.0.0.1 was cut. Is there a"):
            slide.read_region(0, 0, SIDE, SIDE)
        with pytest.raises(RemoteError):
            slide.dask_levels()[0].compute(scheduler="synchronous")
        server.cuts = 0
        assert slide.read_region(0, 0, SIDE, SIDE).std() > 10


def test_a_server_that_hangs_is_given_up(
    served: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_S", 0.05)
    server.hangs = True
    with pytest.raises(RemoteError, match=r"127.0.0.1 does not answer"):
        open_slide(served)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "127.0.0.1 refuses access \\(403 Forbidden\\). The file needs a key or password"),
        (401, "127.0.0.1 refuses access \\(401 Unauthorized\\)"),
        (404, "there is no such file."),
        (500, "127.0.0.1 answers 500 Internal Server Error. Is there a network"),
        (418, "127.0.0.1 answers 418 I'm a Teapot."),
    ],
)
def test_refusals_are_sentences(served: str, server: FileServer, status: int, reason: str) -> None:
    server.status = status
    with pytest.raises(InputError, match=f"^{re.escape(served)}: {reason}"):
        open_slide(served)


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("Content-Range", "bytes 1-262144/7000000", "127.0.0.1 sends other bytes than asked"),
        ("Content-Range", "all", "127.0.0.1 does not say which bytes it sends"),
        ("Content-Range", "bytes 0-9/7000000", "127.0.0.1 sends more bytes than it says"),
        ("Content-Encoding", "gzip", "127.0.0.1 sends it compressed, not as it is"),
    ],
)
def test_answers_that_cannot_be_right_are_sentences(
    served: str, server: FileServer, header: str, value: str, reason: str
) -> None:
    server.extra = {header: value}
    with pytest.raises(RemoteError, match=f"^{re.escape(served)}: {reason}"):
        open_slide(served)
    server.extra = {}
    remote = RemotePath(served).file()
    server.extra = {"Content-Range": f"bytes 7-262150/{remote.size}"}
    with pytest.raises(RemoteError, match=r"sends other bytes than asked. Is there a network"):
        remote.read(3 * file.BLOCK, 10)
    assert len(server.requests) == 2 + 3  # it was asked for again


def test_an_answer_that_drips_is_given_up(
    served: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count(step=1000)
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    with pytest.raises(RemoteError, match=r"127.0.0.1 sends too slowly"):
        open_slide(served)


def test_an_empty_file_is_no_slide(server: FileServer) -> None:
    (server.folder / "empty.tif").write_bytes(b"")
    empty = RemotePath(f"{server.url}/empty.tif")
    assert empty.stat().st_size == 0
    assert empty.read_bytes() == b""
    with pytest.raises(InputError, match=r"empty\.tif"):
        open_slide(f"{server.url}/empty.tif")


def test_a_block_that_several_threads_need_is_fetched_once(served: str, server: FileServer) -> None:
    remote = RemotePath(served).file()
    expected = (server.folder / "slide.tif").read_bytes()[2 * file.BLOCK :][:20]
    server.requests.clear()
    server.hangs = True
    found: list[bytes] = []
    read = lambda: found.append(remote.read(2 * file.BLOCK, 20))  # noqa: E731
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.hangs = False
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    assert len(server.requests) == 1


def test_a_failure_is_that_of_all_who_wait_and_of_no_later_reading(
    served: str, server: FileServer
) -> None:
    remote = RemotePath(served).file()
    remote.check()
    server.status = 403
    errors: list[BaseException] = []

    def read() -> None:
        try:
            remote.prefetch([(2 * file.BLOCK, 10), (5 * file.BLOCK, 10), (8 * file.BLOCK, 10)])
        except RemoteError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3
    with pytest.raises(RemoteError, match="403"):
        remote.check()
    server.status = 0
    read()
    assert len(errors) == 3
    server.requests.clear()
    remote.read(5 * file.BLOCK, 10)
    assert not server.requests


def test_each_attempt_waits_for_its_pause(
    served: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(file, "_PAUSES_S", (1.0, 3.0))
    monkeypatch.setattr(file, "time", SimpleNamespace(sleep=paused.append))
    server.status = 503
    with pytest.raises(RemoteError, match="503"):
        open_slide(served)
    assert paused == [1.0, 3.0]
    assert len(server.requests) == 3


def test_a_block_of_another_length_is_fetched_again(served: str, server: FileServer) -> None:
    expected = (server.folder / "slide.tif").read_bytes()
    remote = RemotePath(served).file()
    block_cache.block_cache().put(urls.identity(served), remote.version, 2, b"too short")
    assert remote.read(2 * file.BLOCK, 20) == expected[2 * file.BLOCK :][:20]


def test_without_marks_blocks_belong_to_one_opening(served: str, server: FileServer) -> None:
    server.marks = False
    place = server.folder / "slide.tif"
    size = place.stat().st_size
    for content in (b"a", b"b"):
        place.write_bytes(content * size)
        assert RemotePath(served).file().read(2 * file.BLOCK, 3) == content * 3


def test_a_stream_reads_where_it_stands(served: str, server: FileServer) -> None:
    expected = (server.folder / "slide.tif").read_bytes()
    with RemotePath(served).open() as stream:
        assert stream.read(4) == expected[:4]
        assert stream.seek(-10, 2) == len(expected) - 10
        assert stream.read(100) == expected[-10:]
        stream.seek(file.BLOCK - 5)
        stream.seek(2, 1)
        assert stream.tell() == file.BLOCK - 3
        assert stream.read(6) == expected[file.BLOCK - 3 : file.BLOCK + 3]
        with pytest.raises(ValueError, match="there is no byte -1"):
            stream.seek(-1)
    remote = RemotePath(served).file()
    assert remote.read(-5, 10) == remote.read(len(expected), 1) == b""


def test_hosts_that_are_not_there(server: FileServer) -> None:
    with pytest.raises(RemoteError, match=r"the host no-such-host.invalid is not found"):
        open_slide("https://no-such-host.invalid/slide.svs")
    with pytest.raises(RemoteError, match=r"127.0.0.1 cannot be reached"):
        open_slide("http://127.0.0.1:1/slide.svs")


def test_a_server_without_ranges_gives_small_files(
    server: FileServer, pyramid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.ranges = False
    (server.folder / "slide.tif").write_bytes(pyramid.read_bytes())
    with open_slide(f"{server.url}/slide.tif") as remote, open_slide(pyramid) as local:
        assert_same(remote, local)
    assert len(server.requests) == 1
    (server.folder / "large.tif").write_bytes(pyramid.read_bytes())
    monkeypatch.setattr(http, "_MOST_WHOLE", 10**6)
    with pytest.raises(RemoteError, match=r"sends only whole files, no byte ranges. Download"):
        open_slide(f"{server.url}/large.tif")


def test_a_redirection_leads_to_no_local_file(
    served: str, server: FileServer, pyramid: Path
) -> None:
    server.redirect = pyramid.as_uri()
    with pytest.raises(RemoteError, match=r"slide.tif cannot be asked for \(invalid schema\)"):
        open_slide(served)


def test_keys_and_passwords_are_never_shown(served: str, server: FileServer) -> None:
    address = served.replace("http://", "http://me:secret@")
    signed = f"{address}?X-Amz-Expires=60&X-Amz-Signature=secret#secret"
    with open_slide(signed) as slide:
        shown = str(slide.path)
        assert shown == f"{served}?…"
        assert "secret" not in repr(slide.path) + repr(slide)
        assert slide.path.name == "slide.tif"
    with pytest.raises(RemoteError, match=r"the rest of the URL is not stored. Give the whole URL"):
        open_slide(shown)
    server.status = 403
    with pytest.raises(RemoteError) as caught:
        open_slide(signed)
    assert "secret" not in str(caught.value)


def test_a_file_signed_anew_is_taken_from_the_cache(served: str, server: FileServer) -> None:
    for number in (1, 2):
        server.requests.clear()
        with open_slide(f"{served}?X-Amz-Date={number}&X-Amz-Signature={number}") as slide:
            slide.read_region(0, 0, SIDE, SIDE)
        new_process()
    assert [request.status for request in server.requests] == [304]
    with open_slide(f"{served}?id=5") as slide:  # may name another file
        slide.read_region(0, 0, 10, 10)
    assert server.requests[-1].status == 206


@pytest.mark.parametrize(("zarr_format", "shards"), [(2, None), (3, None), (3, (256, 256, 3))])
def test_ome_zarr(server: FileServer, zarr_format: int, shards: tuple[int, ...] | None) -> None:
    pixels = textured(500, 700)
    folder = server.folder / "image.ome.zarr"
    write_zarr(folder, pixels, zarr_format, shards)
    with open_slide(f"{server.url}/image.ome.zarr") as remote, open_slide(folder) as local:
        assert_same(remote, local)
        np.testing.assert_array_equal(remote.read_region(0, 0, 500, 700), pixels)
    new_process()
    server.requests.clear()
    with open_slide(f"{server.url}/image.ome.zarr") as slide:
        np.testing.assert_array_equal(slide.read_region(0, 0, 500, 700), pixels)
    assert {request.status for request in server.requests} <= {304, 404}


def write_zarr(
    folder: Path, pixels: np.ndarray, zarr_format: int, shards: tuple[int, ...] | None = None
) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
    for level, step in enumerate((1, 2)):
        part = np.ascontiguousarray(pixels[::step, ::step])
        stored = group.create_array(
            str(level), shape=part.shape, chunks=(128, 128, 3), shards=shards, dtype=part.dtype
        )
        stored[...] = part
    datasets = [
        {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": [s, s, 1]}]}
        for level, s in enumerate((0.5, 1.0))
    ]
    axes = [{"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}]
    ome = {"multiscales": [{"axes": [*axes, {"name": "c"}], "datasets": datasets}]}
    group.attrs.update({"ome": {"version": "0.5", **ome}} if zarr_format == 3 else ome)


def test_a_lost_connection_is_no_empty_chunk(server: FileServer) -> None:
    write_zarr(server.folder / "image.zarr", textured(500, 700), 3)
    with open_slide(f"{server.url}/image.zarr") as slide:
        server.status = 503
        with pytest.raises(RemoteError, match="answers 503"):
            slide.read_region(0, 0, 500, 700)
        server.status = 403  # the right to read is over
        with pytest.raises(RemoteError, match="403 Forbidden"):
            slide.read_region(0, 0, 500, 700)


def test_bioformats2raw_is_read_without_a_listing(server: FileServer) -> None:
    pixels = textured(300, 400)
    group = zarr.open_group(server.folder / "images.zarr", mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for name in ("0", "1"):
        write_zarr(server.folder / "images.zarr" / name, pixels[: 150 * (int(name) + 1)], 2)
    with open_slide(f"{server.url}/images.zarr") as slide:
        assert [image.shape for image in slide.images] == [(150, 400), (300, 400)]
        np.testing.assert_array_equal(slide.read_region(0, 0, 300, 400), pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_are_read_whole(server: FileServer, suffix: str) -> None:
    from PIL import Image

    picture = server.folder / f"picture.{suffix}"
    Image.fromarray(textured(300, 400)).save(picture)
    with open_slide(f"{server.url}/picture.{suffix}") as remote, open_slide(picture) as local:
        assert_same(remote, local)


def test_what_openslide_reads_is_local(server: FileServer) -> None:
    (server.folder / "slide.mrxs").write_bytes(b"a MIRAX slide")
    with pytest.raises(InputError, match=r"slide.mrxs: is .*only from local files. Download it"):
        open_slide(f"{server.url}/slide.mrxs")


def test_ome_tiff_in_several_files_is_refused(server: FileServer, tmp_path: Path) -> None:
    first = tmp_path / "served" / "part-0.ome.tif"
    pixels = textured(200, 200)
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="200" SizeY="200" '
        'SizeC="3" SizeZ="1" SizeT="1"><Channel ID="C:0" SamplesPerPixel="3"/><TiffData IFD="0">'
        '<UUID FileName="{}">urn:uuid:x</UUID></TiffData></Pixels></Image></OME>'
    )
    for name in ("part-1.ome.tif", "/etc/passwd", "renamed.ome.tif"):
        tifffile.imwrite(first, pixels, description=xml.format(name), metadata=None, tile=(64, 64))
        (server.folder / "part-1.ome.tif").write_bytes(b"the other part")
        if name == "part-1.ome.tif":
            with pytest.raises(InputError, match=r"the slide is in several files. Download them"):
                open_slide(f"{server.url}/part-0.ome.tif")
        else:
            with open_slide(f"{server.url}/part-0.ome.tif") as slide:
                np.testing.assert_array_equal(slide.read_region(0, 0, 200, 200), pixels)


def test_other_file_systems(pyramid: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/slides/slide.tif", pyramid.read_bytes())
    write_zarr(pyramid.parent / "image.zarr", textured(300, 400), 3)
    memory.put(str(pyramid.parent / "image.zarr"), "/slides/image.zarr", recursive=True)
    for name in ("slide.tif", "image.zarr"):
        with (
            open_slide(f"memory://slides/{name}") as remote,
            open_slide(pyramid.parent / name) as local,
        ):
            assert_same(remote, local)
    memory.pipe("/slides/other.tif", pyramid.read_bytes())
    with open_slide("memory://slides/other.tif") as slide:
        memory.pipe("/slides/other.tif", pyramid.read_bytes())
        with pytest.raises(RemoteError, match="was changed while it was read"):
            slide.read_region(0, 0, SIDE // 2, SIDE)
    with pytest.raises(InputError, match=r"memory://slides/none.tif: there is no such file"):
        open_slide("memory://slides/none.tif")


def test_urls_that_lead_elsewhere(pyramid: Path) -> None:
    with open_slide(pyramid.as_uri()) as slide:
        assert slide.path == pyramid
    with pytest.raises(RemoteError, match="give the URL of the slide itself"):
        open_slide(f"simplecache::{pyramid.as_uri()}")
    with pytest.raises(InputError, match=r"nothing://a/b.tif cannot be read: .*nothing"):
        open_slide("nothing://a/b.tif")


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(InputError, match=r"pip install 'napari-nh2st\[s3\]'"):
        open_slide("s3://bucket/slide.svs")


def test_a_path_keeps_what_it_is() -> None:
    path = RemotePath("s3://bucket/folder/slide%201.svs?key=1")
    assert (path.name, path.stem, path.suffix) == ("slide 1.svs", "slide 1", ".svs")
    assert (path.parent / "x.tif").url == "s3://bucket/folder/x.tif?key=1"
    assert path == RemotePath(path.url) != RemotePath("s3://bucket/folder/slide%201.svs")
