"""Detail in the Predict dock: the steps offered, what they cost, and what reaches the core."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from local_jobs import LocalJobs
from napari_nh2st.inference import Detail, PredictSettings, estimate
from napari_nh2st.inference.speed import remember_speed
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.tissue import tissue_layer_of
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.session import remembered
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.region_picker import IN_VIEW, WHOLE
from napari_nh2st.widgets.predict.widget import PredictWidget
from small_models import small_model


@pytest.fixture(scope="module")
def model_of_200(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "of 200"
    save_model_folder(small_model(pitch_um=200.0), folder)
    return folder


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
    model_of_200: Path,
    slide_layer: Image,
) -> PredictWidget:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model_of_200))
    return widget


def offered(widget: PredictWidget) -> list[str]:
    return [widget.detail.itemText(row) for row in range(widget.detail.count())]


def expected(widget: PredictWidget, slide_layer: Image, **changed: Any) -> list[Detail]:
    """What the core says that each step costs."""
    layer = tissue_layer_of(widget.viewer, slide_layer)
    slide = slide_layer.metadata[SLIDE_KEY]
    tissue = None if layer is None else widget.tissue.mended(slide_layer, slide)
    model = load_model_folder(Path(widget.model.text))
    return estimate(slide, model, PredictSettings(**changed), tissue)


def wait_for(qtbot: QtBot, widget: PredictWidget, details: list[Detail]) -> None:
    def is_shown() -> None:
        assert offered(widget)[1:] == [str(detail) for detail in details]

    qtbot.waitUntil(is_shown, timeout=20_000)


def test_each_step_is_offered_with_its_tiles_and_its_time(
    qtbot: QtBot, widget: PredictWidget, slide_layer: Image
) -> None:
    assert offered(widget) == ["Automatic", "200 µm", "100 µm", "50 µm"]
    details = expected(widget, slide_layer)
    assert [detail.step_um for detail in details] == [200, 100, 50]
    assert all(detail.seconds is None for detail in details)
    wait_for(qtbot, widget, details)
    assert offered(widget)[0] == f"Automatic: {details[-1]}"

    assert widget.model.config is not None
    remember_speed(widget.model.config, PredictSettings(), 1.0)
    widget.settings.min_tissue.setValue(0.5)
    details = expected(widget, slide_layer, min_tissue=0.5)
    assert details[0].seconds == details[0].n_tiles
    wait_for(qtbot, widget, details)
    assert details[-1].seconds > 120 > details[1].seconds
    assert offered(widget)[0] == f"Automatic: {details[1]}", "what is done in two minutes"


@pytest.mark.parametrize(("row", "step"), [(0, None), (1, 200.0), (2, 100.0), (3, 50.0)])
def test_the_chosen_step_reaches_the_core_and_the_pitch_stays_the_models(
    qtbot: QtBot, widget: PredictWidget, slide_layer: Image, row: int, step: float | None
) -> None:
    details = expected(widget, slide_layer)
    widget.detail.setCurrentIndex(row)
    settings = PredictSettings(order="coarse-to-fine", step_um=step)
    assert widget.chosen_settings(slide_layer) == settings
    wait_for(qtbot, widget, details)
    assert widget.detail.currentIndex() == row, "it stays chosen"
    widget.start()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    ((name, arguments),) = widget.process.ready().runs
    assert (name, arguments["settings"]) == ("predict", settings)
    prediction = widget.prediction
    assert prediction is not None
    chosen = details[-1] if step is None else details[row - 1]
    assert (prediction.uns["nh2st"]["step_um"], prediction.n_obs) == (
        chosen.step_um,
        chosen.n_tiles,
    )
    assert prediction.uns["nh2st"]["pitch_um"] == 200.0
    # The run was timed: from now on the choice says how long each takes.
    if step == 50.0:
        qtbot.waitUntil(lambda: widget.detail.itemText(1).endswith(" s"), timeout=20_000)


def test_counts_follow_slide_region_model_resolution_and_pitch(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    whole = expected(widget, slide_layer)
    wait_for(qtbot, widget, whole)
    square = np.array([(200, 300), (200, 700), (600, 700), (600, 300)], float)
    shapes = viewer.add_shapes([square], name="tumour")
    widget.region.value = shapes

    def region() -> tuple[Any, ...]:
        return widget.region.polygons(slide_layer)

    part = expected(widget, slide_layer, region=region())
    assert part != whole
    wait_for(qtbot, widget, part)
    shapes.add_polygons([square + 600])
    wait_for(qtbot, widget, expected(widget, slide_layer, region=region()))
    shapes.data = [square / 100]  # between the tiles of every grid
    qtbot.waitUntil(lambda: offered(widget)[1:] == [f"{n} µm · no tile" for n in (200, 100, 50)])

    viewer.canvas.size = (200, 400)
    viewer.scene.camera.zoom = 0.5
    viewer.scene.camera.center = (500, 600)
    widget.region.value = IN_VIEW
    wait_for(qtbot, widget, expected(widget, slide_layer, region=region()))
    viewer.scene.camera.zoom = 1.0
    zoomed = expected(widget, slide_layer, region=region())
    wait_for(qtbot, widget, zoomed)
    viewer.scene.camera.center = (300, 300)
    moved = expected(widget, slide_layer, region=region())
    assert moved != zoomed
    wait_for(qtbot, widget, moved)

    widget.region.value = WHOLE
    widget.slide.mpp.setValue(1.0)
    fewer = estimate(widget.slide.chosen(), load_model_folder(Path(widget.model.text)))
    assert fewer != whole
    wait_for(qtbot, widget, fewer)
    widget.slide.mpp.setValue(2.0)
    widget.settings.pitch.setValue(100)
    details = expected(widget, slide_layer, pitch_um=100.0)
    qtbot.waitUntil(lambda: offered(widget)[0] == f"Automatic: {details[0]}", timeout=20_000)
    assert [text.split(" · ")[0] for text in offered(widget)[1:]] == ["100 µm", "50 µm", "25 µm"]
    widget.settings.pitch.setValue(widget.settings.pitch.minimum())
    widget.model.choose(str(model_folder))
    wait_for(qtbot, widget, expected(widget, slide_layer))

    other = np.full((300, 300, 3), 245, np.uint8)
    other[50:250, 50:250] = np.random.default_rng(1).normal((190, 90, 150), 25, (200, 200, 3))
    ((data, found, _),) = read_slide(write_tiff(tmp_path / "other.tif", other), mpp=2.0)
    layer = viewer.add_image(data, **found)
    widget.slide.picker.value = layer
    wait_for(qtbot, widget, expected(widget, layer))


def test_counts_follow_the_tissue_that_is_painted(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    whole = expected(widget, slide_layer)
    wait_for(qtbot, widget, whole)
    widget.tissue.click()
    qtbot.waitUntil(lambda: tissue_layer_of(viewer, slide_layer) is not None)
    layer = tissue_layer_of(viewer, slide_layer)
    assert layer is not None
    qtbot.waitUntil(lambda: "tissue, as painted" in widget.facts.facts.text(), timeout=20_000)
    layer.brush_size = 60
    layer.paint((layer.data.shape[0] // 2, layer.data.shape[1] // 2), 0)
    painted = expected(widget, slide_layer)
    assert painted[-1].n_tiles < whole[-1].n_tiles
    wait_for(qtbot, widget, painted)
    share = layer.data.mean()
    assert f" · {share:.0%} tissue, as painted" in widget.facts.facts.text()
    layer.undo()
    wait_for(qtbot, widget, whole)
    layer.data[:] = 0
    layer.refresh()  # nothing is painted: the run says so
    qtbot.waitUntil(lambda: offered(widget)[1:] == ["200 µm", "100 µm", "50 µm"])
    viewer.layers.remove(layer)
    wait_for(qtbot, widget, whole)
    assert "as painted" not in widget.facts.facts.text()


def test_without_a_slide_or_its_resolution_there_are_no_counts(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    wait_for(qtbot, widget, expected(widget, slide_layer))
    viewer.layers.remove(slide_layer)
    qtbot.waitUntil(lambda: offered(widget) == ["Automatic", "200 µm", "100 µm", "50 µm"])


def test_a_step_is_remembered_and_shown_where_run_is(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    model_folder: Path,
    model_of_200: Path,
) -> None:
    class Section:
        step_um = 100.0

    monkeypatch.setattr(remembered, "plugin_section", lambda _section: Section)
    another = PredictWidget(viewer)
    qtbot.addWidget(another)
    another.model.choose(str(model_of_200))
    details = expected(another, slide_layer)
    wait_for(qtbot, another, details)
    assert another.detail.currentText() == str(details[1])
    assert another.chosen_settings(slide_layer).step_um == 100.0
    another.detail.setCurrentIndex(3)
    assert Section.step_um == 50.0
    # A model of another pitch: 50 is no part of it. The choice is not lost over that.
    another.model.choose(str(model_folder))
    assert another.chosen_settings(slide_layer).step_um is None
    assert Section.step_um == 50.0
    another.model.choose(str(model_of_200))
    assert another.chosen_settings(slide_layer).step_um == 50.0
    another.detail.setCurrentIndex(0)
    assert Section.step_um == 0.0
    another.reset_settings()
    assert another.detail.currentIndex() == 0


def test_a_step_that_is_not_usual_is_offered_where_it_was_chosen(qtbot: QtBot) -> None:
    choice = DetailChoice()
    qtbot.addWidget(choice)
    choice.show_pitch(200.0)
    choice.show_value(40.0)
    assert choice.value() == pytest.approx(40.0)
    assert choice.currentText() == "40 µm"
    assert choice.count() == 5
    choice.show_value(30.0)  # no part of the pitch
    assert choice.value() is None
    assert choice.count() == 4
