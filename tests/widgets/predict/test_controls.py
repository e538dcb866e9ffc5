"""What the Predict widget's controls show and choose."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMessageBox

from array_slides import write_tiff
from local_jobs import LocalJobs
from napari_nh2st.cache import cache_folder
from napari_nh2st.inference.slide_facts import TissueFacts
from napari_nh2st.jobs.prediction import Values
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.regions import polygons_on_slide
from napari_nh2st.layers.slide_below import slide_below
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.session import remembered
from napari_nh2st.slide.usual_mpp import usual_values
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.predict import forget_button, mpp_buttons, slide_facts
from napari_nh2st.widgets.predict.region_picker import IN_VIEW, WHOLE
from napari_nh2st.widgets.predict.widget import PredictWidget
from small_models import small_model


@pytest.fixture
def widget(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, model_folder: Path
) -> PredictWidget:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model_folder))
    return widget


@pytest.fixture
def slide_layer(viewer: ViewerModel, tmp_path: Path) -> Image:
    return open_slide_layer(viewer, tmp_path / "section.tif")


def open_slide_layer(viewer: ViewerModel, path: Path, **attributes: Any) -> Image:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    ((data, found, _),) = read_slide(write_tiff(path, pixels), mpp=2.0)
    return viewer.add_image(data, **(found | attributes))


def run(qtbot: QtBot, widget: PredictWidget) -> None:
    widget.start()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)


def test_the_slide_that_is_selected_is_the_one_predicted(
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    other = open_slide_layer(viewer, tmp_path / "other.tif")
    assert widget.slide.layer is other
    viewer.layers.selection.active = slide_layer
    assert widget.slide.layer is slide_layer
    viewer.add_points(np.zeros((1, 2)))
    assert widget.slide.layer is slide_layer, "another kind of layer changes nothing"
    viewer.layers.selection = {slide_layer, other}
    widget.start()
    assert "'section' and 'other' are selected" in messages["error"][0]
    assert not widget.is_running


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_a_shape_on_the_slide_is_a_region_in_its_pixels(
    viewer: ViewerModel, tmp_path: Path, turn: float
) -> None:
    layer = open_slide_layer(
        viewer, tmp_path / "section.tif", scale=(2.0, 3.0), translate=(50, -20), rotate=turn
    )
    corners = np.array([[0.0, 0.0], [0.0, 600.0], [400.0, 600.0], [400.0, 0.0]])  # px, from edges
    world = [layer.data_to_world(corner - 0.5) for corner in corners]
    shapes = viewer.add_shapes([np.array(world)], shape_type="polygon", scale=(1, 1))
    (polygon,) = polygons_on_slide(shapes, layer)
    np.testing.assert_allclose(polygon, corners, atol=1e-3)


def test_an_ellipse_is_a_region_and_a_line_is_none(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = open_slide_layer(viewer, tmp_path / "section.tif", scale=(1, 1))
    shapes = viewer.add_shapes(
        [np.array([[10, 20], [10, 120], [50, 120], [50, 20]])], shape_type="ellipse"
    )
    shapes.add_lines([np.array([[0, 0], [5, 5]])])
    (polygon,) = polygons_on_slide(shapes, layer)
    y, x = polygon.T - 0.5
    np.testing.assert_allclose(((y - 30) / 20) ** 2 + ((x - 70) / 50) ** 2, 1, atol=1e-6)


def test_only_tiles_in_the_chosen_shapes_are_predicted(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    # In world units, 2 µm a pixel.
    viewer.add_shapes([np.array([[300, 300], [300, 600], [600, 600], [600, 300]])], name="tumour")
    widget.region.showPopup()
    widget.region.setCurrentText("tumour")
    widget.settings.pitch.setValue(32)
    run(qtbot, widget)
    assert widget.prediction is not None
    y, x = widget.prediction.obs[["pxl_row_in_fullres", "pxl_col_in_fullres"]].to_numpy().T
    assert y.min() >= 150
    assert x.min() >= 150
    assert y.max() <= 301
    assert x.max() <= 301
    assert widget.prediction.n_obs == pytest.approx((300 / 32) ** 2, rel=0.25)


def test_a_region_outside_the_tissue_is_a_sentence(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    messages: dict[str, list[str]],
) -> None:
    viewer.add_shapes([np.array([[0, 0], [0, 100], [100, 100], [100, 0]])], name="glass")
    widget.region.setCurrentText("glass")
    run(qtbot, widget)
    (message,) = messages["error"]
    assert "in the region" in message
    empty = viewer.add_shapes(name="nothing drawn")
    widget.region.setCurrentText(empty.name)
    widget.start()
    assert "has no shape with an area" in messages["error"][1]


def test_a_new_region_is_drawn_in_the_pixels_of_the_slide(
    viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    widget.new_region.click()
    layer = widget.region.currentData()
    assert layer is viewer.layers[-1] is viewer.layers.selection.active
    assert layer.mode == "add_polygon"
    assert layer.units == slide_layer.units
    assert slide_below(viewer, layer) == slide_layer
    corners = np.array([[10.0, 20.0], [10.0, 60.0], [50.0, 60.0]])
    layer.add_polygons([corners])
    (polygon,) = widget.chosen_settings(slide_layer).region
    np.testing.assert_allclose(polygon, corners + 0.5)


def test_a_region_layer_that_goes_away_leaves_the_whole_slide(
    viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    layer = viewer.add_shapes([np.eye(4)[:, :2] * 99], name="tumour")
    widget.region.setCurrentText("tumour")
    viewer.layers.remove(layer)
    assert widget.region.currentText() == WHOLE
    assert [widget.region.itemText(i) for i in range(widget.region.count())] == [WHOLE, IN_VIEW]


def test_a_region_layer_is_known_by_itself_and_not_by_its_name(
    qtbot: QtBot, viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    square = np.array([[300, 300], [300, 600], [600, 600], [600, 300]])
    layer = viewer.add_shapes([square], name="tumour")
    widget.region.setCurrentText("tumour")
    layer.name = WHOLE
    assert widget.region.currentText() == WHOLE
    assert widget.region.currentData() == layer
    chosen = widget.chosen_settings(slide_layer)
    np.testing.assert_allclose(chosen.region[0], square / 2 + 0.5)
    widget.region.setCurrentIndex(0)
    assert widget.chosen_settings(slide_layer).region == ()


def test_turning_the_resolution_looks_at_the_slide_once(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, widget: PredictWidget, slide_layer: Image
) -> None:
    looked: list[Any] = []

    def look(slide: Any, _config: Any) -> Any:
        looked.append(slide.mpp)
        return TissueFacts(0.5, None)

    monkeypatch.setattr(slide_facts, "tissue_facts", look)
    for step in range(20):
        widget.slide.mpp.setValue(0.5 + step / 100)
    qtbot.waitUntil(lambda: "50% tissue" in widget.facts.facts.text(), timeout=20_000)
    assert looked == [(0.69, 0.69)]


def test_a_stopped_run_is_continued_and_computes_no_tile_again(
    qtbot: QtBot,
    widget: PredictWidget,
    slide_layer: Image,
) -> None:
    widget.settings.pitch.setValue(8)
    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=180_000)
    widget.stop()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)
    done = widget.bar.value()
    assert 0 < done < widget.bar.maximum()
    assert widget.run.text() == "Continue"
    widget.settings.pitch.setValue(16)
    assert widget.run.text() == "Run", "it would be another prediction"
    widget.settings.pitch.setValue(8)
    assert widget.run.text() == "Continue"
    run(qtbot, widget)
    assert widget.run.text() == "Run"
    assert widget.prediction is not None
    assert np.isfinite(widget.prediction.X).all()
    computed = [
        tile
        for events in widget.process.ready().events
        for event in events
        if isinstance(event, Values)
        for tile in event.tiles.tolist()
    ]
    assert sorted(computed) == list(range(widget.prediction.n_obs)), "each tile once, in both runs"


def test_forgetting_what_was_kept_asks_and_empties_its_folder(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    widget: PredictWidget,
    slide_layer: Image,
    messages: dict[str, list[str]],
) -> None:
    widget.settings.pitch.setValue(100)
    run(qtbot, widget)
    assert list(cache_folder("predictions").glob("*.results"))
    asked: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]

    def answer(_parent: Any, _title: str, text: str) -> QMessageBox.StandardButton:
        asked.append(text)
        return answers[len(asked) - 1]

    monkeypatch.setattr(QMessageBox, "question", answer)
    widget.settings.forget.click()
    qtbot.waitUntil(lambda: bool(asked) and widget.settings.forget.isEnabled(), timeout=20_000)
    assert "of 1 prediction (0." in asked[0]
    assert list(cache_folder("predictions").glob("*.results")), "the answer was no"
    widget.settings.forget.click()
    qtbot.waitUntil(lambda: bool(messages["info"]), timeout=20_000)
    assert not list(cache_folder("predictions").glob("*"))
    assert "deleted;" in messages["info"][0]
    widget.settings.forget.click()
    qtbot.waitUntil(lambda: len(messages["info"]) == 2, timeout=20_000)
    assert messages["info"][1] == "There are no kept results."
    assert len(asked) == 2


def test_nothing_is_forgotten_under_a_run_that_began_meanwhile(
    monkeypatch: pytest.MonkeyPatch, widget: PredictWidget, messages: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *_: pytest.fail("it asked"))
    widget.settings.forget.allow(False)
    widget.settings.forget._on_measured([1])
    assert "A run is storing results now" in messages["info"][0]
    assert not widget.settings.forget.isEnabled()
    widget.settings.forget.allow(True)
    assert widget.settings.forget.isEnabled()


def test_what_cannot_be_forgotten_is_an_error(
    widget: PredictWidget, messages: dict[str, list[str]]
) -> None:
    widget.settings.forget._on_failed(PermissionError("not yours"))
    assert messages["error"] == ["The kept results could not be deleted: not yours"]


def test_what_vanishes_while_it_is_counted_counts_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for store in ("a.results", "b.results"):
        (tmp_path / store).mkdir()
        (tmp_path / store / "chunk").write_bytes(b"12345")
    real_walk = os.walk

    def walk(folder: Path) -> Iterator[Any]:
        found = list(real_walk(folder))
        if Path(folder).name == "a.results":
            shutil.rmtree(folder)
        yield from found

    monkeypatch.setattr(os, "walk", walk)
    assert forget_button.kept_sizes(tmp_path) == [5]
    # Rows of a whole slide, which serve several predictions, are none themselves.
    (tmp_path / "b.rows").mkdir()
    (tmp_path / "b.rows" / "chunk").write_bytes(b"123")
    assert forget_button.kept_sizes(tmp_path) == [8]


def test_without_keeping_nothing_is_written(
    qtbot: QtBot, widget: PredictWidget, slide_layer: Image
) -> None:
    widget.settings.keep.setChecked(False)
    widget.settings.pitch.setValue(100)
    run(qtbot, widget)
    assert widget.prediction is not None
    assert not list(cache_folder("predictions").glob("*"))


def test_a_moved_slide_is_a_sentence(
    qtbot: QtBot,
    widget: PredictWidget,
    slide_layer: Image,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    (tmp_path / "section.tif").rename(tmp_path / "elsewhere.tif")
    run(qtbot, widget)
    (message,) = messages["error"]
    assert "section.tif" in message
    assert widget.run.isEnabled()


def test_the_card_tells_what_the_model_is(
    qtbot: QtBot, widget: PredictWidget, model_folder: Path
) -> None:
    assert widget.model.card_text() == (model_folder / "README.md").read_text(encoding="utf-8")
    dialog = widget.model.show_card()
    qtbot.addWidget(dialog)
    assert dialog.isVisible()
    (model_folder / "README.md").rename(model_folder / "gone")
    try:
        assert widget.model.config.name in widget.model.card_text(), "made from the config"
    finally:
        (model_folder / "gone").rename(model_folder / "README.md")


def test_mouse_genes_are_pointed_out(widget: PredictWidget, tmp_path: Path) -> None:
    assert "mouse" not in widget.model.note.text()
    save_model_folder(small_model(panel=("Actb", "Gapdh", "Mbp", "Plp1", "Nrgn")), tmp_path / "m")
    widget.model.choose(str(tmp_path / "m"))
    assert "mouse" in widget.model.note.text()


def test_usual_resolutions_are_offered_with_the_size_that_they_make(
    widget: PredictWidget, slide_layer: Image
) -> None:
    actions = widget.usual_mpp.menu().actions()  # of 640 × 512 px
    assert actions[-1].text() == "From a printed scale bar …"
    assert [action.text() for action in actions[:-1]] == [
        "1 µm/px · 10× · 640 × 512 µm",
        "2 µm/px · 5× · 1.28 × 1.02 mm",
        "0.25 µm/px · 40× · 160 × 128 µm · unlikely: small for a section",
        "0.5 µm/px · 20× · 320 × 256 µm · unlikely: small for a section",
    ]
    actions[3].trigger()
    assert widget.slide.mpp.value() == 0.5
    assert widget.slide.chosen().mpp == (0.5, 0.5)


def test_the_resolution_is_measured_with_a_printed_scale_bar(
    qtbot: QtBot,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    monkeypatch: pytest.MonkeyPatch,
    messages: dict[str, list[str]],
) -> None:
    asked: list[str] = []
    answers = [(100.0, True), (1e6, True), (400.0, False)]

    def answer(_parent: object, _title: str, text: str, *_: object) -> tuple[float, bool]:
        asked.append(text)
        return answers[len(asked) - 1]

    monkeypatch.setattr(mpp_buttons.QInputDialog, "getDouble", answer)
    for number, mpp in enumerate((0.5, 0.5, 0.5), start=1):
        widget.usual_mpp.menu().actions()[-1].trigger()
        line = widget.usual_mpp.line
        line.drawn.emit(200.0)
        qtbot.waitUntil(lambda number=number: len(asked) == number, timeout=20_000)
        assert "200 pixels long" in asked[-1]
        assert line.layer is None
        assert widget.slide.mpp.value() == mpp
    assert "which no slide has" in messages["error"][0]
    widget.usual_mpp.measure()
    widget.close_down()
    assert list(viewer.layers) == [slide_layer]


def test_a_slide_larger_than_glass_is_unlikely() -> None:
    likely = {value.mpp: value.likely for value in usual_values((60_000, 100_000))}
    assert likely == {0.25: True, 0.5: True, 1.0: False, 2.0: False}


def test_an_unlikely_resolution_is_noticed(widget: PredictWidget, slide_layer: Image) -> None:
    widget.slide.mpp.setValue(5.0)
    assert "ten times off" in widget.facts.notice.text()
    widget.slide.mpp.setValue(1.0)
    assert "ten times off" not in widget.facts.notice.text()


def test_a_tile_and_its_neighborhood_are_drawn_to_scale(
    viewer: ViewerModel, widget: PredictWidget, slide_layer: Image
) -> None:
    config = widget.model.config
    widget.settings.pitch.setValue(90)
    widget.to_scale.setChecked(True)
    layer = widget.preview.layer
    assert layer is viewer.layers[-1]
    squares = [np.ptp(square, axis=0) for square in layer.data]
    assert len(squares) == 9
    np.testing.assert_allclose(squares, config.tile_um, rtol=1e-6)  # the world is in µm
    centers = np.array([square.mean(0) for square in layer.data])
    np.testing.assert_allclose(np.abs(centers - centers[0]).max(0), (90, 90))
    widget.settings.pitch.setValue(300)
    centers = np.array([square.mean(0) for square in widget.preview.layer.data])
    np.testing.assert_allclose(np.abs(centers - centers[0]).max(0), (300, 300))
    layer = widget.preview.layer
    widget.to_scale.setChecked(False)
    assert layer not in viewer.layers


def test_settings_are_remembered_and_can_be_reset(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: PredictWidget,
    slide_layer: Image,
    model_folder: Path,
) -> None:
    class Section:
        model, device, pitch_um, min_tissue, keep, keep_gb = "", "auto", 0.0, 0.25, True, 4.0
        all_tiles, any_stain, image_features = False, False, False

    section = Section()
    monkeypatch.setattr(remembered, "plugin_section", lambda _name: section)
    widget.model.choose("her2-breast-demo")
    widget.model.choose(str(model_folder))
    widget.settings.pitch.setValue(100)
    widget.settings.device.setCurrentText("cpu")
    widget.settings.keep_gb.setValue(2.5)
    widget.settings.all_tiles.setChecked(True)
    widget.settings.any_stain.setChecked(True)
    widget.settings.controls["image_features"].setChecked(True)
    widget.model.name.setEditText(f"{model_folder} and more")  # being typed
    assert vars(section) == {
        "model": str(model_folder),
        "device": "cpu",
        "pitch_um": 100.0,
        "keep_gb": 2.5,
        "all_tiles": True,
        "any_stain": True,
        "image_features": True,
    }
    another = PredictWidget(viewer)
    qtbot.addWidget(another)
    assert another.model.text == str(model_folder)
    assert another.settings.device.currentText() == "cpu"
    assert (another.settings.pitch.value(), another.settings.keep_gb.value()) == (100, 2.5)
    assert another.settings.all_tiles.isChecked()
    assert another.settings.any_stain.isChecked()
    assert another.settings.controls["image_features"].isChecked()
    another.settings.reset.click()
    assert another.model.text == "her2-breast-demo"
    assert another.settings.device.currentText() == "auto"
    assert (another.settings.pitch.value(), another.settings.keep_gb.value()) == (None, 4)
    assert not another.settings.all_tiles.isChecked()
    assert not another.settings.any_stain.isChecked()
    assert not another.settings.controls["image_features"].isChecked()


def test_every_control_says_what_it_does(widget: PredictWidget) -> None:
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

    controls = [
        child
        for kind in (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit)
        for child in widget.findChildren(kind)
        if not child.objectName().startswith("qt_") and child.parent().toolTip() == ""
    ]
    silent = [child for child in controls if not child.toolTip()]
    assert not [f"{type(child).__name__} {getattr(child, 'text', str)()}" for child in silent]
