"""Pinned genes: layers of single genes beside the heatmap, and composites of up to four."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from napari.utils import Colormap
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap, layer_name
from napari_nh2st.layers.keys import pin_metadata
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.prediction.schema import reliability
from napari_nh2st.session.derived_layers import DerivedLayer, DerivedLayers
from napari_nh2st.session.shown_layers import PinsShown

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

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
_TRANSPARENT = " over the slide"
"""End of the names of colormaps that begin transparent."""
_OVER_SLIDE = 0.75
"""Opacity of the highest values: tissue is seen beneath them too."""
COMPOSITE_COLORMAPS = ("red", "green", "blue", "yellow")


@dataclass(eq=False)
class Pin(DerivedLayer):
    """A gene in a layer of its own.

    Parameters
    ----------
    gene
        The gene, which does not change.
    in_composite
        Whether it belongs to a composite, and is removed with it.
    """

    gene: str
    in_composite: bool = False
    _on_black: Colormap | None = None

    @property
    def colormap_name(self) -> str:
        """Name of its colormap, as it is on black."""
        return str((self._on_black or self.layer.colormap).name)

    def show_over_slide(self, wanted: bool) -> None:
        """Take a colormap from transparent to its color, or its own again, from black.

        Another colormap that the user has given it meanwhile stays.
        """
        is_over = self._on_black is not None
        if wanted and not is_over:
            self._on_black, color = self.layer.colormap, self.layer.colormap.map([1.0])[0][:3]
            self.layer.colormap = Colormap(
                [(*color, 0.0), (*color, _OVER_SLIDE)], name=f"{self._on_black.name}{_TRANSPARENT}"
            )
            self.layer.blending = "translucent_no_depth"
        elif not wanted and self._on_black is not None:
            if self.layer.colormap.name.endswith(_TRANSPARENT):
                self.layer.colormap = self._on_black
            self._on_black = None
            self.layer.blending = "additive"

    @property
    def label(self) -> str:
        """The gene."""
        return self.gene

    @property
    def layer_name(self) -> str:
        """Gene, slide, and whether it is pinned or part of a composite."""
        return _layer_name(self.gene, self.source, self.in_composite)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer."""
        return pin_metadata(self.gene, self.source.layer, self.own_name, self.in_composite)

    @property
    def reliability(self) -> float:
        """Held-out PCC of the gene; NaN where it is unknown."""
        return float(reliability(self.source.prediction).get(self.gene, np.nan))

    @property
    def color(self) -> str:
        """Color of its highest values, as #rrggbb."""
        rgb = np.asarray(self.layer.colormap.map([1.0])[0][:3])
        return f"#{bytes(np.rint(255 * rgb).astype(np.uint8)).hex()}"

    def restrict(self, prediction: AnnData) -> bool:
        """Whether a prediction has the gene."""
        return self.gene in prediction.var_names

    def refresh(self) -> None:
        """Show the values computed so far."""
        self.image.show(self.source.values_of(self.gene))


