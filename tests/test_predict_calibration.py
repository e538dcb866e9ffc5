"""µm/px given by hand reach the slide's layer, and what lies on it stays in its place."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from napari_nh2st._reader import read_slide
from napari_nh2st.widgets.predict.calibration import SlideCalibration
from napari_nh2st.widgets.slide_choice import SlideChoice
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> Iterator[ViewerModel]:
    make: Callable[[], ViewerModel] = request.param
    viewer = make()
    yield viewer
    viewer.layers.clear()


def open_slide_layer(viewer: ViewerModel, path: Path, mpp: float | None = None) -> Image:
    pixels = np.full((60, 80, 3), 200, np.uint8)
    ((data, attributes, _),) = read_slide(write_tiff(path, pixels), mpp=mpp)
    return viewer.add_image(data, **attributes)


def calibration_of(viewer: ViewerModel) -> SlideCalibration:
    slide = SlideChoice(viewer)
    slide.follow()
    return SlideCalibration(viewer, slide)


def test_what_lies_on_the_slide_keeps_its_place_and_can_be_taken_back(
    viewer: ViewerModel, tmp_path: Path
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
    calibration = calibration_of(viewer)

    def places() -> np.ndarray:
        """Where each layer's data lie on the slide, in its pixels."""
        return np.array([layer.world_to_data(each.data_to_world((3, 4))) for each in on_it])

    before = places()
    calibration.slide.mpp.setValue(0.5)
    np.testing.assert_allclose(layer.scale, 0.5)
    for each in (layer, *on_it):
        assert [str(unit) for unit in each.units] == ["micrometer"] * 2
    np.testing.assert_allclose(places(), before)
    np.testing.assert_allclose(elsewhere.scale, 1)
    assert not calibration.undo.isHidden()
    calibration.slide.mpp.setValue(0.25)
    np.testing.assert_allclose(layer.scale, 0.25)
    np.testing.assert_allclose(places(), before)
    calibration.undo.click()
    assert calibration.slide.mpp.value() == 0.5
    np.testing.assert_allclose(layer.scale, 0.5)
    calibration.undo.click()
    np.testing.assert_allclose(layer.scale, 1)
    assert str(layer.units[0]) == "pixel"
    np.testing.assert_allclose(places(), before)
    assert calibration.undo.isHidden()


def test_the_picture_stands_still(viewer: ViewerModel, tmp_path: Path) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif")
    calibration = calibration_of(viewer)
    camera = getattr(viewer, "scene", viewer).camera
    camera.center, camera.zoom = (30.0, 40.0), 4.0
    calibration.slide.mpp.setValue(0.5)
    np.testing.assert_allclose(layer.world_to_data(camera.center[-2:]), (30, 40))
    assert camera.zoom == pytest.approx(8)


def test_a_layer_that_was_scaled_by_hand_is_left_as_it_is(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    layer = open_slide_layer(viewer, tmp_path / "a.tif", mpp=0.5)
    layer.scale = (0.7, 0.8)
    calibration = calibration_of(viewer)
    calibration.slide.mpp.setValue(0.25)
    np.testing.assert_allclose(layer.scale, (0.7, 0.8))


def test_another_dock_finds_what_was_given(viewer: ViewerModel, tmp_path: Path) -> None:
    open_slide_layer(viewer, tmp_path / "a.tif")
    calibration_of(viewer).slide.mpp.setValue(0.5)
    again = calibration_of(viewer)
    assert again.slide.mpp.value() == 0.5
    assert again.slide.chosen().mpp == (0.5, 0.5)
