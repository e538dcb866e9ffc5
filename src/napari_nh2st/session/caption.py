"""Caption on the canvas: names, reliability, limits, unit and notices of the shown genes."""

from textwrap import wrap
from typing import Any
from weakref import WeakSet

from napari.layers import Layer

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.canvas_text import CanvasLine, CanvasText
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.prediction.reading import (
    FADED,
    UNFAMILIAR_SCALE,
    limits_in_words,
    notices_in_short,
)
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import notes, reliability
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.pins import Pin

_TITLE_PT, _UNIT_PT = 11.0, 9.0
_UNIT_WIDTH = 44
"""Characters: as wide as the canvas is between two docks on a small screen."""

_TITLE_WIDTH = 34

_LIGHTER = 0.65
_MOST_DOMAINS = 12
"""Names on the canvas: as many as have room beside a small one."""

_EVENTS = ("visible", "contrast_limits", "colormap")


class GeneCaption:
    """Names on the canvas what the heatmap, the pinned genes and the signatures show.

    napari's colorbars have no titles. One is shown at a time, that of the current heatmap; the
    limits of a pinned gene, from black to its color, stand behind its name. What another slide
    covers is not named.

    Parameters
    ----------
    session
        Has the layers.
    connections
        Connections of the dock: nothing is said while they are closed.
    """

    def __init__(self, session: Session, connections: Connections) -> None:
        self._session = session
        self._connections = connections
        self._badges = Badges()
        self._text = CanvasText(session.viewer)
        self._watched: list[Layer] = []
        self._heatmap: Heatmap | None = None
        self._without_colorbar: WeakSet[Heatmap] = WeakSet()
        signals = session.heatmap_changed, session.gene_changed, session.slides_changed
        kinds = (*session.derived_layers, session.veils)
        for signal in (*signals, *(layers.changed for layers in kinds)):
            connections.add(signal, self.update)
        connections.add(session.domains.changed, self.update)
        for event in ("inserted", "removed", "reordered"):
            connections.add(getattr(session.viewer.layers.events, event), self.update)
        connections.when_opened(self.update)
        connections.when_closed(self._clear)

    def _clear(self) -> None:
        """Take the words off the canvas."""
        self._watch([])
        self._text.clear()
        for heatmap in self._without_colorbar:
            heatmap.layer.colorbar.visible = True
        self._without_colorbar.clear()
        self._heatmap = None

    def set_badges(self, badges: Badges) -> None:
        """Say how reliable genes are, and by what."""
        self._badges = badges
        self.update()

    def update(self, _event: Any = None) -> None:
        """Say what is shown now."""
        if not self._connections.is_open:
            return
        heatmap = self._session.heatmap
        if heatmap is not self._heatmap:
            self._heatmap = heatmap
            self._show_one_colorbar()
        kinds = (*self._session.derived_layers, self._session.veils)
        layers = [*self._session.slides, *(item.layer for each in kinds for item in each.items)]
        layers += [layer for layer, _ in self._session.domains.drawn]
        self._watch(layers if heatmap is None else [heatmap.layer, *layers])
        self._text.show(self._lines())

    def _watch(self, layers: list[Layer]) -> None:
        for layer in self._watched:
            if layer not in layers:
                for name in _events(layer):
                    getattr(layer.events, name).disconnect(self.update)
        for layer in layers:
            if layer not in self._watched:
                for name in _events(layer):
                    getattr(layer.events, name).connect(self.update)
        self._watched = layers

    def _show_one_colorbar(self) -> None:
        for heatmap in self._session.heatmaps:
            bar = heatmap.layer.colorbar
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
        if heatmap is not None and self._is_seen(heatmap.layer):
            pcc = float(reliability(heatmap.prediction)[heatmap.gene])
            title = "\n".join(wrap(self._named(heatmap.gene, pcc), _TITLE_WIDTH))
            lines.append(CanvasLine(title, size=_TITLE_PT))
            meaning = limits_in_words(
                heatmap.prediction, heatmap.gene, heatmap.layer.contrast_limits
            )
            if meaning:
                lines.append(CanvasLine(meaning, size=_UNIT_PT))
        pins = [pin for pin in self._session.pins.items if pin.layer.visible]
        lines += [self._pin_line(pin) for pin in pins]
        sources = {pin.source: None for pin in pins}
        if heatmap is not None and self._is_seen(heatmap.layer):
            sources[heatmap] = None
        for unit in dict.fromkeys(_unit(source) for source in sources):
            lines.append(CanvasLine(unit, size=_UNIT_PT))
        for source in sources:
            notice = notices_in_short(source.prediction)
            if notice:
                lines.append(CanvasLine("\n".join(wrap(notice, _UNIT_WIDTH)), size=_UNIT_PT))
        if any(self._is_seen(item.layer) for item in self._session.veils.items):
            lines.append(CanvasLine(FADED, size=_UNIT_PT))
        for places in self._session.unfamiliar.items:
            if self._is_seen(places.layer):
                lines.append(CanvasLine("Unfamiliar tissue", size=_TITLE_PT))
                scale = "\n".join(wrap(UNFAMILIAR_SCALE, _UNIT_WIDTH))
                lines.append(CanvasLine(scale, size=_UNIT_PT))
        for item in self._session.signatures.items:
            if self._is_seen(item.layer):
                words = f"{item.signature.title}: mean z-score"
                lines.append(CanvasLine(words, size=_TITLE_PT))
        for layer, named in self._session.domains.drawn:
            if self._is_seen(layer):
                lines += _legend(named, on_dark=self._session.viewer.theme != "light")
        return lines

    def _is_seen(self, layer: Layer) -> bool:
        return bool(layer.visible) and not is_covered(self._session.viewer, layer)

    def _named(self, gene: str, pcc: float) -> str:
        return f"{gene} · {self._badges.short(pcc)}"

    def _pin_line(self, pin: Pin) -> CanvasLine:
        low, high = pin.layer.contrast_limits
        words = f"{self._named(pin.gene, pin.reliability)} · {low:.3g} to {high:.3g}"
        return CanvasLine(words, _lighter(pin.color))


def _events(layer: Layer) -> list[str]:
    """Those that change what is said; a layer of domains has no contrast limits."""
    return [name for name in _EVENTS if hasattr(layer.events, name)]


def _legend(domains: NamedDomains, on_dark: bool) -> list[CanvasLine]:
    """Names of the domains, each after a square and in its color."""
    shown = list(zip(domains.names, domains.colors, strict=True))[:_MOST_DOMAINS]
    lines = [
        CanvasLine(f"■ {name}", _lighter(color) if on_dark else color) for name, color in shown
    ]
    more = len(domains.names) - len(shown)
    return lines + ([CanvasLine(f"and {more} more")] if more else [])


def _unit(heatmap: Heatmap) -> str:
    """The value's true name, in lines that fit beside the colorbar."""
    described = str(notes(heatmap.prediction)["target"].get("description", "unit not known"))
    return "\n".join(wrap(described, _UNIT_WIDTH))


def _lighter(color: str) -> str:
    """A color mixed with white, as #rrggbb: blue text on black is hard to read."""
    mixed = (round(255 - (255 - part) * _LIGHTER) for part in bytes.fromhex(color[1:]))
    return f"#{bytes(mixed).hex()}"
