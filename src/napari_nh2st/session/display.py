"""How genes are drawn: contrast, grid or smoothed, opacity, colormap."""

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

from napari.layers import Image
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session.contrast_limits import PERCENTILES, ContrastLimits
from napari_nh2st.session.pins import GeneLayers
from napari_nh2st.session.signatures import SignatureLayers
from napari_nh2st.widgets.current_prediction import CurrentPrediction

COLORMAPS = ("magma", "viridis", "plasma", "inferno", "cividis", "gray")
"""Perceptually uniform: equal steps of the value look equal."""


@dataclass(frozen=True)
class DisplaySettings:
    """How the genes of a prediction are drawn.

    Parameters
    ----------
    percentiles
        Of a layer's values that its contrast limits are.
    shared
        Whether the heatmap and all pinned genes have the same limits.
    smooth
        Interpolate between tiles, instead of one square per tile.
    opacity
        Of the heatmap, from 0 to 1.
    colormap
        Of the heatmap, by napari's name.
    """

    percentiles: tuple[float, float] = PERCENTILES
    shared: bool = False
    smooth: bool = False
    opacity: float = 0.7
    colormap: str = "magma"

    @property
    def interpolation(self) -> str:
        """napari's name for grid or smoothed."""
        return "linear" if self.smooth else "nearest"


class GeneDisplay:
    """Draws the current heatmap, the pinned genes and the signatures as the settings say.

    Colormap, opacity and interpolation belong to the heatmap's layer: where another heatmap
    becomes the current one, or the user changes them in napari, the settings follow. A heatmap
    that nobody has changed is drawn as the settings are when it is first the current one.

    Parameters
    ----------
    current
        The heatmap.
    limits
        Rules the contrast.
    pins, signatures
        The other layers.

    Attributes
    ----------
    settings
        As they are now; change them with :meth:`apply`.
    changed
        Emitted with the settings when they have changed.
    chosen
        Emitted with the settings when the user has changed them, here or in napari.
    """

    changed = Signal(object)
    chosen = Signal(object)

    def __init__(
        self,
        current: CurrentPrediction,
        limits: ContrastLimits,
        pins: GeneLayers,
        signatures: SignatureLayers,
    ) -> None:
        self.settings = DisplaySettings()
        self._current = current
        self._limits = limits
        self._pins = pins
        self._signatures = signatures
        self._heatmap: Heatmap | None = None
        self._seen: WeakSet[Heatmap] = WeakSet()
        self._applying = False

    def apply(self, settings: DisplaySettings) -> None:
        """Draw like this from now on."""
        former, self.settings = self.settings, settings
        if (settings.percentiles, settings.shared) != (former.percentiles, former.shared):
            self._limits.set(settings.percentiles, settings.shared)
        if settings.percentiles != former.percentiles:
            self._signatures.set_percentiles(settings.percentiles)
        others = [pin.layer for pin in self._pins.pins]
        others += [image.layer for image in self._signatures.images]
        for layer in others:
            _interpolate(layer, settings)
        if self._heatmap is not None:
            self._draw(self._heatmap.layer)
        if settings != former:
            self._announce()
            self.chosen.emit(settings)

    def reset(self) -> None:
        """Draw as in the beginning; limits set by hand are given up too."""
        self.apply(DisplaySettings())
        self._limits.set(self.settings.percentiles, self.settings.shared)
        self._signatures.set_percentiles(self.settings.percentiles)

    def update(self) -> None:
        """Turn to the heatmap that is the current one now."""
        heatmap = self._current.heatmap
        if heatmap is self._heatmap:
            return
        self.close()
        self._heatmap = heatmap
        if heatmap is not None:
            self._limits.join(heatmap.image)
            for event in self._events(heatmap):
                event.connect(self._on_layer)
            unchanged = replace(DisplaySettings(), **_look(heatmap.layer)) == DisplaySettings()
            if unchanged and heatmap not in self._seen:
                self._draw(heatmap.layer)
            self._seen.add(heatmap)
            self._take_look()

    def close(self) -> None:
        """Let go of the heatmap."""
        if self._heatmap is not None:
            self._limits.leave(self._heatmap.image)
            for event in self._events(self._heatmap):
                event.disconnect(self._on_layer)
        self._heatmap = None

    @staticmethod
    def _events(heatmap: Heatmap) -> tuple[Any, ...]:
        events = heatmap.layer.events
        return events.opacity, events.colormap, events.interpolation2d

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
            self.chosen.emit(self.settings)

    def _take_look(self) -> bool:
        """Follow the heatmap's layer; whether it looks different from the settings."""
        if self._heatmap is None:
            return False
        drawn = replace(self.settings, **_look(self._heatmap.layer))
        if drawn == self.settings:
            return False
        self.settings = drawn
        self._announce()
        return True

    def _announce(self) -> None:
        self._pins.interpolation = self.settings.interpolation
        self._signatures.interpolation = self.settings.interpolation
        self.changed.emit(self.settings)


def _look(layer: Image) -> dict[str, Any]:
    """The settings that a heatmap's layer itself has."""
    return {
        "smooth": layer.interpolation2d != "nearest",
        "opacity": float(layer.opacity),
        "colormap": str(layer.colormap.name),
    }


def _interpolate(layer: Image, settings: DisplaySettings) -> None:
    """Another way of smoothing, chosen in napari's controls, stays."""
    if settings.smooth != (layer.interpolation2d != "nearest"):
        layer.interpolation2d = settings.interpolation
