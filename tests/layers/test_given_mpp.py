"""µm/px given by hand reach the slide's layer, and what lies on it stays in its place."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from gene_predictions import gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.keys import (
    MEASURED_SLIDE_KEY,
    PIN_KEY,
    SLIDE_KEY,
    heatmap_metadata,
    id_of,
    made_over,
)
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.regions import add_region_layer
from napari_nh2st.layers.slide_below import slide_below
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.predict.mpp_buttons import UndoMppButton
from napari_nh2st.widgets.slide_choice import SlideChoice
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> Iterator[ViewerModel]:
    make: Callable[[], ViewerModel] = request.param
    viewer = make()
    yield viewer
    viewer.layers.clear()


@pytest.fixture
def open_choice(qtbot: QtBot, viewer: ViewerModel) -> Iterator[Callable[[], SlideChoice]]:
    opened: list[Connections] = []

    def open_one() -> SlideChoice:
        connections = Connections()
        slide = SlideChoice(viewer, connections)
        qtbot.addWidget(slide.mpp)
        qtbot.addWidget(slide.picker)
        connections.open()
        opened.append(connections)
        return slide

    yield open_one
    for connections in opened:
        connections.close()


@pytest.fixture
def button_of(qtbot: QtBot) -> Callable[[SlideChoice], UndoMppButton]:
    def make(slide: SlideChoice) -> UndoMppButton:
        button = UndoMppButton(slide)
        qtbot.addWidget(button)
        return button

    return make


def open_slide_layer(
    viewer: ViewerModel, path: Path, mpp: float | None = None, value: int = 200
) -> Image:
    pixels = np.full((60, 80, 3), value, np.uint8)
    ((data, attributes, _),) = read_slide(write_tiff(path, pixels), mpp=mpp)
    return viewer.add_image(data, **attributes)


def places_on(slide_layer: Image, layers: list[Layer]) -> np.ndarray:
    """Where layers' data lie on a slide, in its pixels."""
    return np.array([slide_layer.world_to_data(each.data_to_world((3, 4))) for each in layers])


