"""Display of genes: contrast, grid or smoothed, opacity, colormap, fading."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.layers import Image
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session.contrast_limits import ContrastLimits
from napari_nh2st.session.display_settings import DisplaySettings

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class Display:
    """Draws the current heatmap, the pinned genes and the signatures as the settings say.

    Colormap, opacity and interpolation belong to the heatmap's layer: where another heatmap
    becomes the current one, or the user changes them in napari, the settings follow. A heatmap
    that nobody has changed is drawn as the settings are when it is first the current one.

    Parameters
    ----------
    session
        Has the layers.

    Attributes
    ----------
    settings
        The current settings; change them with :meth:`apply`.
    limits
        Rule for the contrast of the heatmap and of the pinned layers.
    changed
        Emitted with the settings when they have changed.
    chosen
        Emitted with the settings when the user has changed them, here or in napari.
    """

    changed = Signal(object)
    chosen = Signal(object)

    def __init__(self, session: "Session") -> None:
        self.settings = DisplaySettings()
        self.limits = ContrastLimits()
        self._session = session
        self._heatmap: Heatmap | None = None
        self._seen: WeakSet[Heatmap] = WeakSet()
        self._is_restored = False
        self._applying = False

    def apply(self, settings: DisplaySettings) -> None:
        """Draw with these settings from now on."""
        former = self.settings
        self._set(settings)
        if self._heatmap is not None:
            self._draw(self._heatmap.layer)
        if settings != former:
            self._emit_changed()
            self.chosen.emit(settings)

    def restore(self, settings: DisplaySettings) -> None:
        """Begin with the settings of an earlier session of napari; only the first time.

        What the user has changed on the heatmap's layer by then stays.
        """
        if not self._is_restored:
            self._is_restored = True
            self._set(settings)
            if self._heatmap is not None and _is_unchanged(self._heatmap.layer):
                self._draw(self._heatmap.layer)
            self._take_look()
            self._emit_changed()

    def reset(self) -> None:
        """Draw with the defaults again, and drop limits set by hand."""
        self.apply(DisplaySettings())
        self.limits.set(self.settings.percentiles, self.settings.shared_limits)
        self._session.signatures.set_percentiles(self.settings.percentiles)

    def update(self) -> None:
        """Turn to the heatmap that is the current one now."""
        heatmap = self._session.heatmap
        if heatmap is self._heatmap:
            return
        if self._heatmap is not None:
            self.limits.leave(self._heatmap.image)
            for event in _look_events(self._heatmap.layer):
                event.disconnect(self._on_layer)
        self._heatmap = heatmap
        if heatmap is not None:
            self.limits.join(heatmap.image)
            for event in _look_events(heatmap.layer):
                event.connect(self._on_layer)
            if _is_unchanged(heatmap.layer) and heatmap not in self._seen:
                self._draw(heatmap.layer)
            self._seen.add(heatmap)
            if self._take_look():
                self._emit_changed()

    def _set(self, settings: DisplaySettings) -> None:
        """Make these the settings, in the limits and the layers other than the heatmap's."""
        former, self.settings = self.settings, settings
        rule = settings.percentiles, settings.shared_limits
        if rule != (former.percentiles, former.shared_limits):
            self.limits.set(*rule)
        if settings.percentiles != former.percentiles:
            self._session.signatures.set_percentiles(settings.percentiles)
        for layers in (*self._session.derived_layers, self._session.veils):
            for item in layers.items:
                _interpolate(item.layer, settings)
        if settings.fade != former.fade:
            self._session.veils.fade(settings.fade)

    def _draw(self, layer: Image) -> None:
        self._applying = True
        try:
            _interpolate(layer, self.settings)
            layer.opacity = self.settings.opacity
            layer.colormap = self.settings.colormap
        finally:
            self._applying = False

    def _on_layer(self, _event: Any = None) -> None:
        if not self._applying and self._take_look():
            self._emit_changed()
            self.chosen.emit(self.settings)

    def _take_look(self) -> bool:
        """Follow the heatmap's layer; whether it looks different from the settings."""
        if self._heatmap is None:
            return False
        former = self.settings
        self.settings = replace(former, **_look(self._heatmap.layer))
        return self.settings != former

    def _emit_changed(self) -> None:
        for layers in (*self._session.derived_layers, self._session.veils):
            layers.interpolation = self.settings.interpolation
        self.changed.emit(self.settings)


def _look_events(layer: Image) -> tuple[Any, ...]:
    return layer.events.opacity, layer.events.colormap, layer.events.interpolation2d


def _look(layer: Image) -> dict[str, Any]:
    """The settings that a heatmap's layer itself has."""
    return {
        "smooth": layer.interpolation2d != "nearest",
        "opacity": float(layer.opacity),
        "colormap": str(layer.colormap.name),
    }


def _is_unchanged(layer: Image) -> bool:
    """Whether a heatmap's layer looks as a new one does."""
    return replace(DisplaySettings(), **_look(layer)) == DisplaySettings()


def _interpolate(layer: Image, settings: DisplaySettings) -> None:
    """Another way of smoothing, chosen in napari's controls, stays."""
    if settings.smooth != (layer.interpolation2d != "nearest"):
        layer.interpolation2d = settings.interpolation
