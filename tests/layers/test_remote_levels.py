"""Slides at URLs in the viewer: what has not come holds nobody up."""

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from array_slides import textured, write_tiff
from file_server import FileServer
from napari_nh2st.errors import InputError
from napari_nh2st.layers import coarse_levels, remote_levels
from napari_nh2st.layers.reader import get_reader, read_slide
from napari_nh2st.remote import block_cache
from napari_nh2st.session import Session
from napari_nh2st.widgets import open_url
from waiting import wait_until

PIXELS = textured(1400, 1500)


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> ViewerModel:
    monkeypatch.setattr(coarse_levels, "_has_event_loop", threading.Event())
    viewer = ViewerModel()
    Session.of(viewer)
    coarse_levels.use_event_loop()
    return viewer


@pytest.fixture
def url(server: FileServer) -> Iterator[str]:
    write_tiff(server.folder / "slide.tif", PIXELS, PIXELS[::4, ::4])
    yield f"{server.url}/slide.tif"
    server.hangs = False


def opened(viewer: ViewerModel, url: str) -> Image:
    ((levels, attributes, _),) = read_slide(url)
    return viewer.add_image(levels, **attributes)


def test_what_has_not_come_is_drawn_from_the_coarsest_level(
    viewer: ViewerModel, server: FileServer, url: str
) -> None:
    layer = opened(viewer, url)
    assert layer.name == "slide"
    server.hangs = True
    blurred = layer.data[0][100:300, 200:500]
    np.testing.assert_array_equal(blurred[::4, ::4], PIXELS[100:300:4, 200:500:4])
    np.testing.assert_array_equal(blurred[1::4, 3::4], blurred[::4, ::4])
    server.hangs = False
    wait_until(lambda: np.array_equal(layer.data[0][100:300, 200:500], PIXELS[100:300, 200:500]))
    # Across chunks, and as plugins may ask.
    wait_until(lambda: np.array_equal(layer.data[0][5, ..., 1], PIXELS[5, :, 1]))
    server.hangs = True
    np.testing.assert_array_equal(layer.data[0][100:300, 200:500], PIXELS[100:300, 200:500])


def test_in_other_threads_and_as_a_whole_it_is_what_it_is(
    viewer: ViewerModel, server: FileServer, url: str
) -> None:
    layer = opened(viewer, url)
    read: list[object] = []
    thread = threading.Thread(target=lambda: read.append(layer.data[0][900:1000, 0:80, :]))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(read[0], PIXELS[900:1000, :80])
    np.testing.assert_array_equal(np.asarray(layer.data[0]), PIXELS)


def test_layers_are_drawn_again_when_something_came(
    viewer: ViewerModel, server: FileServer, url: str
) -> None:
    layer = opened(viewer, url)
    drawn: list[object] = []
    layer.events.set_data.connect(drawn.append)
    assert not np.array_equal(layer.data[0][:100, :100], PIXELS[:100, :100])
    wait_until(lambda: bool(drawn))
    np.testing.assert_array_equal(layer.data[0][:100, :100], PIXELS[:100, :100])


def test_a_network_that_is_away_is_one_warning_and_tried_again(
    viewer: ViewerModel, server: FileServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the fingerprint was made from, of so small a slide nearly all, is asked for again.
    monkeypatch.setenv(block_cache.VARIABLE, "0")
    monkeypatch.setattr(block_cache, "_MEMORY", 0)
    said: list[str] = []
    monkeypatch.setattr(remote_levels, "show_warning", said.append)
    layer = opened(viewer, url)
    server.status = 503
    for row in (0, 1100):
        assert layer.data[0][row : row + 100, :100].shape == (100, 100, 3)
    wait_until(lambda: bool(said))
    assert "127.0.0.1 answers 503" in said[0]
    assert said[0].endswith("Move the view to try again.")
    server.status = 0
    wait_until(lambda: np.array_equal(layer.data[0][:100, :100], PIXELS[:100, :100]))
    assert len(said) == 1


def test_only_some_chunks_stay_in_memory(
    viewer: ViewerModel, server: FileServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_levels, "_IN_MEMORY", 4 * 2**20)
    layer = opened(viewer, url)
    for rows in (slice(0, 50), slice(1300, 1350), slice(0, 50)):
        place = (rows, slice(0, 90))
        wait_until(lambda place=place: np.array_equal(layer.data[0][place], PIXELS[place]))
    assert layer.data[0]._levels._bytes <= 4 * 2**20


def test_what_comes_when_its_layer_is_gone_is_no_error(
    viewer: ViewerModel, server: FileServer, url: str
) -> None:
    layer = opened(viewer, url)
    server.hangs = True
    assert layer.data[0][:10, :10].shape == (10, 10, 3)
    server.hangs = False
    wait_until(lambda: bool(remote_levels._undelivered), deliver=False)
    viewer.layers.clear()
    del layer
    gc.collect()
    wait_until(lambda: not remote_levels._undelivered)


def test_the_reader_takes_urls(server: FileServer, url: str) -> None:
    reader = get_reader(url)
    assert reader is not None
    ((levels, *_),) = reader(url)
    np.testing.assert_array_equal(np.asarray(levels[0]), PIXELS)
    with pytest.raises(InputError, match=r"none.svs: there is no such file"):
        reader(f"{server.url}/none.svs")


def test_the_dialog_opens_what_is_a_url(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(open_url, "show_error", said.append)
    monkeypatch.setattr(ViewerModel, "open", lambda _, url, plugin: asked.append((url, plugin)))
    open_url.open_slide_at(viewer, "slide.svs")
    assert said == ["slide.svs is not a URL: a URL begins with https:// or s3://."]
    open_url.open_slide_at(viewer, "s3://bucket/slide.svs")
    assert asked == [("s3://bucket/slide.svs", "napari-nh2st")]
