"""Where on the slide: all of it, what is in view, or the polygons of a Shapes layer."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from qtpy.QtWidgets import QComboBox

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import MARKER_KEY
from napari_nh2st.layers.regions import polygons_on_slide
from napari_nh2st.widgets.predict.run import Box

WHOLE = "whole slide"
IN_VIEW = "what is in view now"


class RegionChoice(QComboBox):
    """Offers the whole slide, the view, and each Shapes layer.

    Parameters
    ----------
    viewer
        Its Shapes layers are offered, from :meth:`follow` to :meth:`close_down`.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self._following = False
        self.setToolTip("Where to predict: draw polygons in a Shapes layer to take only those")
        for words in (WHOLE, IN_VIEW):
            self.addItem(words, words)

    def polygons(self, slide_layer: Image, view: Box | None) -> tuple[NDArray[np.float64], ...]:
        """What was chosen: polygons, each (n, 2) corners (y, x) in full-resolution pixels.

        Parameters
        ----------
        slide_layer
            Shows the slide.
        view
            What of it is in view.

        Returns
        -------
        tuple of ndarray
            Empty for the whole slide.

        Raises
        ------
        InputError
            The slide is not in view, or the layer has no shape with an area.
        """
        chosen = self.currentData()
        if chosen == WHOLE:
            return ()
        if chosen == IN_VIEW:
            if view is None:
                raise InputError("No part of the slide is in view: move to it, or take all of it.")
            y0, x0, y1, x1 = view
            return (np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]),)
        polygons = polygons_on_slide(chosen, slide_layer)
        if not polygons:
            raise InputError(f"Layer {chosen.name!r} has no shape with an area: draw a polygon.")
        return polygons

    def follow(self) -> None:
        """Offer the viewer's Shapes layers from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.inserted.connect(self._update)
            self.viewer.layers.events.removed.connect(self._update)
        self._update()

    def choose(self, layer: Shapes) -> None:
        """Take the shapes of this layer."""
        self._update()
        for row in range(self.count()):
            if self.itemData(row) == layer:
                self.setCurrentIndex(row)

    def close_down(self) -> None:
        """Let go of the viewer."""
        if self._following:
            self._following = False
            self.viewer.layers.events.inserted.disconnect(self._update)
            self.viewer.layers.events.removed.disconnect(self._update)
            for layer in self._layers():
                layer.events.name.disconnect(self._update)

    def showPopup(self) -> None:  # Qt's name
        """Show the list, with the names that layers have by now."""
        self._update()
        super().showPopup()

    def _layers(self) -> list[Shapes]:
        return [
            layer
            for layer in self.viewer.layers
            if isinstance(layer, Shapes) and not layer.metadata.get(MARKER_KEY)
        ]

    def _update(self, _event: Any = None) -> None:
        chosen = self.currentData()
        layers = self._layers()
        self.blockSignals(True)
        self.clear()
        for words in (WHOLE, IN_VIEW):
            self.addItem(words, words)
        for layer in layers:
            layer.events.name.disconnect(self._update)
            layer.events.name.connect(self._update)
            self.addItem(layer.name, layer)
        # By what they are, not by their names, which the user may change.
        kept = [row for row in range(self.count()) if self.itemData(row) == chosen]
        self.setCurrentIndex(kept[0] if kept else 0)
        self.blockSignals(False)
        if not kept:
            self.currentTextChanged.emit(self.currentText())
