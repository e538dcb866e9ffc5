"""Two kinds of values side by side, each on the slide."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Image, Layer, Points

from napari_nh2st.layers.keys import BESIDE_KEY
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.layers.tile_image import place, placement_of

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_nh2st.session.session import Session

_TITLE_PT = 8.0
"""A kind and a gene fit over half of a small screen's canvas."""


class SideBySide:
    """The slide twice in napari's grid, with other spots on each.

    :meth:`begin` fits the spots, which is the tissue, into both halves, each with the name of its
    layer above; :meth:`end` restores the view. Other layers are hidden meanwhile: the grid would
    give them places of their own.

    Parameters
    ----------
    session
        Its viewer shows them.
    slide_layer
        The slide.

    Attributes
    ----------
    copy
        The slide's second layer.
    hid_pins
        Whether pinned genes were shown before.
    """

    def __init__(self, session: "Session", slide_layer: Image) -> None:
        viewer = session.viewer
        self._session = session
        self.slide_layer = slide_layer
        data, attributes, _ = slide_layer.as_layer_data_tuple()
        name = f"{slide_layer.name} (beside)"
        # Without what is known of the slide: whoever looks for slides is to find the first alone.
        own = {"name": name, "visible": True, "metadata": {BESIDE_KEY: True}}
        self.copy = Image(data, **(attributes | own))
        self._grid, self._camera = viewer.canvas.grid, viewer.scene.camera
        self._former_grid = (self._grid.enabled, self._grid.stride, self._grid.shape)
        self._former_view = (self._camera.center, self._camera.zoom)
        self.hid_pins = session.pins.are_shown
        session.shown_layers.hide_pins()  # they hide the slide
        self._order = list(viewer.layers)
        self._visible = {layer: layer.visible for layer in viewer.layers}
        self._shown: list[Layer] = []
        self._titles: dict[Points, tuple[bool, float]] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all layers that it is made of are still in the viewer."""
        return all(layer in self._session.viewer.layers for layer in self._shown)

    def begin(self, left: Points, right: Points) -> None:
        """Show one layer of spots on the slide at the left, the other at the right."""
        layers = self._session.viewer.layers
        # Whoever follows the selected slide stays with the slide itself.
        with kept_selection(self._session.viewer):
            layers.append(self.copy)
        self._shown = [self.slide_layer, left, self.copy, right]
        others = [layer for layer in layers if layer not in self._shown]
        _show({layer: layer in self._shown for layer in layers})
        arrange(self._session.viewer, [*self._shown, *others])
        self._set_grid(True, 2, (1, 2))
        self._entitle(left)
        self._entitle(right)
        self._session.viewer.fit_to_view(layers=[left])

    def change(self, right: Points) -> None:
        """Show other spots at the right."""
        former = self._shown[3]
        if right == former:
            return
        self._shown[3] = right
        others = [layer for layer in self._session.viewer.layers if layer not in self._shown]
        arrange(self._session.viewer, [*self._shown, *others])
        _show({former: False, right: True})
        self._entitle(right)

    def follow_slide(self) -> None:
        """Lay the copy where the slide lies now."""
        place(self.copy, placement_of(self.slide_layer))

    def end(self) -> None:
        """Take the copy away and restore grid, camera, order and what was visible.

        All but the order is restored also where somebody who hears of it raises an error.
        """
        layers = self._session.viewer.layers
        try:
            if self.copy in layers:
                layers.remove(self.copy)
            known = [layer for layer in self._order if layer in layers]
            new = [layer for layer in layers if layer not in known]
            arrange(self._session.viewer, [*known, *new])
        finally:
            for layer, (visible, size) in self._titles.items():
                layer.name_overlay.visible, layer.name_overlay.font_size = visible, size
            _show({layer: shown for layer, shown in self._visible.items() if layer in layers})
            self._set_grid(*self._former_grid)
            self._camera.center, self._camera.zoom = self._former_view

    def _entitle(self, layer: Points) -> None:
        """Write a layer's name over its half."""
        title = layer.name_overlay
        self._titles.setdefault(layer, (title.visible, title.font_size))
        title.position, title.font_size, title.visible = "top_center", _TITLE_PT, True

    def _set_grid(self, enabled: bool, stride: int, shape: tuple[int, int]) -> None:
        # For each of the three, the viewer would arrange and draw all layers anew.
        with self._grid.events.blocker_all():
            self._grid.stride, self._grid.shape = stride, shape
        self._grid.enabled = enabled


def _show(visible: dict[Layer, bool]) -> None:
    for layer, wanted in visible.items():
        if layer.visible != wanted:
            layer.visible = wanted


def arrange(viewer: "ViewerModel", order: Sequence[Layer]) -> None:
    """Bring all of the viewer's layers into an order; they are drawn once.

    napari's own ``move_multiple`` fails for some orders of five layers and more.
    """
    layers = viewer.layers
    if list(layers) == list(order):
        return
    with layers.events.reordered.blocker():
        for place, layer in enumerate(order):
            now = layers.index(layer)
            if now != place:
                layers.move(now, place)
    layers.events.reordered(value=layers)
