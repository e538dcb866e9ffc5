"""Layers of single genes beside the heatmap: pinned ones, and composites of up to four."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.genes.limits import ContrastLimits
from napari_nh2st.widgets.heatmap import Heatmap, heatmap_of, layer_name, of_same_model
from napari_nh2st.widgets.tile_image import TileImage, place, placement_of

GENE_KEY = "nh2st_gene"
"""Key of a pinned layer's metadata under which its gene's name lies."""

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


@dataclass(frozen=True, eq=False)
class Pin:
    """A gene in a layer of its own.

    Parameters
    ----------
    gene
        It stays this one.
    source
        Heatmap of the prediction that its values are from.
    image
        Its layer.
    in_composite
        It came with a composite and goes with it.
    own_name
        What the layer is called until the user renames it.
    """

    gene: str
    source: Heatmap
    image: TileImage
    in_composite: bool = False
    own_name: str = ""

    @property
    def layer(self) -> Image:
        """The layer."""
        return self.image.layer

    def refresh(self) -> None:
        """Show the values that are there by now."""
        self.image.show(self.source.values_of(self.gene))


class GeneLayers:
    """Pins genes of the current prediction as layers, and keeps what they show up to date.

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
        self._hidden_by_composite: list[Layer] = []
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

    def close(self) -> None:
        """Let go of the viewer; the layers stay."""
        if self._following:
            self._following = False
            self.viewer.layers.events.removed.disconnect(self._on_removed)

    # --- pins ---

    def pinned(self, gene: str) -> Pin | None:
        """The current prediction's gene as a layer of its own; None if it is not pinned."""
        pins = (pin for pin in self.pins if not pin.in_composite)
        heatmap = self.current.heatmap
        return next((pin for pin in pins if pin.gene == gene and pin.source is heatmap), None)

    def pin(self, gene: str) -> Pin:
        """Add a layer that goes on showing this gene of the current prediction.

        It gets the first colormap that no pinned layer has. A gene is pinned once.
        """
        former = self.pinned(gene)
        if former is not None:
            return former
        taken = {pin.layer.colormap.name for pin in self.pins}
        free = [name for name in PIN_COLORMAPS if name not in taken]
        colormap = (free or PIN_COLORMAPS)[0]
        pin = self._add(gene, colormap, in_composite=False)
        self.changed.emit()
        return pin

    def unpin(self, pin: Pin) -> None:
        """Remove a pinned gene's layer."""
        if pin.layer in self.viewer.layers:
            self.viewer.layers.remove(pin.layer)

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
            if pin.source.slide_name == heatmap.slide_name
            and pin.source.layer not in self.viewer.layers
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
                layer.name = _pin_name(pin.gene, heatmap, pin.in_composite)
                pin = replace(pin, own_name=layer.name)
            moved = replace(pin, source=heatmap)
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
        """Show genes together, each in one color on black, and hide the other images.

        Parameters
        ----------
        genes
            One to four, in red, green, blue and yellow. A composite that is there already is
            replaced.
        """
        if not 1 <= len(genes) <= len(COMPOSITE_COLORMAPS):
            raise ValueError(f"a composite is of 1 to {len(COMPOSITE_COLORMAPS)} genes")
        hidden = self._hidden_by_composite
        if self.has_composite:
            self._hidden_by_composite = []  # not shown again in between
            self._remove_composite()
        else:
            # Additive colors over a bright slide would all be white.
            hidden = [la for la in self.viewer.layers if la.visible and isinstance(la, Image)]
        self._hidden_by_composite = hidden
        for layer in hidden:
            layer.visible = False
        for gene, colormap in zip(genes, COMPOSITE_COLORMAPS, strict=False):
            self._add(gene, colormap, in_composite=True)
        self.changed.emit()

    def undo_composite(self) -> None:
        """Remove the composite; what it hid is shown again."""
        self._remove_composite()
        self._show_hidden()

    # --- layers ---

    def _add(self, gene: str, colormap: Any, in_composite: bool) -> Pin:
        source = self.current.heatmap
        if source is None:
            raise ValueError("there is no prediction to show a gene of")
        values = source.values_of(gene)
        selected = set(self.viewer.layers.selection)
        layer = self.viewer.add_image(
            source.raster.image(values),
            name=_pin_name(gene, source, in_composite),
            colormap=colormap,
            contrast_limits=(0.0, 1.0),
            blending="additive",
            interpolation2d=self.interpolation,
            metadata={GENE_KEY: gene},
            **placement_of(source.layer),
        )
        # The heatmap stays the one that is worked on.
        self.viewer.layers.selection = selected
        image = TileImage(layer, source.raster)
        image.values = values
        self.limits.join(image)
        if hasattr(layer, "colorbar"):  # since napari 0.7
            layer.colorbar.visible = True
        layer.events.visible.connect(self._on_visible)
        pin = Pin(gene, source, image, in_composite, own_name=layer.name)
        self.pins.append(pin)
        return pin

    def _remove_composite(self) -> None:
        for pin in [pin for pin in self.pins if pin.in_composite]:
            self.unpin(pin)

    def _show_hidden(self) -> None:
        for layer in self._hidden_by_composite:
            if layer in self.viewer.layers:
                layer.visible = True
        self._hidden_by_composite = []

    def _on_removed(self, event: Any) -> None:
        # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
        for pin in [pin for pin in self.pins if pin.layer == event.value]:
            self._forget(pin)
        if any(pin.source.layer == event.value for pin in self.pins):
            # By itself: several layers may be under way.
            QTimer.singleShot(0, self._move_orphans)

    def _forget(self, pin: Pin) -> None:
        self.pins.remove(pin)
        pin.layer.events.visible.disconnect(self._on_visible)
        self.limits.leave(pin.image)
        if pin.in_composite and not self.has_composite:
            self._show_hidden()
        self.changed.emit()

    def _move_orphans(self) -> None:
        """Take pins whose heatmap was removed over to one of the same slide that is still there."""
        if self._following:
            heatmaps = [heatmap_of(layer) for layer in self.viewer.layers]
            for heatmap in reversed([each for each in heatmaps if each is not None]):
                self.move_to(heatmap)

    def _on_visible(self, _event: Any = None) -> None:
        self.visibility_changed.emit()


def _pin_name(gene: str, source: Heatmap, in_composite: bool) -> str:
    ending = "composite" if in_composite else "pinned"
    return f"{layer_name(source.prediction, gene, source.slide_name)} · {ending}"
