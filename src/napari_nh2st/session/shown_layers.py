"""Visibility of the layers of predictions: what is shown, and hidden for its sake."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray

from napari_nh2st.layers.heatmap import shows_heatmap
from napari_nh2st.layers.keys import COLUMN_KEY, COLUMN_OF_KEY, DOMAINS_KEY
from napari_nh2st.layers.roles import covers_tiles, is_in_composite, is_pin
from napari_nh2st.prediction.schema import notes

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

_BLACK = "black"


@dataclass(frozen=True)
class PinsShown:
    """Which pins are visible, and which were hidden for the slide's or a composite's sake."""

    visible: tuple[Layer, ...]
    hidden: tuple[Layer, ...]
    under_composite: tuple[Layer, ...]


class ShownLayers:
    """Shows and hides the layers of predictions, so that no colors mix that would mean nothing.

    At one place there is a heatmap, a signature, domains or measured ST, on the slide. Or there are
    pinned genes, or a composite, whose colors add up: on black, with all else hidden but shapes, or
    over the slide, in the place of heatmaps and the like. What was hidden comes back, unless
    somebody showed or hid it meanwhile.

    Parameters
    ----------
    session
        Session of the viewer, whose canvas is black beneath pins, in the light theme too.

    Attributes
    ----------
    pins_over_slide
        Whether pins are shown over the slide, and not on black; see :meth:`show_pins_over_slide`.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.pins_over_slide = False
        self._pins_are_up = False
        self._beneath: list[Layer] = []
        self._former_background: Any = None
        self._replaced: dict[Layer, list[Layer]] = {}
        self._hidden_pins: list[Layer] = []
        self._under_composite: list[Layer] = []
        self._working = False
        layers = session.viewer.layers
        for layer in layers:
            layer.events.visible.connect(self._on_visible)
        layers.events.inserted.connect(self._on_inserted)
        layers.events.removed.connect(self._on_removed)

    # --- on the slide ---

    def show(self, layer: Layer) -> None:
        """Show a heatmap, signature, domains or measured ST, in the place of others and of pins.

        In a grid, where they lie side by side, other heatmaps stay.
        """
        grid = self._session.viewer.canvas.grid.enabled
        with self.settled():
            self.hide_pins()
            self._settle()
            others = [each for each in self._over(layer) if each.visible]
            if grid:
                others = [each for each in others if not shows_heatmap(each)]
                if not others and shows_heatmap(layer):
                    return
            bases = self._replaced.get(layer, [])
            bases = bases + [base for each in others for base in self._bases(each)]
            for each in [*others, layer]:
                _set_visible(each, each == layer)
                _note_seen(each)
            kept = {each: those for each, those in self._replaced.items() if each not in others}
            kept[layer] = list(dict.fromkeys(bases))
            self._replaced = {each: _without(layer, those) for each, those in kept.items()}

    def _bases(self, layer: Layer) -> list[Layer]:
        """The heatmaps to show when what replaces this layer goes."""
        return [layer] if shows_heatmap(layer) else self._replaced.get(layer, [])

    def _over(self, layer: Layer) -> list[Layer]:
        """What else covers tiles at the place of a layer."""
        low, high = _box(layer)
        others = [la for la in self._session.viewer.layers if la != layer and covers_tiles(la)]
        boxes = [(la, _box(la)) for la in others]
        return [la for la, box in boxes if (box[0] <= high).all() and (box[1] >= low).all()]

    # --- pins, on black ---

    def restore_pins(self) -> bool:
        """Show the pins again that :meth:`hide_pins` hid; whether there were any."""
        hidden, self._hidden_pins = self._hidden_pins, []
        with self.settled():
            for layer in hidden:
                layer.visible = True
        return bool(hidden)

    def show_pins(self) -> None:
        """Show the pins again that were hidden, or else all that no composite hid."""
        with self.settled():
            if not self.restore_pins():
                for layer in self._pins():
                    if layer not in self._under_composite:
                        layer.visible = True

    def hide_pins(self) -> None:
        """Hide the pins, and show what they were shown instead of."""
        shown = [layer for layer in self._pins() if layer.visible]
        if shown:
            self._hidden_pins = shown
            with self.settled():
                for layer in shown:
                    layer.visible = False

    def make_way(self) -> None:
        """Hide the pins for a composite that comes, until its last layer is removed."""
        shown = [layer for layer in self._pins() if layer.visible]
        with self.settled():
            self._under_composite = shown + self._hidden_pins
            self._hidden_pins = []
            for layer in shown:
                layer.visible = False

    def pins_shown(self) -> PinsShown:
        """How the pins are shown now, for :meth:`undo`."""
        visible = (layer for layer in self._pins() if layer.visible)
        return PinsShown(tuple(visible), tuple(self._hidden_pins), tuple(self._under_composite))

    def undo(self, before: PinsShown, after: PinsShown) -> None:
        """Show the pins as before something happened to them, but for what was changed since.

        Parameters
        ----------
        before, after
            From :meth:`pins_shown`.
        """
        pins = self._pins()
        with self.settled():
            came = [each for each in before.visible if each in pins and each not in after.visible]
            if came:
                self.restore_pins()
            for layer in came:
                layer.visible = True
            for layer in after.visible:
                if layer in pins and layer not in before.visible:
                    layer.visible = False
            if any(map(is_in_composite, pins)):
                self._under_composite = [each for each in before.under_composite if each in pins]
            hidden = dict.fromkeys([*self._hidden_pins, *before.hidden])
            self._hidden_pins = [
                each
                for each in hidden
                if each in pins and not each.visible and each not in self._under_composite
            ]

    def show_pins_over_slide(self, wanted: bool) -> None:
        """Show pins over the slide, now and from now on, or on black."""
        if wanted == self.pins_over_slide:
            return
        with self.settled():
            if self._pins_are_up:
                self._lift()
            self.pins_over_slide = wanted
            if self._pins_are_up:
                self._lay()

    def _would_hide(self, layer: Layer) -> bool:
        """Whether a layer and pins cannot be seen together."""
        if self.pins_over_slide:
            return covers_tiles(layer)
        return not isinstance(layer, Shapes)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Lay or lift the black once, when all is done."""
        outermost, self._working = not self._working, True
        try:
            yield
        finally:
            if outermost:
                try:
                    self._settle()
                finally:
                    self._working = False

    def _pins(self) -> list[Layer]:
        return [layer for layer in self._session.viewer.layers if is_pin(layer)]

    def _settle(self) -> None:
        any_shown = any(layer.visible for layer in self._pins())
        if any_shown != self._pins_are_up:
            self._pins_are_up = any_shown
            if any_shown:
                self._lay()
            else:
                self._lift()

    def _lay(self) -> None:
        layers = [layer for layer in self._session.viewer.layers if layer.visible]
        self._beneath = [la for la in layers if not is_pin(la) and self._would_hide(la)]
        for layer in self._beneath:
            layer.visible = False
        canvas = self._session.viewer.canvas
        self._former_background = canvas.background_color_override
        if not self.pins_over_slide:
            canvas.background_color_override = _BLACK

    def _lift(self) -> None:
        beneath, self._beneath = self._beneath, []
        for layer in beneath:
            layer.visible = True
        self._session.viewer.canvas.background_color_override = self._former_background

    # --- the viewer ---

    def _on_visible(self, event: Any) -> None:
        layer = event.source
        if self._working:
            return
        if is_pin(layer):
            with self.settled():
                pass
        elif self._pins_are_up and layer.visible:
            if covers_tiles(layer):
                self.show(layer)
            else:  # it is somebody else's from now on
                self._beneath = _without(layer, self._beneath)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        layer.events.visible.connect(self._on_visible)
        if self._working or not layer.visible:
            return
        if is_pin(layer):
            with self.settled():
                pass
        elif self._pins_are_up and isinstance(layer, (Image, Labels)) and self._would_hide(layer):
            self.hide_pins()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        layer.events.visible.disconnect(self._on_visible)
        bases = self._replaced.pop(layer, None)
        if bases is None:
            bases = self._hidden_beneath(layer)
        self._replaced = {each: _without(layer, those) for each, those in self._replaced.items()}
        self._beneath = _without(layer, self._beneath)
        self._hidden_pins = _without(layer, self._hidden_pins)
        self._under_composite = _without(layer, self._under_composite)
        with self.settled():
            if is_in_composite(layer) and not any(map(is_in_composite, self._pins())):
                self._leave_composite(layer.visible)
            for base in bases:
                self._give_back(base)

    def _hidden_beneath(self, layer: Layer) -> list[Layer]:
        """The heatmaps that a file had hidden for the sake of domains or a column in a layer."""
        prediction = layer.metadata.get(DOMAINS_KEY, layer.metadata.get(COLUMN_OF_KEY))
        if prediction is None or not (layer.visible and covers_tiles(layer)):
            return []
        heatmaps = self._session.heatmaps
        return [each.layer for each in heatmaps if each.prediction is prediction]

    def _leave_composite(self, was_shown: bool) -> None:
        hidden, self._under_composite = self._under_composite, []
        if not was_shown:  # the heatmap is shown instead
            self._hidden_pins += hidden
            return
        for layer in hidden:
            layer.visible = True

    def _give_back(self, heatmap_layer: Layer) -> None:
        """Show a heatmap again whose place is free."""
        if any(each.visible or each in self._beneath for each in self._over(heatmap_layer)):
            return
        if self._pins_are_up:
            self._beneath = [*_without(heatmap_layer, self._beneath), heatmap_layer]
        else:
            heatmap_layer.visible = True


def _without(layer: Layer, layers: Iterable[Layer]) -> list[Layer]:
    # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
    return [each for each in layers if each != layer]


def _set_visible(layer: Layer, visible: bool) -> None:
    if layer.visible != visible:  # napari draws a layer anew, also if it was visible
        layer.visible = visible


def _note_seen(layer: Layer) -> None:
    """Let a file of the prediction open with its domains or a column, or a gene in their place."""
    if DOMAINS_KEY in layer.metadata:
        notes(layer.metadata[DOMAINS_KEY])["shows_domains"] = layer.visible
    elif COLUMN_OF_KEY in layer.metadata and layer.visible:
        notes(layer.metadata[COLUMN_OF_KEY])["shown_column"] = layer.metadata[COLUMN_KEY]
    elif COLUMN_OF_KEY in layer.metadata:
        notes(layer.metadata[COLUMN_OF_KEY]).pop("shown_column", None)


def _box(layer: Layer) -> NDArray[np.float64]:
    """(2, 2) lowest and highest (y, x) in the world."""
    return np.asarray(layer.extent.world, np.float64)[:, -2:]
