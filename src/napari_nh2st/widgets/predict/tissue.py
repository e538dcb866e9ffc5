"""Button that shows the tissue of the slide as a layer to be mended, which the run then takes."""

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.QtWidgets import QPushButton

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import TISSUE_KEY
from napari_nh2st.layers.labels_compilation import then_compiled
from napari_nh2st.layers.tissue import add_tissue_layer, tissue_layer_of, tissue_of
from napari_nh2st.session.connections import Connections
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask, find_tissue
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.slide_choice import SlideChoice

_SHOW = "Show tissue"
_EDITS = ("paint", "data", "set_data")
"""Events of a Labels layer that was painted, given other data, and painted and undone."""


class TissueButton(QPushButton):
    """Adds a layer of the tissue that is found on the picked slide.

    Parameters
    ----------
    viewer, connections
        Viewer of the dock, and its connections.
    slide
        Says which slide is picked.

    Attributes
    ----------
    edited
        Emitted when there is other tissue to take: painted, shown, or removed.
    """

    edited = Signal()

    def __init__(self, viewer: ViewerModel, connections: Connections, slide: SlideChoice) -> None:
        super().__init__(_SHOW)
        self.setToolTip(
            "A Labels layer of the tissue: paint tissue that was missed, erase what is not "
            "tissue (Ctrl+Z undoes). While the layer exists, runs use it"
        )
        self._viewer = viewer
        self._slide = slide
        self._looking = Background(self)
        self._looking.busy_changed.connect(self.name)
        self.clicked.connect(self.show_tissue)
        self._connections = connections
        connections.add(viewer.layers.events.inserted, self._on_layer)
        connections.add(viewer.layers.events.removed, self._on_layer)
        connections.when_opened(self._watch_all)
        slide.picker.changed.connect(self.name)
        self.name()

    def show_tissue(self) -> None:
        """Add the layer, or select the one that is there."""
        layer = self._slide.layer
        if layer is None:
            show_info("Open a slide to show its tissue.")
            return
        if (shown := tissue_layer_of(self._viewer, layer)) is not None:
            shown.visible = True
            self._viewer.layers.selection.active = shown
            return
        try:
            slide = self._slide.chosen()
        except InputError as error:
            show_error(str(error))
            return

        def show(mask: TissueMask) -> None:
            if layer in self._viewer.layers:
                add_tissue_layer(self._viewer, layer, mask)

        self._looking.start(
            then_compiled(find_tissue),
            slide,
            done=show,
            failed=lambda error: show_error(str(error)),
        )

    def mended(self, slide_layer: Image, slide: Slide) -> TissueMask | None:
        """The tissue as it is painted; None where it is not shown, and the run looks for it.

        Raises
        ------
        InputError
            The layer cannot be used as tissue.
        """
        layer = tissue_layer_of(self._viewer, slide_layer)
        return None if layer is None else tissue_of(layer, slide_layer, slide)

    def _watch_all(self) -> None:
        for layer in self._viewer.layers:
            self._watch(layer, True)

    def _watch(self, layer: Layer, is_there: bool) -> None:
        if layer.metadata.get(TISSUE_KEY):
            for name in _EDITS:
                signal = getattr(layer.events, name)
                self._connections.remove(signal, self._on_painted)
                if is_there:
                    self._connections.add(signal, self._on_painted)

    def _on_layer(self, event: Any) -> None:
        self._watch(event.value, event.type == "inserted")
        self.name()
        self.edited.emit()

    def _on_painted(self, _event: object = None) -> None:
        self.edited.emit()

    def name(self, _event: object = None) -> None:
        """Say whether the run takes a layer."""
        picked = self._slide.layer
        is_shown = picked is not None and tissue_layer_of(self._viewer, picked) is not None
        self.setText("Tissue: as painted" if is_shown else _SHOW)
        self.setEnabled(not self._looking.is_busy)
