"""The µm/px given by hand, set on the slide's layer; what lies on it is moved along."""

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray
from qtpy.QtWidgets import QToolButton

from napari_nh2st.widgets.heatmap import id_of
from napari_nh2st.widgets.slide_choice import SlideChoice

_Mpp = tuple[float, float] | None


class SlideCalibration:
    """Keeps scale and units of slide layers in step with the µm/px given for them.

    A layer that the user has scaled otherwise, to align it with something, is left as it is.

    Parameters
    ----------
    viewer
        Has the layers; its camera is moved along too, so that the picture stands still.
    slide
        The picked layer, and its µm/px.

    Attributes
    ----------
    undo
        Goes back to the value before the last; hidden where there is none.
    """

    def __init__(self, viewer: ViewerModel, slide: SlideChoice) -> None:
        self.viewer = viewer
        self.slide = slide
        self.undo = QToolButton()
        self.undo.setText("↶")
        self.undo.setToolTip("Back to the former µm/px, with the layer and all that lies on it")
        self.undo.hide()
        self._values: dict[str, list[float]] = {}
        slide.mpp.valueChanged.connect(self._on_value)
        slide.picker.changed.connect(self._on_picked)
        self.undo.clicked.connect(self._go_back)
        self._on_picked()

    def _on_picked(self, _layer: Any = None) -> None:
        layer = self.slide.layer
        if layer is not None:
            self._values.setdefault(id_of(layer), [self.slide.mpp.value()])
        self._show_undo()

    def _on_value(self, value: float) -> None:
        layer, slide = self.slide.layer, self.slide.peek()
        if layer is None or slide is None:
            return
        values = self._values.setdefault(id_of(layer), [0.0])
        former = self.slide.measured(layer, values[-1])
        if values[-1] != value:
            values.append(value)
            # That of another reader's layer is its pixels, whatever its file says.
            if _lies_as(layer, former) or _lies_as(layer, None):
                calibrate(self.viewer, layer, slide.mpp)
        self._show_undo()

    def _go_back(self) -> None:
        values = self._of_picked()
        if len(values) > 1:
            self.slide.mpp.setValue(values[-2])
            del values[-2:]  # going back is no value to go back to
        self._show_undo()

    def _show_undo(self) -> None:
        self.undo.setVisible(len(self._of_picked()) > 1)

    def _of_picked(self) -> list[float]:
        """Values given for the picked layer, the first of them its own."""
        layer = self.slide.layer
        return [] if layer is None else self._values.get(id_of(layer), [])


def calibrate(viewer: ViewerModel, layer: Image, mpp: _Mpp) -> None:
    """Set a layer's scale and units, and move the layers that lie on it and the camera along.

    Parameters
    ----------
    viewer
        Has the layer.
    layer
        Shows a slide.
    mpp
        µm/px (y, x); None for pixels.

    Notes
    -----
    On it lies what is in the same units and overlaps it, but for other RGB images: those are
    slides of their own.
    """
    on_it = [other for other in viewer.layers if other != layer and _is_on(other, layer)]
    before = _to_world(layer)
    unit = "pixel" if mpp is None else "um"
    scale = np.array(layer.scale)
    scale[-2:] = mpp or (1.0, 1.0)
    layer.scale, layer.units = scale, (*layer.units[:-2], unit, unit)
    moved = _to_world(layer) @ np.linalg.inv(before)
    for other in on_it:
        _move(other, moved)
        other.units = (*other.units[:-2], unit, unit)
    # The camera has moved into the scene with napari 0.9.
    camera = getattr(viewer, "scene", viewer).camera
    center = moved @ (*camera.center[-2:], 1.0)
    camera.center = (*camera.center[:-2], *center[:2])
    camera.zoom /= float(np.sqrt(abs(np.linalg.det(moved[:2, :2]))))


def _lies_as(layer: Image, mpp: _Mpp) -> bool:
    """Whether a layer has the scale and units of this µm/px."""
    in_px = str(layer.units[-1]) == "pixel"
    return in_px == (mpp is None) and np.allclose(layer.scale[-2:], mpp or (1.0, 1.0), rtol=1e-3)


def _is_on(other: Layer, layer: Image) -> bool:
    if other.units[-2:] != layer.units[-2:] or (isinstance(other, Image) and other.rgb):
        return False
    ours, theirs = (np.asarray(each.extent.world)[:, -2:] for each in (layer, other))
    if not np.isfinite(theirs).all():  # nothing is drawn in it yet
        return True
    return bool((theirs[0] <= ours[1]).all() and (theirs[1] >= ours[0]).all())


def _to_world(layer: Layer) -> NDArray[np.float64]:
    """(3, 3) from a layer's data coordinates (y, x, 1) to the world's."""
    origin, down, right = (
        np.asarray(layer.data_to_world((*[0.0] * (layer.ndim - 2), *corner)))[-2:]
        for corner in ((0, 0), (1, 0), (0, 1))
    )
    matrix = np.eye(3)
    matrix[:2] = np.column_stack([down - origin, right - origin, origin])
    return matrix


def _move(layer: Layer, moved: NDArray[np.float64]) -> None:
    """Move a layer in the world: by scale and translation where those can say it."""
    linear = moved[:2, :2]
    factor = linear[0, 0]
    plain = np.allclose(np.asarray(layer.affine.affine_matrix), np.eye(layer.ndim + 1))
    if plain and np.allclose(linear, factor * np.eye(2)):
        scale, translate = np.array(layer.scale), np.array(layer.translate)
        scale[-2:] *= factor
        translate[-2:] = linear @ translate[-2:] + moved[:2, 2]
        layer.scale, layer.translate = scale, translate
    else:
        step = np.eye(layer.ndim + 1)
        step[-3:-1, -3:-1], step[-3:-1, -1] = linear, moved[:2, 2]
        layer.affine = step @ np.asarray(layer.affine.affine_matrix)
