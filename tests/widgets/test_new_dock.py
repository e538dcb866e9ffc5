"""A new dock takes few lines: it lists the session's predictions and their shown genes."""

from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QListWidget, QVBoxLayout

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.session import Session
from napari_nh2st.widgets.dock import Dock


class ListOfPredictions(Dock):
    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(napari_viewer, "genes")
        self.session = Session.of(napari_viewer)
        self.list = QListWidget()
        QVBoxLayout(self).addWidget(self.list)
        self.connect_to(self.session.heatmaps_changed, self._show)
        self.connections.when_opened(self._show)
        self.open()

    def _show(self) -> None:
        self.list.clear()
        self.list.addItems([f"{each.slide_name}: {each.gene}" for each in self.session.heatmaps])


def test_a_new_dock_lists_predictions_and_their_shown_genes(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    dock = ListOfPredictions(viewer)
    qtbot.addWidget(dock, before_close_func=lambda _dock: dock.close_down())
    add_heatmap(viewer, gene_prediction(), "CD74", slide="C6")
    add_heatmap(viewer, gene_prediction(), "KRT19", slide="D1").gene = "ERBB2"
    assert [dock.list.item(row).text() for row in range(2)] == ["C6: CD74", "D1: ERBB2"]
    dock.session.heatmaps[1].layer.name, dock.session.heatmaps[1].gene = "mine", "GRB7"
    assert dock.list.item(1).text() == "D1: GRB7"
    dock.close_down()
    viewer.layers.remove(dock.session.heatmaps[0].layer)
    dock.open()
    assert [dock.list.item(row).text() for row in range(dock.list.count())] == ["D1: GRB7"]
