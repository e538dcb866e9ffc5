"""Caption on the canvas: names, unit, reliability and cautions of the shown genes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from napari.layers import Layer
from psygnal import Signal

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.canvas_text import CanvasLine, CanvasText, first_that_fits
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.prediction.reading import (
    FADED,
    half_width_in_words,
    notices_in_short,
)
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import notes, reliability
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.pins import Pin
from napari_nh2st.shown_text import with_minus

_TITLE_PT, _SMALL_PT = 10.0, 9.0
_COLORBAR_PX = 95
"""Beside the text: napari's colorbar with its numbers, and the margins."""

_OF_PANEL = " of the panel"
_LIGHTER = 0.65
_MOST_DOMAINS = 12
"""Names on the canvas: as many as have room beside a small one."""

_EVENTS = ("visible", "contrast_limits", "colormap")


class GeneCaption:
    """Names on the canvas what the heatmap, the pinned genes and the signatures show.

    Of the heatmap three lines at most: gene, unit and model; how reliable it is; the first caution.
    Each is as long as the canvas is wide. The whole of it stands in the *Genes* dock.

    napari's colorbars have no titles. One is shown at a time, that of the current heatmap; the
    limits of a pinned gene, from black to its color, stand behind its name. What another slide
    covers is not named, and has no colorbar.

    Parameters
    ----------
    session
        Has the layers.
    connections
        Connections of the dock: nothing is said while they are closed.

    Attributes
    ----------
    updated
        Emitted when what is shown may be another, or is drawn in other colors.
    """

    updated = Signal()

    def __init__(self, session: Session, connections: Connections) -> None:
        self._session = session
        self._connections = connections
        self._badges = Badges()
        self._text = CanvasText(session.viewer)
        self._watched: list[Layer] = []
        self._heatmap: Heatmap | None = None
        self._without_colorbar: WeakSet[Layer] = WeakSet()
        signals = session.heatmap_changed, session.gene_changed, session.slides_changed
        kinds = (*session.derived_layers, session.veils)
        # A run that ends may leave a caution.
        for signal in (*signals, session.filling_changed, *(layers.changed for layers in kinds)):
            connections.add(signal, self.update)
        connections.add(session.domains.changed, self.update)
        connections.add(session.viewer.canvas.events.size, self.update)
        for event in ("inserted", "removed", "reordered"):
            connections.add(getattr(session.viewer.layers.events, event), self.update)
        connections.when_opened(self.update)
        connections.when_closed(self._clear)

    def _clear(self) -> None:
        """Take the words off the canvas."""
        self._watch([])
        self._text.clear()
        for layer in self._without_colorbar:
            layer.colorbar.visible = True
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
        self._heatmap = heatmap
        self._choose_colorbars()
        kinds = (*self._session.derived_layers, self._session.veils)
        layers = [*self._session.slides, *(item.layer for each in kinds for item in each.items)]
        layers += [layer for layer, _ in self._session.domains.drawn]
        self._watch(layers if heatmap is None else [heatmap.layer, *layers])
        self._text.show(self._lines())
        self.updated.emit()

    def _watch(self, layers: list[Layer]) -> None:
        for layer in self._watched:
            if layer not in layers:
                for name in _events(layer):
                    getattr(layer.events, name).disconnect(self._on_layer)
        for layer in layers:
            if layer not in self._watched:
                for name in _events(layer):
                    getattr(layer.events, name).connect(self._on_layer)
        self._watched = layers

    def _on_layer(self, event: Any) -> None:
        """Say no more than before where only the colors of the heatmap are others.

        They change with every gene, whose own signal follows.
        """
        heatmap = self._heatmap
        is_heatmap = heatmap is not None and event.source is heatmap.layer
        if is_heatmap and event.type != "visible":
            self.updated.emit()
        else:
            self.update()

    def _choose_colorbars(self) -> None:
        """Hide the colorbars of what is not named."""
        session = self._session
        images = [
            item.layer for each in (session.signatures, session.tile_columns) for item in each.items
        ]
        for layer in [*(heatmap.layer for heatmap in session.heatmaps), *images]:
            is_other = layer not in images and (
                self._heatmap is None or layer is not self._heatmap.layer
            )
            if is_other or is_covered(session.viewer, layer):
                if layer.colorbar.visible:
                    self._without_colorbar.add(layer)
                    layer.colorbar.visible = False
            elif layer in self._without_colorbar:
                self._without_colorbar.remove(layer)
                layer.colorbar.visible = True

    # --- words ---

    def _lines(self) -> list[CanvasLine]:
        lines = []
        heatmap = self._heatmap
        pins = [pin for pin in self._session.pins.items if pin.layer.visible]
        sources = {pin.source: None for pin in pins}
        if heatmap is not None and self._is_seen(heatmap.layer):
            lines.append(self._line(_titles(heatmap), size=_TITLE_PT))
            lines.append(self._line(self._trust(heatmap)))
            sources[heatmap] = None
        lines += [self._pin_line(pin) for pin in pins]
        for unit in dict.fromkeys(_unit(pin.source) for pin in pins):
            lines.append(self._line([unit, unit.replace(_OF_PANEL, "")]))
        veils = [item.layer for item in self._session.veils.items]
        words = [FADED] if any(map(self._is_seen, veils)) else []
        words += filter(None, (notices_in_short(source.prediction) for source in sources))
        if words:
            text = " · ".join(dict.fromkeys(words))
            lines.append(self._line([text[0].upper() + text[1:]]))
        for shown in self._session.tile_columns.items:
            if self._is_seen(shown.layer):
                title, *meanings = shown.about
                lines.append(self._line([title[:1].upper() + title[1:]], size=_TITLE_PT))
                lines += [self._line(meanings)] if any(meanings) else []
        for item in self._session.signatures.items:
            if self._is_seen(item.layer):
                title = item.signature.title
                lines.append(self._line([f"{title}: mean z-score", title], size=_TITLE_PT))
        for layer, named in self._session.domains.drawn:
            if self._is_seen(layer):
                lines += self._legend(named)
        return lines

    def _line(
        self, texts: Sequence[str], color: str | None = None, size: float = _SMALL_PT
    ) -> CanvasLine:
        """The longest of some texts that the canvas is wide enough for."""
        viewer = self._session.viewer
        width = float(viewer.canvas.viewbox_size(viewer.layers)[1]) - _COLORBAR_PX
        return CanvasLine(first_that_fits(texts, size, width), color, size)

    def _trust(self, heatmap: Heatmap) -> list[str]:
        """How reliable the shown gene is and how sure its values, in several lengths."""
        pcc = float(reliability(heatmap.prediction)[heatmap.gene])
        half = half_width_in_words(heatmap.prediction, heatmap.gene)
        # What is far from the training is one of the cautions.
        near = replace(self._badges, far="")
        whole, short = near.short(pcc), replace(near, of="").short(pcc)
        return [" · ".join(filter(None, each)) for each in ((whole, half), (short, half), (short,))]

    def _is_seen(self, layer: Layer) -> bool:
        return bool(layer.visible) and not is_covered(self._session.viewer, layer)

    def _pin_line(self, pin: Pin) -> CanvasLine:
        low, high = pin.layer.contrast_limits
        badges = replace(self._badges, far="", of="")
        limits = with_minus(f"{low:.3g} to {high:.3g}")
        whole = f"{pin.gene} · {badges.short(pin.reliability)} · {limits}"
        texts = [whole, f"{pin.gene} · {limits}", pin.gene]
        return self._line(texts, _lighter(pin.color), _TITLE_PT)

    def _legend(self, domains: NamedDomains) -> list[CanvasLine]:
        """Names of the domains, each after a square and in its color."""
        on_dark = self._session.viewer.theme != "light"
        shown = list(zip(domains.names, domains.colors, strict=True))[:_MOST_DOMAINS]
        lines = [
            self._line([f"■ {name}"], _lighter(color) if on_dark else color, _TITLE_PT)
            for name, color in shown
        ]
        more = len(domains.names) - len(shown)
        return lines + ([self._line([f"and {more} more"], size=_TITLE_PT)] if more else [])


def _events(layer: Layer) -> list[str]:
    """Those that change what is said; a layer of domains has no contrast limits."""
    return [name for name in _EVENTS if hasattr(layer.events, name)]


def _titles(heatmap: Heatmap) -> list[str]:
    """Gene, unit and model, in several lengths."""
    gene, unit, model = heatmap.gene, _unit(heatmap), _model(heatmap)
    short = unit.replace(_OF_PANEL, "")
    parts = (gene, unit, model), (gene, short, model), (gene, unit), (gene, short), (gene,)
    return [" · ".join(filter(None, each)) for each in parts]


def _model(heatmap: Heatmap) -> str:
    return str(notes(heatmap.prediction).get("model", {}).get("name", ""))


def _unit(heatmap: Heatmap) -> str:
    """What the values are, without how the measured ones of the training were averaged."""
    described = str(notes(heatmap.prediction)["target"].get("description", "unit not known"))
    return described.split(", ")[0]


def _lighter(color: str) -> str:
    """A color mixed with white, as #rrggbb: blue text on black is hard to read."""
    mixed = (round(255 - (255 - part) * _LIGHTER) for part in bytes.fromhex(color[1:]))
    return f"#{bytes(mixed).hex()}"
