"""Black beneath layers whose colors add up: over a bright slide they would all be white."""

from collections.abc import Sequence
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer

_BLACK = "black"


class BlackGround:
    """Hides the images beneath some layers, and shows them again.

    Parameters
    ----------
    viewer
        Its canvas is black meanwhile, in the light theme too.

    Attributes
    ----------
    is_laid
        Whether there is black now.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.is_laid = False
        self._hidden: list[Layer] = []
        self._former_background: Any = None

    def lay(self, above: Sequence[Layer]) -> None:
        """Hide the images that are shown, but for those above; once, until it is lifted."""
        if self.is_laid:
            return
        self.is_laid = True
        images = [la for la in self.viewer.layers if isinstance(la, Image) and la.visible]
        self._hidden = [la for la in images if la not in above]
        for layer in self._hidden:
            layer.visible = False
        if (canvas := _canvas_with_background(self.viewer)) is not None:
            self._former_background = canvas.background_color_override
            canvas.background_color_override = _BLACK

    def lift(self) -> None:
        """Show what was hidden, where it is still there."""
        if not self.is_laid:
            return
        self.is_laid = False
        hidden, self._hidden = self._hidden, []
        for layer in hidden:
            if layer in self.viewer.layers:
                layer.visible = True
        if (canvas := _canvas_with_background(self.viewer)) is not None:
            canvas.background_color_override = self._former_background


def _canvas_with_background(viewer: ViewerModel) -> Any:
    """The canvas whose color can be set; there is none before napari 0.9."""
    canvas = getattr(viewer, "canvas", None)
    return canvas if hasattr(canvas, "background_color_override") else None
