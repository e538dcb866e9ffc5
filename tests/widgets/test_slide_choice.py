"""The choice of a slide begins with the session's."""

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.slide_choice import SlideChoice
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    return made


def test_a_dock_begins_with_the_slide_that_was_selected_last(
    qtbot: QtBot, viewer: ViewerModel
) -> None:
    session = Session.of(viewer)
    for name in "abc":
        viewer.add_image(np.zeros((60, 80, 3), np.uint8), name=name)
    viewer.layers.selection.active = viewer.layers["a"]
    viewer.add_points([[1, 1]])
    connections = Connections()
    choice = SlideChoice(viewer, connections)
    qtbot.addWidget(choice.picker)
    qtbot.addWidget(choice.mpp)
    connections.open()
    assert choice.layer == session.slide == viewer.layers["a"]
    choice.picker.value = viewer.layers["b"]
    assert session.slide == viewer.layers["a"], "what is picked in one dock is for that alone"
    connections.close()
