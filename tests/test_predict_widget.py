"""The Predict widget: what is chosen reaches the core, and what comes back is shown."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

import napari_nh2st.inference
from array_slides import write_tiff
from napari_nh2st.inference import PredictSettings
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.widgets import predict as predict_module
from napari_nh2st.widgets.predict import PredictWidget
from small_models import small_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(training={"trained": False, "summary": "UNTRAINED"}), folder)
    return folder


@pytest.fixture
def slide_path(tmp_path: Path) -> Path:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    return write_tiff(tmp_path / "section.tif", pixels)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    shown: dict[str, list[str]] = {"error": [], "warning": [], "info": []}
    for kind, texts in shown.items():
        monkeypatch.setattr(predict_module, f"show_{kind}", texts.append)
    return shown


@pytest.fixture
def viewer(qtbot: QtBot) -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield viewer
    viewer.layers.clear()


@pytest.fixture
def widget(qtbot: QtBot, viewer: ViewerModel, model_folder: Path) -> PredictWidget:
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.setCurrentText(str(model_folder))
    return widget


def finished(widget: PredictWidget) -> Callable[[], None]:
    def check() -> None:
        assert widget._control is None

    return check


def open_in(viewer: ViewerModel, path: Path, mpp: float | None = 1.0) -> None:
    from napari_nh2st._reader import read_slide

    ((data, attributes, _),) = read_slide(path, mpp=mpp)
    viewer.add_image(data, **attributes)


def test_every_control_reaches_the_settings(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    model_folder: Path,
) -> None:
    arrived: list[Any] = []

    def remember(slide: Any, model: Any, settings: Any, focus: Any) -> Iterator[Any]:
        arrived.extend([slide, model, settings, focus.read()[0]])
        yield from ()

    def closable(*args: Any, **kwargs: Any) -> Any:
        return (event for event in remember(*args, **kwargs))

    monkeypatch.setattr(napari_nh2st.inference, "predict_events", closable)
    open_in(viewer, slide_path, mpp=1.0)
    viewer.layers[0].corner_pixels = np.array([[10, 20], [110, 220]])
    widget.mpp.setValue(0.8)
    widget.genes.setText("CD74, VIM")
    widget.pitch.setValue(48)
    widget.device.setCurrentText("cpu")
    widget.run.click()
    qtbot.waitUntil(finished(widget), timeout=20_000)
    slide, model, settings, focus = arrived
    assert slide.path == slide_path
    assert slide.mpp == (0.8, 0.8)
    assert model.source == str(model_folder)
    assert settings == PredictSettings(
        genes=("CD74", "VIM"), pitch_um=48, device="cpu", order="coarse-to-fine"
    )
    assert focus is not None
    assert len(focus) == 4


def test_untouched_controls_mean_the_defaults(widget: PredictWidget) -> None:
    assert PredictSettings(**widget.chosen_settings()) == PredictSettings(order="coarse-to-fine")


def test_a_run_fills_the_heatmap_and_leaves_a_prediction(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    open_in(viewer, slide_path)
    widget.start()
    assert not widget.run.isEnabled()
    assert widget.cancel.isEnabled()
    qtbot.waitUntil(finished(widget), timeout=60_000)
    assert messages["error"] == []
    assert any("UNTRAINED" in text for text in messages["warning"])
    assert widget.prediction is not None
    assert np.isfinite(widget.prediction.X).all()
    heatmap_layer = viewer.layers[-1]
    assert "ERBB2" in heatmap_layer.name
    assert "UNTRAINED" in heatmap_layer.name
    assert np.isfinite(heatmap_layer.data).sum() == widget.prediction.n_obs
    assert widget.slide_picker.value is viewer.layers[0], "the slide stays chosen"

    widget.gene.setCurrentText("CD74")
    assert "CD74" in heatmap_layer.name
    shown = np.sort(heatmap_layer.data[np.isfinite(heatmap_layer.data)])
    np.testing.assert_array_equal(shown, np.sort(widget.prediction[:, "CD74"].X.ravel()))

    widget.export_to(tmp_path / "exported")
    read = anndata.read_h5ad(tmp_path / "exported.h5ad")
    np.testing.assert_array_equal(read.X, widget.prediction.X)
    assert read.uns["nh2st"]["model"]["trained"] == False  # noqa: E712  a numpy bool


def test_cancel_stops_and_keeps_what_is_done(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.pitch.setValue(4)  # thousands of tiles: it cannot be done before it is stopped

    def some_are_done() -> None:
        assert widget.bar.value() > 0

    widget.start()
    qtbot.waitUntil(some_are_done, timeout=60_000)
    widget.cancel.click()
    qtbot.waitUntil(finished(widget), timeout=60_000)
    assert widget.prediction is not None
    done = np.isfinite(widget.prediction.X[:, 0])
    assert 0 < done.sum() < widget.prediction.n_obs
    assert "Stopped" in widget.status.text()
    status = widget.prediction.obs["status"].to_numpy()
    assert set(status[done]) == {"predicted"}
    assert set(status[~done]) == {"pending"}
    assert widget.run.isEnabled()


def test_a_slide_without_a_known_resolution_is_asked_for_it(
    viewer: ViewerModel, widget: PredictWidget, slide_path: Path, messages: dict[str, list[str]]
) -> None:
    open_in(viewer, slide_path, mpp=None)
    widget.start()
    assert len(messages["error"]) == 1
    assert "µm/px" in messages["error"][0]
    assert widget.run.isEnabled()


def test_without_a_slide_it_says_so(widget: PredictWidget, messages: dict[str, list[str]]) -> None:
    widget.start()
    assert messages["error"] == ["There is no image layer: open a slide first."]


def test_an_image_that_is_no_slide_is_named(
    viewer: ViewerModel, widget: PredictWidget, messages: dict[str, list[str]]
) -> None:
    viewer.add_image(np.zeros((20, 20, 3), np.uint8), rgb=True, name="painted")
    widget.start()
    assert "'painted'" in messages["error"][0]


def test_a_wrong_model_is_a_notification(
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    open_in(viewer, slide_path)
    widget.model.setCurrentText("no-such-model")
    assert "no-such-model" in widget.model_note.text()
    widget.start()
    assert "no-such-model" in messages["error"][0]
    assert widget._control is None


def test_what_fails_in_the_run_is_a_notification(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    open_in(viewer, slide_path)
    widget.genes.setText("CD47")
    widget.start()
    qtbot.waitUntil(finished(widget), timeout=60_000)
    assert "CD74" in messages["error"][0], "the nearest name is offered"
    assert widget.run.isEnabled()


def test_the_model_note_says_untrained(widget: PredictWidget) -> None:
    assert "UNTRAINED" in widget.model_note.text()


def test_widgets_and_reader_import_without_torch() -> None:
    code = (
        "import sys, napari, napari_nh2st, napari_nh2st._reader, napari_nh2st.sample_data, "
        "napari_nh2st.widgets.predict; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
