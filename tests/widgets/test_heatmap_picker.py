"""The picker of heatmaps shows and sets the session's current one."""

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.heatmap_picker import HeatmapPicker
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    return made


@pytest.fixture
def picker(qtbot: QtBot, viewer: ViewerModel) -> HeatmapPicker:
    connections = Connections()
    picker = HeatmapPicker(Session.of(viewer), connections)
    qtbot.addWidget(picker, before_close_func=lambda _picker: connections.close())
    connections.open()
    return picker


def test_the_picker_follows_the_gene_that_is_shown(
    viewer: ViewerModel, picker: HeatmapPicker
) -> None:
    assert picker.count() == 0
    heatmap = add_heatmap(viewer, gene_prediction())
    assert picker.currentText() == "ERBB2 · C6"
    heatmap.gene = "CD74"
    assert picker.currentText() == "CD74 · C6"
    viewer.layers.remove(heatmap.layer)
    assert picker.count() == 0


def test_a_picked_heatmap_is_shown_again_and_a_shown_one_stays_as_it_is(
    viewer: ViewerModel, picker: HeatmapPicker
) -> None:
    session = Session.of(viewer)
    first = add_heatmap(viewer, gene_prediction())
    second = add_heatmap(viewer, gene_prediction(), "CD74")
    assert picker.currentText() == second.layer.name
    session.shown_layers.show(second.layer)
    assert not first.layer.visible
    picker.activated.emit(0)
    assert session.heatmap is first
    assert (first.layer.visible, second.layer.visible) == (True, False)
    assert picker.currentText() == first.layer.name
