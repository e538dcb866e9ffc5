"""Layers of single genes beside the heatmap: pinned ones, and composites of up to four."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anndata import AnnData
from napari.components import ViewerModel
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_nh2st.layers.heatmap import Heatmap, heatmap_of, of_same_model
from napari_nh2st.layers.keys import GENE_KEY, PIN_KEY, id_of
from napari_nh2st.layers.roles import is_pin
from napari_nh2st.layers.tile_image import TileImage, place, placement_of
from napari_nh2st.session.contrast_limits import ContrastLimits
from napari_nh2st.session.pinned_gene import Pin, pin_name
from napari_nh2st.session.same_slide import of_same_slide
from napari_nh2st.session.shown_layers import PinsShown
from napari_nh2st.widgets.current_prediction import CurrentPrediction

PIN_COLORMAPS = (
    "red",
    "green",
    "blue",
    "yellow",
    "cyan",
    "magenta",
    "bop orange",
    "bop purple",
    "bop blue",
)
COMPOSITE_COLORMAPS = ("red", "green", "blue", "yellow")


class GeneLayers:
    """Pins genes of the current prediction as layers, and keeps what they show up to date.

    Their colors add up: :class:`~napari_nh2st.session.shown_layers.ShownLayers` hides slide and
    heatmap while they are shown.

    Parameters
    ----------
    viewer
        Gets the layers.
    current
        The prediction that genes are pinned from.
    limits
        Rules the contrast of the heatmap and of the pinned layers.

    Attributes
    ----------
    pins
        Pinned genes, in the order they came; a layer that the user removes is no longer one.
    changed
        Emitted when there are other pins, or another composite.
    visibility_changed
        Emitted when a pinned layer was shown or hidden.
    """

    changed = Signal()
    visibility_changed = Signal()

    def __init__(
        self, viewer: ViewerModel, current: CurrentPrediction, limits: ContrastLimits
    ) -> None:
        self.viewer = viewer
        self.current = current
        self.limits = limits
        self.pins: list[Pin] = []
        self.interpolation = "nearest"
        self._shown = current.shown_layers
        self._removed: list[Pin] = []
        self._around_removal: tuple[PinsShown, PinsShown] | None = None
        self._following = False

    # --- the viewer ---

    def follow(self) -> None:
        """Notice removed layers from now on, and catch up with what happened before."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.removed.connect(self._on_removed)
            for pin in list(self.pins):
                if pin.layer not in self.viewer.layers:
                    self._forget(pin)
                elif pin.image.raster is not pin.source.raster:
                    self._move([pin], pin.source)
            self._take_up()

    def close(self) -> None:
        """Let go of the viewer; the layers stay, hidden: slide and heatmap are shown instead."""
        if self._following:
            self._following = False
            self.viewer.layers.events.removed.disconnect(self._on_removed)
            self._shown.rest_pins()

    # --- pins ---

    def pinned(self, gene: str) -> Pin | None:
        """The current prediction's gene as a layer of its own; None if it is not pinned."""
        pins = (pin for pin in self.pins if not pin.in_composite)
        heatmap = self.current.heatmap
        return next((pin for pin in pins if pin.gene == gene and pin.source is heatmap), None)

    def pin(self, gene: str) -> Pin:
        """Add a layer that goes on showing this gene of the current prediction.

        It gets the first colormap that no pinned layer has. A gene is pinned once. The pinned
        genes are shown together again if the heatmap was shown instead.
        """
        with self._shown.settled():
            pin = self.pinned(gene)
            if pin is None:
                taken = {pin.layer.colormap.name for pin in self.pins}
                free = [name for name in PIN_COLORMAPS if name not in taken]
                pin = self._add(gene, (free or PIN_COLORMAPS)[0], in_composite=False)
                self.changed.emit()
            pin.layer.visible = True
            self._shown.wake_pins()
        return pin

    def unpin(self, pin: Pin) -> None:
        """Remove a pinned gene's layer."""
        if pin.layer in self.viewer.layers:
            self.viewer.layers.remove(pin.layer)

    def remove(self, pins: Sequence[Pin]) -> None:
        """Unpin genes; :meth:`restore` brings them back."""
        before = self._shown.pins_shown()
        with self._shown.settled():
            for pin in pins:
                self.unpin(pin)
        self._around_removal = before, self._shown.pins_shown()
        self._removed = [pin for pin in pins if pin not in self.pins]
        self.changed.emit()

    @property
    def can_restore(self) -> bool:
        """Whether genes were unpinned that can come back."""
        return bool(self._restorable())

    def restore(self) -> None:
        """Pin the genes again that were unpinned last, in their colors, shown as they were."""
        with self._shown.settled():
            for pin in self._restorable():
                selected = set(self.viewer.layers.selection)
                pin.layer.visible = False
                self.viewer.layers.append(pin.layer)
                self.viewer.layers.selection = selected
                self._keep(pin)
                self._move([pin], pin.source, keep_limits=True)
            if self._around_removal is not None:
                self._shown.undo(*self._around_removal)
        self._removed, self._around_removal = [], None
        self.changed.emit()

    def _restorable(self) -> list[Pin]:
        return [
            pin
            for pin in self._removed
            if pin.source.layer in self.viewer.layers
            and pin.gene in pin.source.prediction.var_names
            and (pin.in_composite or self.pinned(pin.gene) is None)
        ]

    def refresh(self, source: Heatmap) -> None:
        """Show the values that have come in a heatmap's prediction."""
        for pin in self.pins:
            if pin.source is source:
                pin.refresh()

    def take(self, heatmap: Heatmap, former: AnnData) -> list[str]:
        """Show the other prediction that a heatmap has taken, in the same layers.

        Parameters
        ----------
        heatmap
            With its new prediction.
        former
            The one before.

        Returns
        -------
        list of str
            Genes that the new prediction lacks; they are unpinned.
        """
        pins = [pin for pin in self.pins if pin.source is heatmap]
        return self._move(pins, heatmap, keep_limits=of_same_model(former, heatmap.prediction))

    def move_to(self, heatmap: Heatmap) -> list[str]:
        """Take the pins of a slide whose heatmap was removed over to another one of it.

        A composite goes. The return is that of :meth:`take`.
        """
        orphans = [
            pin
            for pin in self.pins
            if of_same_slide(pin.source, heatmap) and pin.source.layer not in self.viewer.layers
        ]
        lost = []
        for pin in orphans:
            if pin.in_composite:
                self.unpin(pin)
            else:
                same = of_same_model(pin.source.prediction, heatmap.prediction)
                lost += self._move([pin], heatmap, keep_limits=same)
        return lost

    def _move(self, pins: Sequence[Pin], heatmap: Heatmap, keep_limits: bool = False) -> list[str]:
        lost = []
        for pin in pins:
            if pin.gene not in heatmap.prediction.var_names:
                lost.append(pin.gene)
                self.unpin(pin)
                continue
            image, layer = pin.image, pin.layer
            if not keep_limits:
                image.follow_values()
            if layer.name == pin.own_name:
                layer.name = pin_name(pin.gene, heatmap, pin.in_composite)
                pin = replace(pin, own_name=layer.name)
            moved = replace(pin, source=heatmap)
            _note(moved)
            self.pins = [moved if each.image is image else each for each in self.pins]
            image.raster = heatmap.raster
            moved.refresh()
            place(layer, placement_of(heatmap.layer))
        if pins:
            self.changed.emit()
        return lost

    # --- composites ---

    @property
    def has_composite(self) -> bool:
        """Whether a composite is shown."""
        return any(pin.in_composite for pin in self.pins)

    def compose(self, genes: Sequence[str]) -> None:
        """Show genes together, each in one color on black, and hide the pinned ones.

        Parameters
        ----------
        genes
            One to four, in red, green, blue and yellow. A composite that is there already is
            replaced.
        """
        if not 1 <= len(genes) <= len(COMPOSITE_COLORMAPS):
            raise ValueError(f"a composite is of 1 to {len(COMPOSITE_COLORMAPS)} genes")
        with self._shown.settled():
            self._remove_composite()
            self._shown.make_way()
            for gene, colormap in zip(genes, COMPOSITE_COLORMAPS, strict=False):
                self._add(gene, colormap, in_composite=True)
        self.changed.emit()

    def undo_composite(self) -> None:
        """Remove the composite; what it hid is shown again."""
        with self._shown.settled():
            self._remove_composite()

    # --- on black, or the heatmap on the slide ---

    @property
    def are_shown(self) -> bool:
        """Whether pinned genes are shown, on black."""
        return any(pin.layer.visible for pin in self.pins)

    def show_pins(self) -> None:
        """Show the pinned genes on black again, those that :meth:`show_slide` hid or else all."""
        self._shown.show_pins()

    def show_slide(self) -> None:
        """Show slide and heatmap instead of the pinned genes."""
        self._shown.rest_pins()

    # --- layers ---

    def _add(self, gene: str, colormap: Any, in_composite: bool) -> Pin:
        source = self.current.heatmap
        if source is None:
            raise ValueError("there is no prediction to show a gene of")
        values = source.values_of(gene)
        selected = set(self.viewer.layers.selection)
        layer = self.viewer.add_image(
            source.raster.image(values),
            name=pin_name(gene, source, in_composite),
            colormap=colormap,
            contrast_limits=(0.0, 1.0),
            blending="additive",
            interpolation2d=self.interpolation,
            metadata={GENE_KEY: gene, PIN_KEY: {"in_composite": in_composite}},
            **placement_of(source.layer),
        )
        # The heatmap stays the one that is worked on.
        self.viewer.layers.selection = selected
        image = TileImage(layer, source.raster)
        image.values = values
        pin = Pin(gene, source, image, in_composite, own_name=layer.name)
        self._keep(pin)
        return pin

    def _keep(self, pin: Pin) -> None:
        self.limits.join(pin.image)
        pin.layer.events.visible.connect(self._on_visible)
        self.pins.append(pin)
        _note(pin)

    def _take_up(self) -> None:
        """Take up layers that were pinned in a dock that is gone."""
        known = [pin.layer for pin in self.pins]
        heatmaps = [heatmap_of(layer) for layer in self.viewer.layers]
        sources = {id_of(each.layer): each for each in heatmaps if each is not None}
        for layer in [la for la in self.viewer.layers if is_pin(la) and la not in known]:
            gene, noted = layer.metadata[GENE_KEY], layer.metadata[PIN_KEY]
            source = sources.get(noted.get("source", ""))
            if source is None or gene not in source.prediction.var_names:
                continue
            image = TileImage(layer, source.raster)
            image.values = source.values_of(gene)
            pin = Pin(gene, source, image, noted["in_composite"], noted["name"])
            self._keep(pin)
            self._move([pin], source, keep_limits=True)  # it may show another prediction by now

    def _remove_composite(self) -> None:
        for pin in [pin for pin in self.pins if pin.in_composite]:
            self.unpin(pin)

    def _on_removed(self, event: Any) -> None:
        # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
        for pin in [pin for pin in self.pins if pin.layer == event.value]:
            self._forget(pin)
        # An unpinned gene must not keep a prediction in memory.
        self._removed = [pin for pin in self._removed if pin.source.layer != event.value]
        if any(pin.source.layer == event.value for pin in self.pins):
            # By itself: several layers may be under way.
            QTimer.singleShot(0, self._move_orphans)

    def _forget(self, pin: Pin) -> None:
        self.pins.remove(pin)
        pin.layer.events.visible.disconnect(self._on_visible)
        self.limits.leave(pin.image)
        self.changed.emit()

    def _move_orphans(self) -> None:
        """Take pins whose heatmap was removed over to one of the same slide that is still there."""
        if self._following:
            heatmaps = [heatmap_of(layer) for layer in self.viewer.layers]
            for heatmap in reversed([each for each in heatmaps if each is not None]):
                self.move_to(heatmap)

    def _on_visible(self, _event: Any = None) -> None:
        self.visibility_changed.emit()


def _note(pin: Pin) -> None:
    """Keep with the layer what a dock needs that is opened later."""
    pin.layer.metadata[PIN_KEY] = {
        "source": id_of(pin.source.layer),
        "name": pin.own_name,
        "in_composite": pin.in_composite,
    }
