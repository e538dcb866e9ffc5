"""Picker of the heatmap that the docks are about."""

from qtpy.QtWidgets import QComboBox

from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections

_MIN_CHARACTERS = 12


class HeatmapPicker(QComboBox):
    """Shows and changes the current heatmap of a session; one that is picked is shown.

    Parameters
    ----------
    session
        Its heatmaps are offered.
    connections
        Connections of the dock.
    """

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self._session = session
        self.setToolTip("Heatmap to work on; selecting its layer chooses it too")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(_MIN_CHARACTERS)
        self.activated.connect(self._on_picked)
        connections.add(session.heatmaps_changed, self._update)
        connections.add(session.heatmap_changed, self._update)
        connections.when_opened(self._update)

    def _update(self) -> None:
        heatmaps = self._session.heatmaps
        names = [heatmap.layer.name for heatmap in heatmaps]
        if names != [self.itemText(row) for row in range(self.count())]:
            self.clear()
            self.addItems(names)
        if self._session.heatmap in heatmaps:
            self.setCurrentIndex(heatmaps.index(self._session.heatmap))

    def _on_picked(self, row: int) -> None:
        heatmap = self._session.heatmaps[row]
        self._session.heatmap = heatmap
        if not heatmap.layer.visible:
            self._session.shown_layers.show(heatmap.layer)