class Pins(DerivedLayers[Pin]):
    """Pins genes of the current prediction as layers, and keeps what they show up to date.

    Their colors add up: :class:`~napari_nh2st.session.shown_layers.ShownLayers` hides slide and
    heatmap while they are shown on black. Over the slide, low values are transparent.

    Parameters
    ----------
    session
        Genes are pinned from its current prediction.

    Attributes
    ----------
    visibility_changed
        Emitted when a pinned layer was shown or hidden, or all are shown on another ground.
    """

    visibility_changed = Signal()

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self._removed: list[Pin] = []
        self._around_removal: tuple[PinsShown, PinsShown] | None = None

    def pinned(self, gene: str) -> Pin | None:
        """The current prediction's gene as a layer of its own; None if it is not pinned."""
        heatmap = self.session.heatmap
        pins = (pin for pin in self.items if not pin.in_composite and pin.source is heatmap)
        return next((pin for pin in pins if pin.gene == gene), None)

    def pin(self, gene: str) -> Pin:
        """Add a layer that keeps showing this gene of the current prediction.

        It gets the first colormap that no pinned layer has. A gene is pinned only once. The pinned
        genes are shown together again if the heatmap was shown instead.
        """
        shown = self.session.shown_layers
        with shown.settled():
            pin = self.pinned(gene)
            if pin is None:
                taken = {pin.colormap_name for pin in self.items}
                free = [name for name in PIN_COLORMAPS if name not in taken]
                pin = self._add(gene, (free or PIN_COLORMAPS)[0], in_composite=False)
                self.changed.emit()
            pin.layer.visible = True
            shown.restore_pins()
        return pin

    def remove(self, pins: Sequence[Pin]) -> None:
        """Unpin genes; :meth:`restore` brings them back."""
        shown = self.session.shown_layers
        before = shown.pins_shown()
        with shown.settled():
            for pin in pins:
                self.remove_layer(pin)
        self._around_removal = before, shown.pins_shown()
        self._removed = [pin for pin in pins if pin not in self.items]
        self.changed.emit()

    @property
    def can_restore(self) -> bool:
        """Whether genes were unpinned that can be restored."""
        return bool(self._restorable())

    def restore(self) -> None:
        """Pin again the genes that were last unpinned, in their colors, shown as they were."""
        with self.session.shown_layers.settled():
            for pin in self._restorable():
                pin.layer.visible = False
                with kept_selection(self.session.viewer):
                    self.session.viewer.layers.append(pin.layer)
                self._keep(pin)
                self.move([pin], pin.source, keep_limits=True)
            if self._around_removal is not None:
                self.session.shown_layers.undo(*self._around_removal)
        self._removed, self._around_removal = [], None
        self.changed.emit()

    def _restorable(self) -> list[Pin]:
        return [
            pin
            for pin in self._removed
            if pin.source.layer in self.session.viewer.layers
            and pin.gene in pin.source.prediction.var_names
            and (pin.in_composite or self.pinned(pin.gene) is None)
        ]

    def refresh(self, source: Heatmap) -> None:
        """Show the new values of a heatmap's prediction."""
        for pin in self.items:
            if pin.source is source:
                pin.refresh()

    def move_to(self, heatmap: Heatmap) -> list[str]:
        """Take over to a heatmap the pins of removed ones of its slide; a composite goes."""
        for pin in self._orphans():
            if pin.in_composite:
                self.remove_layer(pin)
        return super().move_to(heatmap)

    # --- composites ---

    @property
    def has_composite(self) -> bool:
        """Whether a composite is shown."""
        return any(pin.in_composite for pin in self.items)

    def compose(self, genes: Sequence[str]) -> None:
        """Show genes together, each in one color on black, and hide the pinned ones.

        Parameters
        ----------
        genes
            One to four genes, in red, green, blue and yellow. An existing composite is replaced.
        """
        if not 1 <= len(genes) <= len(COMPOSITE_COLORMAPS):
            raise ValueError(f"a composite is of 1 to {len(COMPOSITE_COLORMAPS)} genes")
        with self.session.shown_layers.settled():
            self._remove_composite()
            self.session.shown_layers.make_way()
            for gene, colormap in zip(genes, COMPOSITE_COLORMAPS, strict=False):
                self._add(gene, colormap, in_composite=True)
        self.changed.emit()

    def undo_composite(self) -> None:
        """Remove the composite; what it hid is shown again."""
        with self.session.shown_layers.settled():
            self._remove_composite()

    # --- on black, or the heatmap on the slide ---

    @property
    def are_shown(self) -> bool:
        """Whether pinned genes are shown, on black."""
        return any(pin.layer.visible for pin in self.items)

    @property
    def over_slide(self) -> bool:
        """Whether pins are shown over the slide instead of on black; assign to change it."""
        return self.session.shown_layers.pins_over_slide

    @over_slide.setter
    def over_slide(self, wanted: bool) -> None:
        if wanted != self.over_slide:
            for pin in self.items:
                pin.show_over_slide(wanted)
            self.session.shown_layers.show_pins_over_slide(wanted)
            self.visibility_changed.emit()

    def show_pins(self) -> None:
        """Show pinned genes on black again: those that :meth:`show_slide` hid, or else all."""
        self.session.shown_layers.show_pins()

    def show_slide(self) -> None:
        """Show slide and heatmap instead of the pinned genes."""
        self.session.shown_layers.hide_pins()

    # --- layers ---

    def _add(self, gene: str, colormap: Any, in_composite: bool) -> Pin:
        source = self.session.heatmap
        if source is None:
            raise ValueError("there is no prediction to show a gene of")
        name = _layer_name(gene, source, in_composite)
        image = self.add_layer(
            source,
            source.values_of(gene),
            name=name,
            colormap=colormap,
            contrast_limits=(0.0, 1.0),
            blending="additive",
            metadata=pin_metadata(gene, source.layer, name, in_composite),
        )
        pin = Pin(source, image, name, gene, in_composite)
        self._keep(pin)
        return pin

    def _keep(self, pin: Pin) -> None:
        self.session.display.limits.join(pin.image)
        pin.show_over_slide(self.over_slide)
        pin.layer.events.visible.connect(self._on_visible)
        self.items.append(pin)

    def _remove_composite(self) -> None:
        for pin in [pin for pin in self.items if pin.in_composite]:
            self.remove_layer(pin)

    def _on_removed(self, event: Any) -> None:
        super()._on_removed(event)
        # An unpinned gene must not keep a prediction in memory.
        self._removed = [pin for pin in self._removed if pin.source.layer != event.value]

    def forget(self, item: Pin) -> None:
        """Forget a pin whose layer was removed."""
        item.layer.events.visible.disconnect(self._on_visible)
        self.session.display.limits.leave(item.image)
        super().forget(item)

    def _on_visible(self, _event: Any = None) -> None:
        self.visibility_changed.emit()


def _layer_name(gene: str, source: Heatmap, in_composite: bool) -> str:
    role = "composite" if in_composite else "pinned"
    return f"{layer_name(source.prediction, gene, source.slide_name)} · {role}"
