"""What the canvas says of the genes that are shown: their names, reliability, limits and unit."""

from textwrap import wrap
from typing import Any
from weakref import WeakSet

from napari.layers import Layer

from napari_nh2st.layers.canvas_text import CanvasLine, CanvasText
from napari_nh2st.layers.heatmap import Heatmap, heatmap_of
from napari_nh2st.session.pinned_gene import Pin
from napari_nh2st.session.pins import GeneLayers
from napari_nh2st.session.signatures import SignatureLayers
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.reliability import (
    THRESHOLD,
    bright_end,
    lighter,
    short_reliability,
)

_TITLE_PT, _UNIT_PT = 11.0, 9.0
_UNIT_WIDTH = 44
"""Characters: as wide as the canvas is between two docks on a small screen."""

_EVENTS = ("visible", "contrast_limits", "colormap")


class GeneCaption:
    """Names on the canvas what the heatmap, the pinned genes and the signatures show.

    napari's colorbars have no titles. One is shown at a time, that of the current heatmap; the
    limits of a pinned gene, from black to its color, stand behind its name.

    Parameters
    ----------
    current
        The heatmap.
    pins, signatures
        The other layers.
    """

    def __init__(
        self, current: CurrentPrediction, pins: GeneLayers, signatures: SignatureLayers
    ) -> None:
        self._current = current
        self._pins = pins
        self._signatures = signatures
        self._threshold = THRESHOLD
        self._text = CanvasText(current.viewer)
        self._watched: list[Layer] = []
        self._heatmap: Heatmap | None = None
        self._without_colorbar: WeakSet[Heatmap] = WeakSet()
        self._following = False

    def follow(self) -> None:
        """Say what is shown from now on."""
        if not self._following:
            self._following = True
            self._pins.changed.connect(self.update)
            self._signatures.changed.connect(self.update)
        self.update()

    def close(self) -> None:
        """Take the words off the canvas."""
        if self._following:
            self._following = False
            self._pins.changed.disconnect(self.update)
            self._signatures.changed.disconnect(self.update)
        self._watch([])
        self._text.clear()
        for heatmap in self._without_colorbar:
            heatmap.layer.colorbar.visible = True
        self._without_colorbar.clear()
        self._heatmap = None

    def set_threshold(self, threshold: float) -> None:
        """Say of genes below this that they are not reliable."""
        self._threshold = threshold
        self.update()

    def update(self, _event: Any = None) -> None:
        """Say what is shown now."""
        if not self._following:
            return
        heatmap = self._current.heatmap
        if heatmap is not self._heatmap:
            self._heatmap = heatmap
            self._show_one_colorbar()
        layers = [pin.layer for pin in self._pins.pins]
        layers += [image.layer for image in self._signatures.images]
        self._watch(layers if heatmap is None else [heatmap.layer, *layers])
        self._text.show(self._lines())

    def _watch(self, layers: list[Layer]) -> None:
        for layer in self._watched:
            if layer not in layers:
                for name in _EVENTS:
                    getattr(layer.events, name).disconnect(self.update)
        for layer in layers:
            if layer not in self._watched:
                for name in _EVENTS:
                    getattr(layer.events, name).connect(self.update)
        self._watched = layers

    def _show_one_colorbar(self) -> None:
        heatmaps = [heatmap_of(layer) for layer in self._current.viewer.layers]
        for heatmap in [each for each in heatmaps if each is not None]:
            bar = getattr(heatmap.layer, "colorbar", None)  # since napari 0.7
            if bar is None:
                continue
            if heatmap is self._heatmap:
                if heatmap in self._without_colorbar:
                    self._without_colorbar.remove(heatmap)
                    bar.visible = True
            elif bar.visible:
                self._without_colorbar.add(heatmap)
                bar.visible = False

    # --- words ---

    def _lines(self) -> list[CanvasLine]:
        lines = []
        heatmap = self._heatmap
        if heatmap is not None and heatmap.layer.visible:
            pcc = float(heatmap.prediction.var["reliability"][heatmap.gene])
            lines.append(CanvasLine(self._named(heatmap.gene, pcc), size=_TITLE_PT))
        pins = [pin for pin in self._pins.pins if pin.layer.visible]
        lines += [self._pin_line(pin) for pin in pins]
        sources = {pin.source: None for pin in pins}
        if heatmap is not None and heatmap.layer.visible:
            sources[heatmap] = None
        for unit in dict.fromkeys(_unit(source) for source in sources):
            lines.append(CanvasLine(unit, size=_UNIT_PT))
        for signature, image in self._signatures.shown:
            if image.layer.visible:
                words = f"{signature.title}: mean z-score"
                lines.append(CanvasLine(words, size=_TITLE_PT))
        return lines

    def _named(self, gene: str, pcc: float) -> str:
        return f"{gene} · {short_reliability(pcc, self._threshold)}"

    def _pin_line(self, pin: Pin) -> CanvasLine:
        low, high = pin.layer.contrast_limits
        words = f"{self._named(pin.gene, pin.reliability)} · {low:.3g} to {high:.3g}"
        return CanvasLine(words, lighter(bright_end(pin.layer.colormap)))


def _unit(heatmap: Heatmap) -> str:
    """The value's true name, in lines that fit beside the colorbar."""
    described = str(heatmap.prediction.uns["nh2st"]["target"].get("description", "unit not known"))
    return "\n".join(wrap(described, _UNIT_WIDTH))
