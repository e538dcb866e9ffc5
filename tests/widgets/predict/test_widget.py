"""The Predict widget: what is chosen reaches the core, and what comes back is shown."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.layers._source import layer_source
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QFileDialog

import napari_nh2st.inference
from array_slides import write_tiff
from local_jobs import LocalJobs
from napari_nh2st.cache import cache_folder
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings
from napari_nh2st.inference.events import TilesDone
from napari_nh2st.layers.keys import PREDICTION_KEY, SLIDE_KEY
from napari_nh2st.layers.writer import write_prediction
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.session import Session
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.widgets import child_jobs, export_button, slide_choice
from napari_nh2st.widgets.predict.region_picker import IN_VIEW, WHOLE
from napari_nh2st.widgets.predict.widget import PredictWidget
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
def widget(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, model_folder: Path
) -> PredictWidget:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model_folder))
    return widget


def finished(widget: PredictWidget) -> Callable[[], None]:
    def check() -> None:
        assert not widget.is_running

    return check


def n_shown(widget: PredictWidget) -> int:
    """Tiles whose values the heatmap shows: all that cover some tissue."""
    heatmap = widget.heatmap
    assert heatmap is not None
    numbers = heatmap.raster.image(np.arange(float(heatmap.prediction.n_obs)))
    shown = np.unique(numbers[np.isfinite(heatmap.layer.data)])
    raster = heatmap.raster
    without = 0 if raster.parts is None else int((~raster.parts.any((1, 2))).sum())
    assert len(shown) + without == np.isfinite(heatmap.image.values).sum()
    return int(np.isfinite(heatmap.image.values).sum())


def open_in(viewer: ViewerModel, path: Path, mpp: float | None = 1.0) -> None:
    from napari_nh2st.layers.reader import read_slide

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

    def remember(
        slide: Any, model: Any, settings: Any, tissue: Any, focus: Any, kept: Any
    ) -> Iterator[Any]:
        assert tissue is None
        arrived.extend([slide, model, settings, focus.read()[0], kept])
        yield from ()

    def closable(*args: Any, **kwargs: Any) -> Any:
        return (event for event in remember(*args, **kwargs))

    monkeypatch.setattr(napari_nh2st.inference, "predict_events", closable)
    open_in(viewer, slide_path, mpp=1.0)
    widget.slide.mpp.setValue(0.8)
    viewer.canvas.size = (200, 400)
    viewer.scene.camera.zoom = 2 / 0.8  # two pixels of the canvas for one of the slide
    viewer.scene.camera.center = (0.8 * 59.5, 0.8 * 119.5)
    widget.settings.genes.line.setText("CD74, VIM")
    widget.settings.pitch.setValue(48)
    widget.settings.device.setCurrentText("cpu")
    widget.settings.min_tissue.setValue(0.6)
    widget.settings.all_tiles.setChecked(True)
    widget.settings.any_stain.setChecked(True)
    widget.region.setCurrentText(IN_VIEW)
    widget.run.click()
    qtbot.waitUntil(finished(widget), timeout=20_000)
    slide, model, settings, focus, kept = arrived
    np.testing.assert_allclose(settings.region, [[(10, 20), (10, 220), (110, 220), (110, 20)]])
    np.testing.assert_allclose(focus, (10, 20, 110, 220))
    assert slide.path == slide_path
    assert slide.mpp == (0.8, 0.8)
    assert model.source == str(model_folder)
    assert settings == PredictSettings(
        genes=("CD74", "VIM"),
        region=settings.region,
        pitch_um=48,
        min_tissue=0.6,
        tissue_only=False,
        device="cpu",
        order="coarse-to-fine",
        any_stain=True,
    )
    assert kept == cache_folder("predictions")


def test_untouched_controls_mean_the_defaults(
    viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    chosen = widget.chosen_settings(viewer.layers[0])
    assert chosen == PredictSettings(order="coarse-to-fine")


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
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert messages["error"] == []
    assert any("UNTRAINED" in text for text in messages["warning"])
    assert widget.prediction is not None
    assert np.isfinite(widget.prediction.X).all()
    heatmap_layer = viewer.layers[-1]
    assert "ERBB2" in heatmap_layer.name
    assert "UNTRAINED" in heatmap_layer.name
    assert n_shown(widget) == widget.prediction.n_obs
    assert widget.slide.picker.value is viewer.layers[0], "the slide stays chosen"

    widget.gene.setCurrentText("CD74")
    assert "CD74" in heatmap_layer.name
    values = widget.prediction[:, "CD74"].X.ravel()
    assert widget.heatmap is not None
    np.testing.assert_array_equal(heatmap_layer.data, widget.heatmap.raster.image(values))

    widget.export.write(tmp_path / "exported.h5ad")
    assert not widget.export.isEnabled(), "one export at a time"
    qtbot.waitUntil(widget.export.isEnabled, timeout=20_000)
    assert messages["info"] == [f"Wrote {tmp_path / 'exported.h5ad'}"]
    read = anndata.read_h5ad(tmp_path / "exported.h5ad")
    np.testing.assert_array_equal(read.X, widget.prediction.X)
    assert read.uns["nh2st"]["model"]["trained"] == False  # noqa: E712  a numpy bool


def test_cancel_stops_and_keeps_what_is_done(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.settings.pitch.setValue(4)  # thousands of tiles: it cannot be done before it is stopped

    def some_are_done() -> None:
        assert widget.bar.value() > 0

    widget.start()
    qtbot.waitUntil(some_are_done, timeout=180_000)
    widget.cancel.click()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert widget.prediction is not None
    done = np.isfinite(widget.prediction.X[:, 0])
    assert 0 < done.sum() < widget.prediction.n_obs
    assert "Stopped" in widget.status.text()
    status = widget.prediction.obs["status"].to_numpy()
    assert set(status[done]) == {"predicted"}
    assert set(status[~done]) == {"pending"}
    assert widget.run.isEnabled()


def test_a_run_whose_heatmap_is_removed_is_stopped_and_goes_on_with_the_next(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
) -> None:
    open_in(viewer, slide_path)
    widget.settings.pitch.setValue(4)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=180_000)
    viewer.layers.remove(viewer.layers[-1])
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert widget.status.text().startswith("The heatmap was removed. Stopped at ")
    assert widget.bar.value() < widget.bar.maximum()
    assert widget.run.isEnabled()
    said: list[str] = []
    monkeypatch.setattr(widget.status, "setText", said.append)  # the next tiles say more at once
    widget.start()
    qtbot.waitUntil(lambda: widget.heatmap is not None, timeout=180_000)
    assert any("computed before" in text for text in said)
    widget.stop()
    qtbot.waitUntil(finished(widget), timeout=180_000)


def test_a_run_whose_heatmap_was_duplicated_goes_on_in_the_duplicate(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.settings.pitch.setValue(8)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=180_000)
    layer = viewer.layers[-1]
    data, attributes, kind = layer.as_layer_data_tuple()
    copy = viewer.add_layer(Layer.create(data.copy(), attributes | {"name": "copy"}, kind))
    viewer.layers.remove(layer)
    assert widget.heatmap is not None
    assert widget.heatmap.is_filling
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert "tiles in" in widget.status.text()
    assert n_shown(widget) == widget.prediction.n_obs
    np.testing.assert_array_equal(
        copy.data, widget.heatmap.raster.image(widget.heatmap.image.values)
    )
    assert not widget.heatmap.is_filling
    assert widget.export.isEnabled()


def test_a_run_whose_slide_is_removed_before_it_shows_anything_is_stopped(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.settings.pitch.setValue(4)
    widget.start()
    viewer.layers.clear()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert widget.status.text().startswith("section: Stopped")


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
    widget.model.choose("no-such-model")
    assert "no-such-model" in widget.model.note.text()
    widget.start()
    assert "no-such-model" in messages["error"][0]
    assert not widget.is_running


def test_a_gene_the_panel_lacks_is_refused_and_the_nearest_taken_with_a_click(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    open_in(viewer, slide_path)
    widget.settings.genes.line.setText("VIM, CD47")
    widget.start()
    assert not widget.is_running
    (message,) = messages["error"]
    assert message.startswith("CD47 is not in the model's panel (did you mean CD74?).")
    assert widget.status.text() == message
    assert widget.run.isEnabled()
    widget.settings.genes.note.linkActivated.emit("CD47")
    assert widget.settings.genes.line.text() == "VIM, CD74"
    assert widget.settings.genes.note.isHidden()
    assert widget.chosen_settings(viewer.layers[0]).genes == ("VIM", "CD74")


def break_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise InputError("The slide has moved.")

    monkeypatch.setattr(napari_nh2st.inference, "predict_events", fail)


def test_what_fails_in_the_run_is_a_notification(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    break_runs(monkeypatch)
    open_in(viewer, slide_path)
    widget.start()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert messages["error"] == ["The slide has moved."]
    assert widget.status.text() == "The slide has moved."
    assert widget.run.isEnabled()


def run(qtbot: QtBot, widget: PredictWidget, pitch_um: float = 100) -> None:
    widget.settings.pitch.setValue(pitch_um)  # few tiles
    widget.start()
    qtbot.waitUntil(finished(widget), timeout=180_000)


def test_what_is_selected_is_exported_and_its_genes_are_offered(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    arrived: list[Any] = []
    monkeypatch.setattr(export_button, "export", lambda *args, **_: arrived.append(args[0]))
    open_in(viewer, slide_path)
    open_in(viewer, slide_path.rename(tmp_path / "two.tif"))
    first_slide, second_slide = viewer.layers
    first_slide.metadata[SLIDE_KEY].path = tmp_path / "two.tif"
    viewer.layers.selection.active = first_slide
    run(qtbot, widget)
    first = widget.heatmap
    assert first is not None
    viewer.layers.selection.active = second_slide
    assert widget.status.text() == "", "it was about the other slide"
    run(qtbot, widget)
    second = widget.heatmap
    assert second is not None
    assert second is not first
    assert (first.layer.visible, second.layer.visible) == (False, True)
    viewer.layers.selection.active = first.layer
    assert widget.heatmap is first
    widget.gene.setCurrentText("VIM")
    assert (first.gene, second.gene) == ("VIM", "ERBB2")
    widget.export.write(tmp_path / "a.csv")
    qtbot.waitUntil(widget.export.isEnabled, timeout=20_000)
    (exported,) = arrived
    assert exported.uns["nh2st"]["shown_gene"] == "VIM", "the first, though the second is newer"
    np.testing.assert_array_equal(exported.X, first.prediction.X)
    first.is_filling = True
    assert not widget.export.isEnabled(), "a run fills it"
    viewer.layers.selection.active = second.layer
    assert widget.export.isEnabled()
    assert widget.gene.currentText() == "ERBB2"
    picker = widget.result.heatmap
    picker.activated.emit(picker.findText(first.layer.name))
    assert (first.layer.visible, second.layer.visible) == (True, False)
    viewer.layers.clear()
    assert not widget.export.isEnabled()
    assert widget.gene.count() == 0


def test_a_widget_that_is_opened_anew_goes_on_with_the_heatmap_that_is_there(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    model_folder: Path,
) -> None:
    open_in(viewer, slide_path)
    viewer.layers[0].name = "a · b"
    widget.settings.pitch.setValue(4)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=180_000)
    widget.stop()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    widget.gene.setCurrentText("VIM")
    layer = viewer.layers[-1]
    widget.close_down()

    another = PredictWidget(viewer)
    qtbot.addWidget(another)
    another.model.choose(str(model_folder))
    another.settings.pitch.setValue(4)
    assert another.gene.currentText() == "VIM"
    assert another.heatmap is not None
    assert another.heatmap.slide_name == "a · b"
    assert another.export.isEnabled()
    viewer.layers.selection.active = viewer.layers[0]
    assert another.run.text() == "Continue"
    another.settings.pitch.setValue(100)
    assert another.run.text() == "Run"
    begun = another.heatmap.prediction
    for _ in range(2):  # another pitch: beside what was begun, then in its own place
        another.start()
        qtbot.waitUntil(finished(another), timeout=180_000)
        assert len(viewer.layers) == 3
        assert viewer.layers[1] is layer
        assert layer.metadata[PREDICTION_KEY] is begun
    assert np.isfinite(another.heatmap.prediction.X).all()


def test_a_pitch_that_does_not_fit_is_said_before_the_run_and_not_again(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    save_model_folder(small_model("average"), tmp_path / "average")
    widget.model.choose(str(tmp_path / "average"))
    open_in(viewer, slide_path)
    assert "The pitch" not in widget.facts.notice.text()
    widget.settings.pitch.setValue(100)
    assert "The pitch of 100 µm differs" in widget.facts.notice.text()
    run(qtbot, widget)
    qtbot.wait(0)
    assert messages["warning"] == []


def test_without_keeping_a_stopped_run_does_not_say_that_it_is_kept(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.settings.keep.setChecked(False)
    widget.settings.pitch.setValue(4)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=180_000)
    widget.stop()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert widget.status.text().endswith("tiles; the results are shown, but not kept.")
    assert widget.run.text() == "Run"


def test_a_given_resolution_stays_with_its_layer(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    open_in(viewer, slide_path, mpp=None)
    widget.slide.mpp.setValue(0.8)
    run(qtbot, widget)
    run(qtbot, widget)
    assert messages["error"] == []
    assert widget.prediction is not None
    assert widget.prediction.uns["nh2st"]["slide"]["mpp"] == pytest.approx(0.8)
    open_in(viewer, slide_path, mpp=1.5)
    widget.slide.picker.value = viewer.layers[-1]
    assert widget.slide.mpp.value() == 1.5
    widget.slide.picker.value = viewer.layers[0]
    assert widget.slide.mpp.value() == 0.8


def test_a_failed_run_leaves_the_former_prediction_and_a_quiet_bar(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
) -> None:
    open_in(viewer, slide_path)
    run(qtbot, widget)
    heatmap, prediction = widget.heatmap, widget.prediction
    assert heatmap is not None
    break_runs(monkeypatch)
    run(qtbot, widget)
    assert len(messages["error"]) == 1
    assert (widget.bar.minimum(), widget.bar.maximum()) == (0, 1), "it still looks busy"
    assert widget.heatmap is heatmap
    assert widget.prediction is prediction
    widget.gene.setCurrentText("VIM")
    assert "VIM" in heatmap.layer.name


def test_a_run_that_fails_midway_leaves_a_map_of_what_is_done(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_path: Path,
    messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    whole = napari_nh2st.inference.predict_events

    def fail_midway(*args: Any, **options: Any) -> Iterator[Any]:
        for event in whole(*args, **options):
            yield event
            if isinstance(event, TilesDone):
                raise OSError("The disk has gone.")

    monkeypatch.setattr(napari_nh2st.inference, "predict_events", fail_midway)
    open_in(viewer, slide_path)
    run(qtbot, widget, pitch_um=20)
    assert messages["error"] == [
        "The prediction failed: OSError: The disk has gone. The results are kept: Run continues "
        "from there."
    ]
    heatmap, prediction = widget.heatmap, widget.prediction
    assert heatmap is not None
    assert prediction is not None
    has_value = np.isfinite(prediction.X).any(1)
    assert 0 < has_value.sum() < prediction.n_obs
    np.testing.assert_array_equal(prediction.obs["status"] == "predicted", has_value)
    shown = heatmap.layer.data
    assert np.isclose(
        shown[np.isfinite(shown)].max(), prediction[:, heatmap.gene].X[has_value].max()
    )
    assert not heatmap.is_filling
    write_prediction(str(tmp_path / "half.h5ad"), [heatmap.layer.as_layer_data_tuple()])
    n_missing = prediction.n_obs - has_value.sum()
    assert messages["warning"][-1] == (
        f"{n_missing} of {prediction.n_obs} tiles are not predicted yet: they are saved empty."
    )


def test_a_run_stopped_before_its_first_tile_says_so(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    widget.start()
    widget.stop()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    assert widget.status.text() == "Stopped before the first tile."
    assert widget.bar.maximum() > 0


def test_a_new_run_is_shown_in_the_layer_of_the_former_unless_it_was_renamed(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    predictions = []
    for _ in range(3):
        run(qtbot, widget)
        assert len(viewer.layers) == 2
        assert widget.prediction is not None
        predictions.append(weakref.ref(widget.prediction))
        heatmap = viewer.layers[1]
        if len(predictions) == 1:
            assert widget.result.undo.isHidden(), "there is nothing to go back to"
            first = heatmap
            first.contrast_limits, first.opacity, first.colormap = (0, 9), 0.3, "viridis"
            widget.gene.setCurrentText("EPCAM")
            first.contrast_limits = (0, 9)
            first.visible = False  # as Compare does, which shows its spots in its place
    assert heatmap is first
    assert heatmap.visible
    assert widget.heatmap is not None
    assert heatmap.metadata[PREDICTION_KEY] is widget.heatmap.prediction is widget.prediction
    assert n_shown(widget) == widget.prediction.n_obs
    assert (heatmap.opacity, heatmap.colormap.name) == (0.3, "viridis")
    assert heatmap.contrast_limits == [0, 9]
    assert widget.gene.currentText() == "EPCAM"
    assert "EPCAM" in heatmap.name
    widget.process.ready().events.clear()  # those of the tests
    gc.collect()
    assert predictions[0]() is None, "it is kept in memory"
    assert predictions[1]() is not None, "to go back to"
    viewer.layers[1].name = "to keep"
    widget.gene.setCurrentText("VIM")
    assert viewer.layers[1].name == "to keep"
    run(qtbot, widget)
    assert [layer.name for layer in viewer.layers][1] == "to keep"
    assert len(viewer.layers) == 3


def test_a_region_adds_to_the_map_and_undo_takes_it_out_again(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    open_in(viewer, slide_path)
    left, right = (
        viewer.add_shapes([np.array([(0, x), (0, x + 320), (512, x + 320), (512, x)])], name=name)
        for name, x in (("left", 0), ("right", 320))
    )
    places = {}
    for layer in (left, right):
        widget.region.value = layer
        run(qtbot, widget, 60)
        assert widget.prediction is not None
        places[layer.name] = set(widget.prediction.obs_names)
        if layer is left:
            alone = widget.prediction
    heatmap, both = widget.heatmap, widget.prediction
    assert heatmap is not None
    assert both is not None
    assert len(Session.of(viewer).heatmaps) == 1
    assert places["left"] < places["right"], "the union"
    assert both.n_obs == widget.bar.maximum() + alone.n_obs
    assert set(both.obs["status"]) == {"predicted"}
    assert widget.run.text() == "Run"
    assert n_shown(widget) == both.n_obs
    np.testing.assert_array_equal(both[alone.obs_names].X, alone.X)
    assert not widget.result.undo.isHidden()
    widget.result.undo.click()
    assert widget.prediction is alone
    assert n_shown(widget) == alone.n_obs
    widget.result.undo.click()
    assert widget.prediction is both, "undone by mistake"

    widget.region.value = WHOLE
    run(qtbot, widget, 60)
    whole = widget.prediction
    assert whole is not None
    # What was added tile by tile is what one run computes.
    common = both.obs_names.intersection(whole.obs_names)
    assert len(common) == both.n_obs
    np.testing.assert_array_equal(whole[common].X, both[common].X)
    run(qtbot, widget, 30)
    assert [each.prediction is whole for each in Session.of(viewer).heatmaps] == [True, False]
    assert widget.heatmap is not heatmap
    assert widget.heatmap is not None
    assert "30 µm" in widget.heatmap.layer.name
    assert widget.result.undo.isHidden(), "the former map is still there, in its own layer"


def test_out_of_its_dock_the_widget_stops_its_run_and_forgets_the_viewer(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    dock = QDockWidget()
    dock.setWidget(widget)
    open_in(viewer, slide_path)
    widget.settings.pitch.setValue(4)
    widget.start()
    run = widget.runner.run
    assert run is not None
    dock.hide()
    assert not run.stopped()
    widget.setParent(None)
    assert run.stopped()
    qtbot.waitUntil(finished(widget), timeout=180_000)
    open_in(viewer, slide_path)
    assert widget.slide.picker.count() == 2, "the first layer, and none"
    dock.setWidget(widget)
    assert widget.slide.picker.count() == 3
    widget.setParent(None)  # qtbot deletes it


def foreign_layer(viewer: ViewerModel, path: Path, pixels: np.ndarray) -> Image:
    """As napari's own reader opens it: known to us by its source alone."""
    with layer_source(path=str(path)):
        return viewer.add_image(pixels, rgb=True, name="foreign")


