"""Layers of how unfamiliar the places of a slide are to the model that predicted it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap, of_same_slide
from napari_nh2st.layers.keys import unfamiliar_metadata
from napari_nh2st.prediction.schema import unfamiliar
from napari_nh2st.session.derived_layers import DerivedLayer, DerivedLayers
from napari_nh2st.shown_text import for_qt

_LIMITS = (0.0, 2.0)
_COLORS = {
    # Familiar tissue is seen as it is.
    0.0: (1.0, 0.93, 0.6, 0.0),
    0.8: (1.0, 0.93, 0.6, 0.15),
    1.0: (1.0, 0.82, 0.35, 0.6),
    1.4: (0.95, 0.45, 0.1, 0.85),
    2.0: (0.5, 0.0, 0.15, 1.0),
}
"""By the value: 1 is where unfamiliar begins."""


def _colormap() -> Colormap:
    controls = [value / _LIMITS[1] for value in _COLORS]
    return Colormap(list(_COLORS.values()), name="unfamiliar", controls=controls)


@dataclass(eq=False)
class ShownPlaces(DerivedLayer):
    """How unfamiliar the tiles of a heatmap are."""

    @property
    def label(self) -> str:
        """What it shows, for messages."""
        return "unfamiliar places"

    @property
    def layer_name(self) -> str:
        """What it shows, and the slide."""
        return _layer_name(self.source)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer."""
        return unfamiliar_metadata(self.source.layer)

    def restrict(self, prediction: AnnData) -> bool:
        """Whether a prediction says how unfamiliar its tiles are."""
        return unfamiliar(prediction) is not None

    def refresh(self) -> None:
        """Show the values that are there by now."""
        self.image.show(_values(self.source))


class UnfamiliarPlaces(DerivedLayers[ShownPlaces]):
    """Shows how unfamiliar the tiles of heatmaps are, in the heatmap's place.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    visibility_changed
        Emitted when one of the layers was shown or hidden.
    """

    visibility_changed = Signal()

    @property
    def can_show(self) -> bool:
        """Whether the current prediction says how unfamiliar its tiles are."""
        prediction = self.session.prediction
        return prediction is not None and unfamiliar(prediction) is not None

    @property
    def is_shown(self) -> bool:
        """Whether those of the current heatmap are seen."""
        item = self._current()
        return item is not None and bool(item.layer.visible)

    def show(self, wanted: bool = True) -> None:
        """Show how unfamiliar the tiles of the current heatmap are, or the heatmap again."""
        item = self._current()
        if not wanted:
            if item is not None:
                self.remove_layer(item)
            return
        if item is None and self.session.heatmap is not None and self.can_show:
            item = self._add(self.session.heatmap)
        if item is not None:
            self.session.shown_layers.show(item.layer)

    def refresh(self, source: Heatmap) -> None:
        """Show the values that have come in a heatmap's prediction."""
        for item in self.items:
            if item.source is source:
                item.refresh()

    def move_to(self, heatmap: Heatmap) -> list[str]:
        """Take over from removed heatmaps of the slide, unless this one has a layer of its own."""
        if all(item.source is not heatmap for item in self.items):
            return super().move_to(heatmap)
        for item in self._orphans():
            if of_same_slide(item.source, heatmap):
                self.remove_layer(item)
        return []

    def _current(self) -> ShownPlaces | None:
        heatmap = self.session.heatmap
        return next((item for item in self.items if item.source is heatmap), None)

    def _add(self, heatmap: Heatmap) -> ShownPlaces:
        values = _values(heatmap)
        image = self.add_layer(
            heatmap,
            values,
            name=_layer_name(heatmap),
            colormap=_colormap(),
            contrast_limits=_LIMITS,
            blending="translucent_no_depth",
            visible=False,
            metadata=unfamiliar_metadata(heatmap.layer),
        )
        image.limits = lambda _values: _LIMITS
        image.show(values)
        image.layer.colorbar.visible = True
        item = ShownPlaces(heatmap, image, _layer_name(heatmap))
        self.items.append(item)
        image.layer.events.visible.connect(self._on_visible)
        self.changed.emit()
        return item

    def forget(self, item: ShownPlaces) -> None:
        """Know a layer no more that was removed."""
        item.layer.events.visible.disconnect(self._on_visible)
        super().forget(item)

    def _on_visible(self, _event: Any = None) -> None:
        self.visibility_changed.emit()


def _values(heatmap: Heatmap) -> NDArray[np.float64]:
    """(n,) of the heatmap's tiles, NaN where it is not known."""
    known = unfamiliar(heatmap.prediction)
    return np.full(heatmap.prediction.n_obs, np.nan) if known is None else known.to_numpy()


def _layer_name(heatmap: Heatmap) -> str:
    return for_qt(f"unfamiliar places · {heatmap.slide_name}")
