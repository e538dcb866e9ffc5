"""The plugin as napari finds it: manifest, reader, samples, and a real window."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from npe2 import PluginManifest
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from napari_nh2st.layers import coarse_levels
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.slide import Slide
from small_models import small_model


def stained_pixels(height: int = 1200, width: int = 1000) -> np.ndarray:
    pixels = np.full((height, width, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[200:1000, 200:800] = random.normal((190, 90, 150), 25, (800, 600, 3)).clip(0, 255)
    return pixels


def test_the_manifest_names_functions_that_are_there() -> None:
    manifest = PluginManifest.from_distribution("napari-nh2st")
    manifest.validate_imports()
    assert {sample.key for sample in manifest.contributions.sample_data} == {"real", "synthetic"}
    names = [widget.display_name for widget in manifest.contributions.widgets]
    assert names == ["Predict", "Genes", "Compare", "Train", "Cohort"]
    in_menu = [item.command for item in manifest.contributions.menus["napari/layers/visualize"]]
    assert in_menu == [widget.command for widget in manifest.contributions.widgets]


@pytest.mark.parametrize("name", ["notes.txt", "a folder"])
def test_a_folder_that_is_no_zarr_is_left_to_others(tmp_path: Path, name: str) -> None:
    (tmp_path / "a folder").mkdir()
    reader = get_reader(str(tmp_path / "a folder"))
    assert reader is None
    assert get_reader(["a.svs", "b.svs"]) is None


def test_a_pyramid_opens_lazily_in_micrometres(tmp_path: Path) -> None:
    pixels = stained_pixels()
    path = write_tiff(tmp_path / "section.tif", pixels, pixels[::2, ::2].copy())
    reader = get_reader(str(path))
    assert reader is not None
    ((levels, attributes, kind),) = reader(str(path))
    assert kind == "image"
    assert [level.shape for level in levels][:2] == [(1200, 1000, 3), (600, 500, 3)]
    np.testing.assert_array_equal(np.asarray(levels[0][150:300, 150:300]), pixels[150:300, 150:300])
    assert attributes["units"] == ("pixel", "pixel"), "this file does not record µm/px"
    assert attributes["metadata"][SLIDE_KEY].path == path


@pytest.mark.viewer
def test_open_predict_and_see_in_a_real_window(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    save_model_folder(small_model(mpp=4.0, pitch_um=128.0), folder)
    path = write_tiff(tmp_path / "section.tif", stained_pixels())
    viewer = make_napari_viewer(show=True)
    (slide_layer,) = viewer.open(path, plugin="napari-nh2st")
    _, widget = viewer.window.add_plugin_dock_widget("napari-nh2st", "Predict")
    widget.model.choose(str(folder))
    widget.slide.mpp.setValue(1.0)
    assert widget.slide.picker.value is slide_layer

    def done() -> None:
        assert not widget.is_running

    widget.start()
    qtbot.waitUntil(done, timeout=180_000)
    assert f"{widget.prediction.n_obs} tiles in" in widget.status.text()
    # A slide without a pyramid: the coarse levels take the place of their placeholders.
    slide = slide_layer.metadata[SLIDE_KEY]
    qtbot.waitUntil(lambda: slide.coarse_ready, timeout=120_000)

    heatmap = widget.heatmap.layer
    heatmap.colorbar.visible = False
    heatmap.opacity, heatmap.colormap = 1.0, "green"
    heatmap.contrast_limits = (-1e9, 0)  # every tile is at the colormap's bright end
    viewer.fit_to_view()
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    green = (picture[..., 1] > 200) & (picture[..., 0] < 60)
    rows, _ = np.nonzero(green)
    assert len(rows), "the heatmap cannot be seen"
    # Tissue lies in the slide's middle: around it there is no tile, and the glass shows through.
    glass = (picture > 230).all(-1)
    assert glass.any(), "NaN is not transparent"
    # The slide's extent in the picture is that of glass and tiles together.
    shown = np.nonzero(green | glass)
    height = shown[0].max() - shown[0].min()
    center = (rows.min() + rows.max()) / 2 - shown[0].min()
    assert center / height == pytest.approx(0.5, abs=0.1)


@pytest.mark.viewer
@pytest.mark.parametrize("how", ["dock closed", "viewer closed"])
def test_no_run_outlives_its_window(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "model"
    save_model_folder(small_model(mpp=4.0, pitch_um=128.0), folder)
    viewer = make_napari_viewer()
    viewer.open(write_tiff(tmp_path / "section.tif", stained_pixels()), plugin="napari-nh2st")
    dock, widget = viewer.window.add_plugin_dock_widget("napari-nh2st", "Predict")
    widget.model.choose(str(folder))
    widget.slide.mpp.setValue(1.0)
    widget.settings.pitch.setValue(4)  # thousands of tiles: it cannot be done before it is stopped
    widget.start()
    run, worker = widget.runner.run, widget.runner.thread_of_job._worker
    child = psutil.Process(widget.process.ready().processes[0].pid)
    dock.close()  # napari's "hide"
    assert not run.stopped()
    connected = len(viewer.layers.events.inserted.callbacks)
    with qtbot.waitSignal(worker.finished, timeout=180_000):
        if how == "dock closed":
            dock.destroyOnClose()  # napari's ×
            assert len(viewer.layers.events.inserted.callbacks) < connected
            viewer.add_image(np.zeros((4, 4)))
        else:
            viewer.close()
        assert run.stopped() or how == "viewer closed"
    child.wait(timeout=60)


@pytest.mark.viewer
def test_coarse_levels_are_shown_in_a_viewer_that_is_not_the_current_one(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    make_napari_viewer()  # the current one
    path = write_tiff(tmp_path / "section.tif", stained_pixels())
    (layer,) = viewer.open(path, plugin="napari-nh2st")

    def real() -> bool:
        return bool(np.asarray(layer.data[1]).std() > 0)

    qtbot.waitUntil(real, timeout=120_000)


@pytest.mark.viewer
def test_coarse_levels_are_made_no_longer_than_their_layer_is_there(
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    stops: list[threading.Event] = []
    ended = threading.Event()

    def build(slide: Slide, note: Any, stop: threading.Event) -> None:
        stops.append(stop)
        stop.wait(60)
        ended.set()

    monkeypatch.setattr(Slide, "build_coarse_levels", build)
    viewer = make_napari_viewer()
    path = write_tiff(tmp_path / "section.tif", stained_pixels())
    viewer.open(path, plugin="napari-nh2st")
    # Two reports: before the layer was seen it cannot be missed.
    reports: list[int] = []
    monkeypatch.setattr(coarse_levels.progress, "update", lambda bar, n: reports.append(n))
    qtbot.waitUntil(lambda: len(reports) > 1, timeout=120_000)
    assert not stops[0].is_set()
    viewer.layers.clear()
    qtbot.waitUntil(ended.is_set, timeout=120_000)
    assert stops[0].is_set()
