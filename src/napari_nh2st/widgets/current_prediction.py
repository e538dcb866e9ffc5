"""The current prediction of a session, for docks that do not connect to the session yet."""

from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Layer
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session import Session
from napari_nh2st.session.shown_layers import ShownLayers
from napari_nh2st.widgets.connections import Connections
from napari_nh2st.widgets.heatmap_picker import HeatmapPicker
from napari_nh2st.widgets.queued_signals import deliver_queued_signals


class CurrentPrediction:
    """Passes on, from :meth:`follow` to :meth:`close`, what the session of a viewer emits."""

    changed = Signal()
    replaced = Signal(object, object)
    shown = Signal(str)
    filling_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        deliver_queued_signals()
        self.viewer = viewer
        self.session = session = Session.of(viewer)
        self.connections = Connections()
        self.picker = HeatmapPicker(session, self.connections)
        self.connections.add(session.prediction_replaced, self._on_replaced)
        self.connections.add(session.heatmap_changed, self._on_changed)
        self.connections.add(session.gene_changed, self._on_gene)
        self.connections.add(session.filling_changed, self._on_filling)
        self.connections.when_opened(self._on_changed)

    @property
    def heatmap(self) -> Heatmap | None:
        """The current heatmap."""
        return self.session.heatmap

    @property
    def prediction(self) -> AnnData | None:
        """Its prediction."""
        return self.session.prediction

    @property
    def shown_layers(self) -> ShownLayers:
        """Shows and hides layers."""
        return self.session.shown_layers

    def follow(self) -> None:
        """Pass on from now on."""
        self.connections.open()

    def close(self) -> None:
        """Pass on no more."""
        self.connections.close()

    def choose(self, heatmap: Heatmap) -> None:
        """Make this the current one."""
        self.session.heatmap = heatmap

    def show_gene(self, gene: str) -> None:
        """See :meth:`Session.show_gene`."""
        self.session.show_gene(gene)

    def made_for(self, slide_layer: Layer) -> Heatmap | None:
        """See :meth:`Session.made_for`."""
        return self.session.made_for(slide_layer)

    def _on_replaced(self, heatmap: Heatmap, former: AnnData) -> None:
        self.replaced.emit(heatmap, former)

    def _on_changed(self) -> None:
        self.changed.emit()

    def _on_gene(self, gene: str) -> None:
        self.shown.emit(gene)

    def _on_filling(self) -> None:
        self.filling_changed.emit()