def test_a_layer_of_another_reader_must_have_the_size_of_its_slide(
    viewer: ViewerModel, widget: PredictWidget, slide_path: Path, messages: dict[str, list[str]]
) -> None:
    layer = foreign_layer(viewer, slide_path, np.zeros((512, 640, 3), np.uint8))
    widget.slide.mpp.setValue(0.8)
    assert widget.slide.chosen().shape == (512, 640)
    layer.data = np.zeros((256, 320, 3), np.uint8)
    widget.start()
    (message,) = messages["error"]
    assert "256 × 320" in message
    assert "512 × 640" in message


def test_the_slide_of_another_readers_layer_is_opened_once_and_closed_with_it(
    monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    opened: list[Slide] = []
    closed: list[Slide] = []

    def open_and_note(path: Path) -> Slide:
        opened.append(open_slide(path))
        return opened[-1]

    monkeypatch.setattr(slide_choice, "open_slide", open_and_note)
    monkeypatch.setattr(Slide, "close", lambda slide: closed.append(slide))
    layer = foreign_layer(viewer, slide_path, np.zeros((512, 640, 3), np.uint8))
    for _ in range(3):
        viewer.add_image(np.zeros((4, 4)))
    assert len(opened) == 1
    assert closed == []
    widget.slide.in_use = opened[0]
    viewer.layers.remove(layer)
    assert closed == [], "a run reads it"
    widget.slide.release()
    assert closed == opened


def test_the_slide_of_a_run_is_closed_with_the_dock(
    monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    closed: list[Slide] = []
    monkeypatch.setattr(Slide, "close", lambda slide: closed.append(slide))
    dock = QDockWidget()
    dock.setWidget(widget)
    foreign_layer(viewer, slide_path, np.zeros((512, 640, 3), np.uint8))
    widget.slide.in_use = widget.slide.peek()
    widget.setParent(None)
    assert [slide.path for slide in closed] == [slide_path]


def test_what_a_run_ended_with_stays_when_another_slide_is_picked_meanwhile(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_path: Path
) -> None:
    for _ in range(2):
        open_in(viewer, slide_path)
    one, two = viewer.layers
    viewer.layers.selection.active = one
    widget.start()
    viewer.layers.selection.active = two
    qtbot.waitUntil(finished(widget), timeout=180_000)
    said = widget.status.text()
    assert said.startswith(f"{one.name}: ")
    widget.slide.picker.value = two
    widget.settings.min_tissue.setValue(0.3)
    assert widget.status.text() == said
    widget.slide.picker.value = one
    assert widget.status.text() == ""


@pytest.mark.parametrize(
    ("typed", "written", "is_prediction", "refusal"),
    [
        ("out", "out.h5ad", True, None),
        ("out", "out.h5ad", False, "is not a prediction that NH2ST wrote"),
        ("out.svs", "out.svs.h5ad", True, "already exists"),
    ],
)
def test_export_writes_over_predictions_that_it_asked_about_only(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    messages: dict[str, list[str]],
    tmp_path: Path,
    typed: str,
    written: str,
    is_prediction: bool,
    refusal: str | None,
) -> None:
    button = export_button.ExportButton()
    qtbot.addWidget(button)
    button.offer(anndata.AnnData(np.ones((2, 3), np.float32)), "slide")
    button.set_filling(False)
    asked: list[str] = []

    def accept(dialog: QFileDialog) -> int:
        dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
        dialog.setDirectory(str(tmp_path))
        dialog.selectFile(str(tmp_path / typed))
        asked.extend(Path(name).name for name in dialog.selectedFiles())
        return 1

    monkeypatch.setattr(QFileDialog, "exec", accept)
    there = anndata.AnnData(
        np.ones((1, 1), np.float32), uns={"nh2st" if is_prediction else "other": {"version": "1"}}
    )
    there.write_h5ad(tmp_path / written)
    before = (tmp_path / written).read_bytes()
    button.click()
    qtbot.waitUntil(button.isEnabled, timeout=20_000)
    assert (asked == [written]) == (typed == "out")
    if refusal is None:
        assert messages["error"] == []
        assert anndata.read_h5ad(tmp_path / written).shape == (2, 3)
    else:
        assert refusal in messages["error"][0]
        assert (tmp_path / written).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [written]


def test_genes_are_completed_after_the_last_comma(widget: PredictWidget) -> None:
    line, completer = widget.settings.genes.line, widget.settings.genes.completer
    line.setText("VIM, cam")
    completer.setCompletionPrefix(line.text())
    offered = [
        completer.completionModel().index(row, 0).data()
        for row in range(completer.completionCount())
    ]
    assert offered == ["EPCAM"]
    assert completer.currentCompletion() == "VIM, EPCAM"


def test_an_unknown_gene_is_noted_with_the_nearest_before_any_run(
    widget: PredictWidget, tmp_path: Path
) -> None:
    widget.settings.genes.line.setText("VIM, cd47")
    note = widget.settings.genes.note
    assert "cd47" in note.text()
    assert "CD74" in note.text()
    assert not note.isHidden()
    widget.settings.genes.line.setText("VIM, CD74")
    assert note.isHidden()
    folder = tmp_path / "other"
    save_model_folder(small_model(panel=("A", "B", "VIM", "C", "D")), folder)
    widget.model.choose(str(folder))
    assert note.text().startswith("CD74 is not in the model's panel")


def test_a_name_is_not_called_unknown_while_it_may_become_one(
    qtbot: QtBot, widget: PredictWidget
) -> None:
    line, note = widget.settings.genes.line, widget.settings.genes.note
    qtbot.keyClicks(line, "VIM, CD7")
    assert note.isHidden()
    line.editingFinished.emit()
    assert "CD7 is not" in note.text()
    qtbot.keyClicks(line, "x")
    assert "CD7x is not" in note.text(), "no gene of the panel contains it"
    line.selectAll()
    qtbot.keyClick(line, Qt.Key.Key_Delete)
    assert note.isHidden()


def test_devices_that_are_there_are_offered_and_the_others_say_why_not(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, widget: PredictWidget
) -> None:
    there, missing = {"cuda:7": "a GPU", "cpu": "2 threads"}, {"mps": "this is no Apple"}
    monkeypatch.setattr("napari_nh2st.inference.device.available_devices", lambda: there)
    monkeypatch.setattr("napari_nh2st.inference.device.missing_devices", lambda: missing)

    def offered() -> list[str]:
        return [widget.settings.device.itemText(i) for i in range(widget.settings.device.count())]

    assert offered() == ["auto", "cpu"]
    widget.settings.device.showPopup()
    listed = ["auto", "cpu", "cuda:7", "mps: this is no Apple"]
    qtbot.waitUntil(lambda: offered() == listed, timeout=10_000)
    why = widget.settings.device.itemData(3, Qt.ItemDataRole.ToolTipRole)
    assert why == "not on this machine: this is no Apple"
    assert not widget.settings.device.model().item(3).isEnabled()
    widget.settings.device.setCurrentText("cuda:7")
    assert widget.settings.device.currentText() == "cuda:7", "the bare name reaches the settings"
    widget.settings.device.hidePopup()


def test_the_model_note_says_untrained(widget: PredictWidget) -> None:
    assert "UNTRAINED" in widget.model.note.text()


_CLOSED_DURING_LOOK = """
import sys
import threading
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_nh2st.layers.reader import read_slide
from napari_nh2st.widgets.predict import slide_facts
from napari_nh2st.widgets.predict.widget import PredictWidget

began = threading.Event()
look = slide_facts.tissue_facts


def slow_look(*args):
    began.set()
    threading.Event().wait(1)
    return look(*args)


slide_facts.tissue_facts = slow_look
application = QApplication([])
viewer = ViewerModel()
((data, attributes, _),) = read_slide(Path(sys.argv[1]), mpp=1.0)
viewer.add_image(data, **attributes)
widget = PredictWidget(viewer)


def close() -> None:
    if began.is_set():
        widget.close()
        application.quit()


timer = QTimer()
timer.timeout.connect(close)
timer.start(10)
application.exec()
del widget, application
"""


def test_a_window_that_is_closed_while_the_slide_is_looked_at_ends_cleanly(
    slide_path: Path,
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CLOSED_DURING_LOOK, str(slide_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, "deleted" in ended.stderr, "Error" in ended.stderr) == (
        0,
        False,
        False,
    ), ended.stderr


def test_widgets_and_reader_import_without_torch() -> None:
    code = (
        "import sys, napari, napari_nh2st, napari_nh2st.layers.reader, napari_nh2st.sample_data, "
        "napari_nh2st.widgets.predict.widget; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