def test_what_lies_on_the_slide_keeps_its_place_and_can_be_taken_back(
    viewer: ViewerModel,
    tmp_path: Path,
    open_choice: Callable[[], SlideChoice],
    button_of: Callable[[SlideChoice], UndoMppButton],
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif")
    layer.translate = (5, 7)
    on_it = [
        viewer.add_shapes([np.array([[10, 10], [10, 30], [30, 30]])], shape_type="polygon"),
        viewer.add_points(np.array([[20.0, 20.0]]), scale=(2, 2), rotate=30),
        viewer.add_image(np.ones((4, 4)), affine=[[3, 1, 10], [-1, 3, 12], [0, 0, 1]]),
        viewer.add_shapes(ndim=2),
    ]
    elsewhere = viewer.add_points(np.array([[900.0, 900.0]]))
    viewer.layers.selection.active = layer
    slide = open_choice()
    undo = button_of(slide)
    before = places_on(layer, on_it)
    slide.mpp.setValue(0.5)
    np.testing.assert_allclose(layer.scale, 0.5)
    for each in (layer, *on_it):
        assert [str(unit) for unit in each.units] == ["micrometer"] * 2
    np.testing.assert_allclose(places_on(layer, on_it), before)
    np.testing.assert_allclose(elsewhere.scale, 1)
    assert not undo.isHidden()
    slide.mpp.setValue(0.25)
    np.testing.assert_allclose(layer.scale, 0.25)
    np.testing.assert_allclose(places_on(layer, on_it), before)
    undo.click()
    assert slide.mpp.value() == 0.5
    np.testing.assert_allclose(layer.scale, 0.5)
    undo.click()
    np.testing.assert_allclose(layer.scale, 1)
    assert str(layer.units[0]) == "pixel"
    np.testing.assert_allclose(places_on(layer, on_it), before)
    assert undo.isHidden()


def test_the_picture_stands_still(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif")
    slide = open_choice()
    camera = viewer.scene.camera
    camera.center, camera.zoom = (30.0, 40.0), 4.0
    slide.mpp.setValue(0.5)
    np.testing.assert_allclose(layer.world_to_data(camera.center[-2:]), (30, 40))
    assert camera.zoom == pytest.approx(8)


def test_a_layer_that_was_scaled_by_hand_is_left_as_it_is(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif", mpp=0.5)
    layer.scale = (0.7, 0.8)
    slide = open_choice()
    slide.mpp.setValue(0.25)
    np.testing.assert_allclose(layer.scale, (0.7, 0.8))
    slide.take_back()
    assert slide.mpp.value() == 0.5
    np.testing.assert_allclose(layer.scale, (0.7, 0.8))


# --- what lies on which slide ---


def prediction_of(slide_layer: Image, **notes: str) -> AnnData:
    """A prediction in 8 × 6 tiles that knows its slide by this alone."""
    prediction = gene_prediction()
    prediction.uns["nh2st"]["step_px_fullres"] = np.array([10.0, 10.0])
    prediction.obsm["spatial"] = prediction.obsm["spatial"] / 10
    prediction.uns["nh2st"]["slide"] = {"mpp": [0.5, 0.5]} | notes
    return prediction


def layers_made_on(viewer: ViewerModel, slide_layer: Image) -> dict[str, Layer]:
    """One of everything that this plugin lays on a slide."""
    heatmap = Session.of(viewer).add_heatmap(slide_layer, prediction_of(slide_layer), "ERBB2")
    domains = NamedDomains(
        np.arange(heatmap.prediction.n_obs) % 3 + 1,
        ("1", "2", "3"),
        pd.DataFrame(columns=["domain", "gene", "score"]),
    )
    heatmap.prediction.uns["nh2st"]["slide"]["name"] = "x"
    spots = viewer.add_points(
        np.array([[20.0, 20.0]]),
        metadata={MEASURED_SLIDE_KEY: str(slide_layer.metadata[SLIDE_KEY].path)},
        **placement_of(slide_layer),
    )
    over = placement_of(heatmap.layer)
    pinned = {PIN_KEY: {"source": id_of(heatmap.layer)}}
    return {
        "heatmap": heatmap.layer,
        "domains": Session.of(viewer).domains.draw(heatmap, domains),
        "spots": spots,
        "pin": viewer.add_image(np.ones((4, 4)), metadata=pinned, **over),
        "signature": viewer.add_image(np.ones((4, 4)), metadata=made_over(heatmap.layer), **over),
        "regions": add_region_layer(viewer, slide_layer, 1.0),
    }


def test_what_was_made_on_another_slide_stays_there(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    one = open_slide_layer(viewer, tmp_path / "one.tif", mpp=0.5)
    two = open_slide_layer(viewer, tmp_path / "two.tif", mpp=0.5, value=210)
    on_one, on_two = layers_made_on(viewer, one), layers_made_on(viewer, two)
    foreign = viewer.add_points(np.array([[10.0, 10.0]]), units=("um", "um"))
    for each in (on_one, on_two):
        expected = one if each is on_one else two
        assert {name: slide_below(viewer, la) == expected for name, la in each.items()} == (
            dict.fromkeys(each, True)
        )
    slide = open_choice()
    viewer.layers.selection.active = one
    before = [places_on(s, list(on.values())) for s, on in ((one, on_one), (two, on_two))]
    slide.mpp.setValue(0.25)
    np.testing.assert_allclose(one.scale, 0.25)
    np.testing.assert_allclose(two.scale, 0.5)
    np.testing.assert_allclose(places_on(one, list(on_one.values())), before[0])
    np.testing.assert_allclose(places_on(two, list(on_two.values())), before[1])
    np.testing.assert_allclose(foreign.scale, 1, err_msg="it may be of either")


@pytest.mark.parametrize("known_by", ["fingerprint", "name", "shown name", "nothing"])
def test_the_slide_of_a_prediction_from_a_file_is_found(
    viewer: ViewerModel, tmp_path: Path, known_by: str
) -> None:
    one = open_slide_layer(viewer, tmp_path / "one.tif", mpp=0.5)
    open_slide_layer(viewer, tmp_path / "two.tif", mpp=0.5, value=210)
    notes: dict[str, Any] = {
        "fingerprint": {"fingerprint": one.metadata[SLIDE_KEY].fingerprint, "name": "two.tif"},
        "name": {"name": "one.tif"},
        "shown name": {},
        "nothing": {"fingerprint": "of another file", "name": "one.tif"},
    }[known_by]
    heatmap = Session.of(viewer).add_heatmap(one, prediction_of(one, **notes), "ERBB2")
    data, attributes, _ = heatmap.layer.as_layer_data_tuple()
    viewer.layers.remove(heatmap.layer)
    read = heatmap_metadata(heatmap.prediction, "ERBB2", "one", "ERBB2 · one")
    layer = viewer.add_image(data, **(attributes | {"metadata": read, "name": "ERBB2 · one"}))
    assert Session.of(viewer).heatmap_of(layer) is not None
    found = slide_below(viewer, layer)
    assert found is None if known_by == "nothing" else found == one


def test_a_slide_that_two_files_have_the_name_of_is_not_guessed(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        layer = open_slide_layer(viewer, tmp_path / folder / "one.tif", mpp=0.5)
    prediction = prediction_of(layer, name="one.tif")
    read = viewer.add_image(np.ones((6, 8)), metadata={"nh2st_prediction": prediction})
    assert slide_below(viewer, read) is None


# --- taking back ---


def test_taking_back_moves_what_moved_and_nothing_else(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif", mpp=0.5)  # 30 × 40 µm
    beside = viewer.add_points(np.array([[35.0, 35.0]]), units=("um", "um"))
    on_it = viewer.add_points(np.array([[10.0, 10.0]]), units=("um", "um"))
    slide = open_choice()
    slide.mpp.setValue(1.0)  # now it covers both
    np.testing.assert_allclose(on_it.scale, 2)
    on_it.translate = (500, 500)  # taken aside by hand
    later = add_region_layer(viewer, layer, 1.0)
    before = places_on(layer, [on_it, later])
    slide.take_back()
    np.testing.assert_allclose(layer.scale, 0.5)
    np.testing.assert_allclose(beside.data_to_world((35, 35)), (35, 35))
    np.testing.assert_allclose(places_on(layer, [on_it, later]), before)


def test_a_layer_that_follows_the_slide_by_itself_is_moved_once(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif", mpp=0.5)
    spots = viewer.add_points(np.array([[20.0, 20.0]]), **placement_of(layer))
    layer.events.scale.connect(lambda: place(spots, placement_of(layer)))
    open_choice().mpp.setValue(0.25)
    np.testing.assert_allclose(spots.scale, 0.25)


# --- several docks ---


def test_another_dock_finds_what_was_given_and_can_take_it_back(
    viewer: ViewerModel,
    tmp_path: Path,
    open_choice: Callable[[], SlideChoice],
    button_of: Callable[[SlideChoice], UndoMppButton],
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif")
    first = open_choice()
    first.mpp.setValue(0.5)
    first.connections.close()
    again = open_choice()
    assert again.mpp.value() == 0.5
    assert again.chosen().mpp == (0.5, 0.5)
    undo = button_of(again)
    assert not undo.isHidden()
    undo.click()
    assert again.mpp.value() == 0
    assert str(layer.units[0]) == "pixel"
    first.connections.open()
    assert first.mpp.value() == 0, "taken back while it was closed"


def test_what_one_dock_gives_the_others_show_and_use(
    viewer: ViewerModel, tmp_path: Path, open_choice: Callable[[], SlideChoice]
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif", mpp=0.25)
    other = open_slide_layer(viewer, tmp_path / "b.tif", mpp=0.25, value=210)
    predict, compare, elsewhere = (open_choice() for _ in range(3))
    predict.picker.value = compare.picker.value = layer
    elsewhere.picker.value = other
    heard: list[float] = []
    predict.mpp.valueChanged.connect(heard.append)
    predict.mpp.editingFinished.connect(lambda: heard.append(-1.0))
    compare.mpp.setValue(0.5)
    assert predict.mpp.value() == 0.5
    assert predict.chosen().mpp == (0.5, 0.5)
    assert elsewhere.mpp.value() == 0.25
    assert heard == [0.5, -1], "as if it had been typed there"
    np.testing.assert_allclose(layer.scale, 0.5)
    predict.mpp.setValue(0.4)
    np.testing.assert_allclose(layer.scale, 0.4)
    assert compare.mpp.value() == 0.4
    compare.take_back()
    predict.take_back()
    assert predict.mpp.value() == compare.mpp.value() == 0.25
    assert not predict.can_take_back
    np.testing.assert_allclose(layer.scale, 0.25)
