"""Veils over heatmaps: grey where the model is uncertain."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from anndata import AnnData
from napari.utils.colormaps import Colormap

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import veil_metadata
from napari_nh2st.prediction.fading import can_fade, fading
from napari_nh2st.session.derived_layers import DerivedLayer, DerivedLayers
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

_GREY = (0.72, 0.72, 0.72)
"""In none of the colormaps that are offered but gray."""


@dataclass(eq=False)
class Veil(DerivedLayer):
    """Grey over one heatmap, the denser the more uncertain its gene is at a tile.

    Parameters
    ----------
    session
        Its viewer shows it.
    """

    session: "Session"

    @property
    def label(self) -> str:
        """What it shows, for messages."""
        return "where the model is unsure"

    @property
    def layer_name(self) -> str:
        """What it is, and the slide."""
        return _layer_name(self.source)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer."""
        return veil_metadata(self.source.layer)

    def restrict(self, prediction: AnnData) -> bool:
        """Whether a prediction says where its model is unsure."""
        return can_fade(prediction)

    @property
    def _stands_apart(self) -> bool:
        viewer = self.session.viewer
        grid, layers = viewer.canvas.grid, viewer.layers
        if not grid.enabled:
            return False
        places = [layers.index(each) for each in (self.source.layer, self.layer)]
        if grid.stride < 0:  # napari counts from the last layer then
            places = [len(layers) - 1 - each for each in places]
        return len({each // abs(grid.stride) for each in places}) == 2

    def refresh(self) -> None:
        """Follow the heatmap: its gene, its values, whether it is seen."""
        self.image.show(fading(self.source.prediction, self.source.gene))
        self.follow_visibility()

    def follow_visibility(self, _event: object = None) -> None:
        """Be visible if the heatmap is, unless napari's grid gives each of the two a place."""
        self.layer.visible = self.source.layer.visible and not self._stands_apart


class Veils(DerivedLayers[Veil]):
    """Fades all heatmaps of a session where their models are uncertain, or none.

    napari draws all pixels of an image with one opacity, so fading pixels are covered instead, by
    a layer right above the heatmap.

    Parameters
    ----------
    session
        Has viewer and heatmaps.
    """

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self._wanted = False
        self._removed: WeakSet[Heatmap] = WeakSet()  # whose veil the user has removed
        session.heatmaps_changed.connect(self._cover)
        session.heatmap_changed.connect(self._cover)
        grid = session.viewer.canvas.grid.events
        for signal in (grid.enabled, grid.stride):
            signal.connect(self._on_grid)
        session.viewer.layers.events.reordered.connect(self._on_grid)

    def fade(self, wanted: bool) -> None:
        """Lay a veil over every heatmap whose prediction has a spread, or remove all veils."""
        self._wanted = wanted
        self._removed.clear()
        if wanted:
            self._cover()
        else:
            for item in list(self.items):
                self.remove_layer(item)

    def refresh(self, source: Heatmap) -> None:
        """Show the new values of a heatmap's prediction."""
        for item in self.items:
            if item.source is source:
                item.refresh()

    def _cover(self) -> None:
        if not self._wanted:
            return
        covered = [item.source for item in self.items]
        for heatmap in self.session.heatmaps:
            left = heatmap not in covered and heatmap not in self._removed
            if left and can_fade(heatmap.prediction):
                self._add(heatmap)

    def _add(self, heatmap: Heatmap) -> None:
        image = self.add_layer(
            heatmap,
            fading(heatmap.prediction, heatmap.gene),
            name=_layer_name(heatmap),
            colormap=Colormap([(*_GREY, 0), (*_GREY, 1)], name="veil"),
            contrast_limits=(0.0, 1.0),
            blending="translucent_no_depth",
            visible=heatmap.layer.visible,
            metadata=veil_metadata(heatmap.layer),
        )
        image.limits = lambda _values: (0.0, 1.0)
        layers = self.session.viewer.layers
        layers.move(layers.index(image.layer), layers.index(heatmap.layer) + 1)
        veil = Veil(heatmap, image, _layer_name(heatmap), self.session)
        self.items.append(veil)
        heatmap.gene_changed.connect(veil.refresh)
        heatmap.layer.events.visible.connect(veil.follow_visibility)
        veil.follow_visibility()
        self.changed.emit()

    def _on_grid(self, _event: object = None) -> None:
        for veil in self.items:
            veil.follow_visibility()

    def forget(self, item: Veil) -> None:
        """Forget a veil whose layer was removed."""
        item.source.gene_changed.disconnect(item.refresh)
        item.source.layer.events.visible.disconnect(item.follow_visibility)
        if can_fade(item.source.prediction):  # else it went with what it showed
            self._removed.add(item.source)
        super().forget(item)

    def _move_orphans(self, _event: Any = None) -> None:
        """A veil goes with its heatmap: other heatmaps have their own."""
        for item in self._orphans():
            self.remove_layer(item)


def _layer_name(heatmap: Heatmap) -> str:
    return for_qt(f"unsure · {heatmap.slide_name}")
