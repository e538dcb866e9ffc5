"""The picker of layers: what it offers, and what is picked when layers come, go and are renamed."""

from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from pytestqt.qtbot import QtBot

from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.layer_picker import LayerPicker
from viewers import VIEWERS


def is_image(layer: Layer) -> bool:
    return isinstance(layer, Image)


def texts(picker: LayerPicker) -> list[str]:
    return [picker.itemText(row) for row in range(picker.count())]


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(request: pytest.FixtureRequest) -> ViewerModel:
    make: Callable[[], ViewerModel] = request.param
    return make()


def test_layers_of_a_kind_are_offered_by_their_names(qtbot: QtBot, viewer: ViewerModel) -> None:
    connections = Connections()
    picker = LayerPicker(viewer, connections, is_image, first={"all": "ALL", "none": None})
    qtbot.addWidget(picker)
    changed: list[object] = []
    picker.changed.connect(changed.append)
    connections.open()
    assert picker.value == "ALL"
    one = viewer.add_image(np.zeros((4, 4)), name="one")
    viewer.add_points([[1, 1]])
    viewer.add_image(np.zeros((4, 4)), name="two")
    assert texts(picker) == ["all", "none", "one", "two"]
    assert picker.value == "ALL"
    picker.setCurrentText("one")
    assert picker.value == one
    one.name = "renamed"
    assert texts(picker) == ["all", "none", "renamed", "two"]
    assert picker.currentText() == "renamed"
    viewer.layers.move(0, 3)
    viewer.layers.remove(one)
    assert picker.value == "ALL", "the first, since what was picked is gone"
    picker.setCurrentText("none")
    assert picker.value is None
    assert changed == [one, "ALL", None]


def test_the_active_layer_is_picked_and_else_the_last(qtbot: QtBot, viewer: ViewerModel) -> None:
    connections = Connections()
    picker = LayerPicker(viewer, connections, is_image, follow_selection=True)
    qtbot.addWidget(picker)
    connections.open()
    assert picker.value is None
    one = viewer.add_image(np.zeros((4, 4)), name="one")
    assert picker.value == one
    two = viewer.add_image(np.zeros((4, 4)), name="two")
    points = viewer.add_points([[1, 1]])
    assert picker.value == two
    viewer.layers.selection.active = one
    assert picker.value == one
    viewer.layers.selection.active = points
    assert picker.value == one
    viewer.layers.remove(one)
    assert picker.value == two


def test_it_follows_the_viewer_only_while_its_dock_is_open(
    qtbot: QtBot, viewer: ViewerModel
) -> None:
    connections = Connections()
    picker = LayerPicker(viewer, connections, is_image)
    qtbot.addWidget(picker)
    viewer.add_image(np.zeros((4, 4)), name="one")
    assert texts(picker) == []
    connections.open()
    assert texts(picker) == ["one"], "it catches up"
    connections.close()
    viewer.layers[0].name = "renamed"
    viewer.add_image(np.zeros((4, 4)), name="two")
    assert texts(picker) == ["one"]
    connections.open()
    assert texts(picker) == ["renamed", "two"]
