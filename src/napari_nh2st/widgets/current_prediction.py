"""Which of the viewer's predictions a widget is about."""

from typing import Any

from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Layer
from psygnal import Signal
from qtpy.QtWidgets import QComboBox

from napari_nh2st.layers.heatmap import Heatmap, heatmap_of
from napari_nh2st.session.shown_layers import ShownLayers


class CurrentPrediction:
    """The heatmap that is selected in the viewer, or else chosen in a picker.

    Parameters
    ----------
    viewer
        Its layers are followed, from :meth:`follow` to :meth:`close`.

    Attributes
    ----------
    picker
        Offers the heatmaps there are; one that is picked is shown.
    shown_layers
        Shows and hides what there is of predictions in the viewer.
    changed
        Emitted when it is another heatmap, or none any more, or when it shows another prediction.
    replaced
        Emitted with a heatmap, the current one or not, and its former prediction when it shows
        another; before ``changed``.
    shown
        Emitted with the gene when the current heatmap shows another.
    filling_changed
        Emitted when a run begins or ends to fill the current prediction.
    """

    changed = Signal()
    replaced = Signal(object, object)
    shown = Signal(str)
    filling_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.shown_layers = ShownLayers.of(viewer)
        self.picker = QComboBox()
        self.picker.setToolTip("Heatmap to work on; selecting its layer chooses it too")
        self._heatmaps: list[Heatmap] = []
        self._heatmap: Heatmap | None = None
        self._heard: Heatmap | None = None
        self._following = False
        self.picker.activated.connect(self._on_picked)

    @property
    def heatmap(self) -> Heatmap | None:
        """The heatmap; None while there is none."""
        return self._heatmap

    @property
    def prediction(self) -> AnnData | None:
        """Its prediction."""
        return None if self._heatmap is None else self._heatmap.prediction

    @property
    def is_filling(self) -> bool:
        """Whether a run fills it."""
        return self._heatmap is not None and self._heatmap.is_filling

    def follow(self) -> None:
        """Follow the viewer from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.inserted.connect(self._update)
            self.viewer.layers.events.removed.connect(self._update)
            self.viewer.layers.selection.events.active.connect(self._on_active)
        self._update()
        self._on_active()

    def close(self) -> None:
        """Let go of the viewer."""
        if self._following:
            self._following = False
            self.viewer.layers.events.inserted.disconnect(self._update)
            self.viewer.layers.events.removed.disconnect(self._update)
            self.viewer.layers.selection.events.active.disconnect(self._on_active)
            self._let_go()

    def choose(self, heatmap: Heatmap) -> None:
        """Make this the current one."""
        if heatmap is not self._heatmap:
            self._heatmap = heatmap
            self._update()
            self.changed.emit()

    def show_gene(self, gene: str) -> None:
        """Show a gene in the current heatmap, and the heatmap instead of what hides it."""
        if self._heatmap is not None:
            self._heatmap.show(gene)
            self.shown_layers.show(self._heatmap.layer)

    def made_for(self, slide_layer: Layer) -> Heatmap | None:
        """The last heatmap made for this layer of a slide that the user has not renamed."""
        made = [each for each in self._heatmaps if each.is_of(slide_layer) and not each.renamed]
        return made[-1] if made else None

    def hide_below(self, heatmap: Heatmap) -> None:
        """Show a heatmap, in the place of others there and of pinned genes."""
        self.shown_layers.show(heatmap.layer)

    def _update(self, _event: Any = None) -> None:
        self._let_go()
        self._heatmaps = [h for layer in self.viewer.layers if (h := heatmap_of(layer)) is not None]
        for heatmap in self._heatmaps:
            heatmap.layer.events.name.connect(self._show_names)  # called after the gene it shows
            heatmap.replaced.connect(self._on_replaced)
            heatmap.filling_changed.connect(self._on_filling)
        if self._heatmap not in self._heatmaps:
            self._heatmap = self._heatmaps[-1] if self._heatmaps else None
            self._hear(self._heatmap)
            self.changed.emit()
        self._hear(self._heatmap)
        self.picker.clear()
        self.picker.addItems([heatmap.layer.name for heatmap in self._heatmaps])
        if self._heatmap is not None:
            self.picker.setCurrentIndex(self._heatmaps.index(self._heatmap))

    def _let_go(self) -> None:
        for heatmap in self._heatmaps:
            heatmap.layer.events.name.disconnect(self._show_names)
            heatmap.replaced.disconnect(self._on_replaced, missing_ok=True)
            heatmap.filling_changed.disconnect(self._on_filling, missing_ok=True)
        self._hear(None)

    def _hear(self, heatmap: Heatmap | None) -> None:
        """Hear of the genes that this heatmap shows, and of no other's."""
        if self._heard is not None:
            self._heard.shown.disconnect(self._on_shown, missing_ok=True)
        self._heard = heatmap
        if heatmap is not None:
            heatmap.shown.connect(self._on_shown)

    def _on_replaced(self, heatmap: Heatmap, former: AnnData) -> None:
        self.replaced.emit(heatmap, former)
        if heatmap is self._heatmap:
            self.changed.emit()

    def _on_shown(self, gene: str) -> None:
        if self._heard is not None:  # whoever shows another gene wants to see it
            self.shown_layers.show(self._heard.layer)
        self.shown.emit(gene)

    def _on_filling(self, heatmap: Heatmap) -> None:
        if heatmap is self._heatmap:
            self.filling_changed.emit()

    def _show_names(self, _event: Any = None) -> None:
        for row, heatmap in enumerate(self._heatmaps[: self.picker.count()]):
            self.picker.setItemText(row, heatmap.layer.name)

    def _on_active(self, _event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        heatmap = heatmap_of(layer) if layer is not None else None
        if heatmap is not None:
            self.choose(heatmap)

    def _on_picked(self, index: int) -> None:
        if 0 <= index < len(self._heatmaps):
            self.choose(self._heatmaps[index])
            if self._heatmap is not None and not self._heatmap.layer.visible:
                self.shown_layers.show(self._heatmap.layer)
