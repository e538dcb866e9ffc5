"""*Export…* for the current prediction of a session."""

from qtpy.QtWidgets import QWidget

from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.shown_figure import shown_figure
from napari_nh2st.widgets.export_button import ExportButton


class PredictionExport(ExportButton):
    """Writes the current prediction, one opened from a file too; disabled while a run fills it.

    Parameters
    ----------
    session
        Has the prediction.
    connections
        Connections of the dock.
    """

    def __init__(
        self, session: Session, connections: Connections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self.set_figure(lambda: shown_figure(session.heatmap, session.viewer.layers))
        connections.add(session.heatmap_changed, self._update)
        connections.add(session.filling_changed, self._update)
        connections.when_opened(self._update)

    def _update(self) -> None:
        heatmap = self._session.heatmap
        self.offer(self._session.prediction, "" if heatmap is None else heatmap.slide_name)
        self.set_filling(self._session.is_filling)
