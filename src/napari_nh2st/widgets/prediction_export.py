"""*Export…* for the prediction that is chosen in the viewer."""

from qtpy.QtWidgets import QWidget

from napari_nh2st.session.shown_figure import shown_figure
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.export_button import ExportButton


class PredictionExport(ExportButton):
    """Writes the current prediction, one opened from a file too; disabled while a run fills it.

    Parameters
    ----------
    current
        The prediction; whoever made it calls its ``follow`` and ``close``.
    parent
        Of the button.
    """

    def __init__(self, current: CurrentPrediction, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.current = current
        self.set_figure(lambda: shown_figure(current.heatmap, current.viewer.layers))
        current.changed.connect(self._on_current)
        current.filling_changed.connect(self._on_current)
        self._on_current()

    def _on_current(self) -> None:
        heatmap = self.current.heatmap
        self.offer(self.current.prediction, "" if heatmap is None else heatmap.slide_name)
        self.set_filling(self.current.is_filling)
