"""OpenGL context of the canvas while layers are removed."""

import contextlib
import weakref
from typing import Any

from napari.components import ViewerModel


def remove_in_own_context(viewer: ViewerModel) -> None:
    """Have what is drawn of a layer deleted in the canvas's own context, from now on.

    napari deletes the shaders of a removed layer, and those of its colorbar, as soon as the layer
    is gone, in whichever OpenGL context is the current one. Between two frames that is often the
    window's. Mesa then keeps a shader that the canvas's context still has in use, and frees it two
    frames later in the middle of drawing, which ends the process.

    Parameters
    ----------
    viewer
        With a window or without one.
    """
    known = weakref.ref(viewer)

    def make_current(_event: Any) -> None:
        window = getattr(known(), "window", None)
        # napari has no public way to its canvas, and none to draw on where the window is closed.
        with contextlib.suppress(AttributeError, RuntimeError):
            window._qt_viewer.canvas._scene_canvas.set_current()  # type: ignore[union-attr]

    viewer.layers.events.removing.connect(make_current)
