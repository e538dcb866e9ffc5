"""Picker of what is predicted: the whole slide, what is in view, or the shapes of a layer."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import MARKER_KEY
from napari_nh2st.layers.regions import polygons_on_slide
from napari_nh2st.layers.view_on_slide import view_on_slide
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.layer_picker import LayerPicker

WHOLE = "whole slide"
IN_VIEW = "what is in view now"


class RegionPicker(LayerPicker):
    """Offers the whole slide, the view, and each Shapes layer.

    Parameters
    ----------
    viewer, connections
        As in :class:`~napari_nh2st.widgets.layer_picker.LayerPicker`.

    Attributes
    ----------
    moved
        Emitted when what is picked may be elsewhere: its shapes are edited, or the view moves.
    """

    moved = Signal()

    def __init__(self, viewer: ViewerModel, connections: Connections) -> None:
        super().__init__(
            viewer, connections, _may_be_region, first={WHOLE: WHOLE, IN_VIEW: IN_VIEW}
        )
        self._connections = connections
        self._watched: Any = None
        camera = viewer.scene.camera.events
        for signal in (camera.center, camera.zoom):
            connections.add(signal, self._on_view)
        self.changed.connect(self._watch)
        self.setToolTip("Where to predict: draw polygons in a Shapes layer to take only those")

    def polygons(self, slide_layer: Image) -> tuple[NDArray[np.float64], ...]:
        """The picked region as polygons, each (n, 2) corners (y, x) in full-resolution pixels.

        Parameters
        ----------
        slide_layer
            Shows the slide.

        Returns
        -------
        tuple of ndarray
            Empty for the whole slide.

        Raises
        ------
        InputError
            The slide is not in view, or the layer has no shape with an area.
        """
        picked = self.value
        if picked == WHOLE:
            return ()
        if picked == IN_VIEW:
            view = view_on_slide(self.viewer, slide_layer)
            if view is None:
                raise InputError("No part of the slide is in view: move to it, or take all of it.")
            return (view,)
        polygons = polygons_on_slide(picked, slide_layer)
        if not polygons:
            raise InputError(f"Layer {picked.name!r} has no shape with an area: draw a polygon.")
        return polygons

    def _on_view(self, _event: object = None) -> None:
        if self.value == IN_VIEW:
            self.moved.emit()

    def _watch(self, picked: Any) -> None:
        if self._watched is not None:
            self._connections.remove(self._watched, self._on_shapes)
        self._watched = picked.events.data if isinstance(picked, Shapes) else None
        if self._watched is not None:
            self._connections.add(self._watched, self._on_shapes)

    def _on_shapes(self, _event: object = None) -> None:
        self.moved.emit()


def _may_be_region(layer: Layer) -> bool:
    return isinstance(layer, Shapes) and not layer.metadata.get(MARKER_KEY)
