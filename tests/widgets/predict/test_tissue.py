"""Tissue that was painted over the slide is what the Predict dock predicts."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from local_jobs import LocalJobs
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.tissue import tissue_layer_of
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.predict.widget import PredictWidget


@pytest.fixture
def slide_layer(viewer: ViewerModel, tmp_path: Path) -> Image:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    ((data, found, _),) = read_slide(write_tiff(tmp_path / "section.tif", pixels), mpp=2.0)
    return viewer.add_image(data, **found)


@pytest.fixture
def widget(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    model_folder: Path,
    slide_layer: Image,
) -> PredictWidget:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model_folder))
    return widget


def run(qtbot: QtBot, widget: PredictWidget) -> int:
    widget.start()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    assert widget.prediction is not None
    return widget.prediction.n_obs


def test_the_run_takes_the_tissue_that_is_painted(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    found = run(qtbot, widget)
    assert widget.prediction.uns["nh2st"]["tissue"]["origin"] == "found"
    widget.tissue.click()
    qtbot.waitUntil(lambda: tissue_layer_of(viewer, slide_layer) is not None)
    layer = tissue_layer_of(viewer, slide_layer)
    assert viewer.layers.selection.active == layer
    assert widget.tissue.text() == "Tissue: as painted"
    assert widget.slide.layer == slide_layer
    assert run(qtbot, widget) == found, "as it was found"

    rows = np.flatnonzero(layer.data.any(1))
    layer.data[rows[len(rows) // 2] :] = 0
    layer.refresh()
    half = run(qtbot, widget)
    assert half < 0.7 * found
    assert widget.prediction.uns["nh2st"]["tissue"]["origin"] == "given"
    below = widget.prediction.obs["pxl_row_in_fullres"].max()
    assert below < 300

    layer.data[84::4, ::4] = 1  # pieces that fill a sixteenth of a tile
    assert run(qtbot, widget) == half
    assert "of the tissue has no tile" in widget.status.text()

    layer.data[:] = 0
    widget.start()
    assert not widget.is_running
    assert widget.status.text().startswith("Nothing is painted in layer 'section · tissue'")
    viewer.layers.remove(layer)
    assert widget.tissue.text() == "Show tissue"
    assert run(qtbot, widget) == found


def test_the_button_shows_the_layer_that_is_there(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    widget.tissue.click()
    qtbot.waitUntil(lambda: tissue_layer_of(viewer, slide_layer) is not None)
    layer = tissue_layer_of(viewer, slide_layer)
    layer.visible = False
    viewer.layers.selection.active = slide_layer
    widget.tissue.click()
    assert layer.visible
    assert viewer.layers.selection.active == layer
    assert len(viewer.layers) == 2
