"""Layers whose values come from predictions of heatmaps: pins, signatures, columns of tiles, veils.

They follow their heatmap when it shows another prediction. If the heatmap is removed, they move
to another one of the same slide.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anndata import AnnData
from napari.layers import Image
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap, of_same_slide
from napari_nh2st.layers.keys import has_own_name
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.layers.tile_image import TileImage, place, placement_of
from napari_nh2st.prediction.schema import of_same_model

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


@dataclass(eq=False)
class DerivedLayer(ABC):
    """A layer whose values come from the prediction of a heatmap.

    Parameters
    ----------
    source
        The heatmap.
    image
        The layer.
    own_name
        What the layer is called until the user renames it.
    """

    source: Heatmap
    image: TileImage
    own_name: str

    @property
    def layer(self) -> Image:
        """The layer."""
        return self.image.layer

    @property
    @abstractmethod
    def label(self) -> str:
        """What it shows, for messages."""

    @property
    @abstractmethod
    def layer_name(self) -> str:
        """Name of the layer, after what it shows."""

    @property
    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer, see :mod:`napari_nh2st.layers.keys`."""

    @abstractmethod
    def restrict(self, prediction: AnnData) -> bool:
        """Leave out what a prediction lacks; whether anything is left."""

    @abstractmethod
    def refresh(self) -> None:
        """Show the values computed so far."""

    def move(self, heatmap: Heatmap, keep_limits: bool) -> None:
        """Show the same of a heatmap's prediction as it is now, where that lies.

        Parameters
        ----------
        heatmap
            The same as before, or another.
        keep_limits
            Keep contrast limits that were set by hand.
        """
        renamed = not has_own_name(self.layer, self.own_name)
        self.source, self.image.raster = heatmap, heatmap.raster
        if not keep_limits:
            self.image.follow_values()
        if not renamed:
            self.layer.name = self.own_name = self.layer_name
        self.layer.metadata.update(self.metadata)
        self.refresh()
        place(self.layer, placement_of(heatmap.layer))


Item = TypeVar("Item", bound=DerivedLayer)


class DerivedLayers(Generic[Item]):
    """Layers of one kind in a session's viewer.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    items
        The layers in the order in which they were added, without those that the user removed.
    changed
        Emitted when layers are added or removed, or one shows something else.
    """

    changed = Signal()

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.items: list[Item] = []
        self.interpolation = "nearest"
        removed = session.viewer.layers.events.removed
        removed.connect(self._on_removed)
        # After napari itself has taken note of the removal.
        removed.connect(self._move_orphans, position="last")

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
            What the new prediction lacks; its layers are removed.
        """
        items = [item for item in self.items if item.source is heatmap]
        return self.move(items, heatmap, of_same_model(former, heatmap.prediction))

    def move_to(self, heatmap: Heatmap) -> list[str]:
        """Take over to a heatmap what belongs to removed ones of its slide.

        The return is that of :meth:`take`.
        """
        lost = []
        for item in self._orphans():
            if of_same_slide(item.source, heatmap):
                same = of_same_model(item.source.prediction, heatmap.prediction)
                lost += self.move([item], heatmap, same)
        return lost

    def move(self, items: Sequence[Item], heatmap: Heatmap, keep_limits: bool) -> list[str]:
        """Show some of the layers' contents of a heatmap's prediction; see :meth:`take`."""
        lost = []
        for item in items:
            label = item.label
            if item.restrict(heatmap.prediction):
                item.move(heatmap, keep_limits)
            else:
                lost.append(label)
                self.remove_layer(item)
        if items:
            self.changed.emit()
        return lost

    def remove_layer(self, item: Item) -> None:
        """Remove a layer from the viewer if it is still there."""
        if item.layer in self.session.viewer.layers:
            self.session.viewer.layers.remove(item.layer)

    def add_layer(self, source: Heatmap, values: Any, **attributes: Any) -> TileImage:
        """Add a layer that lies where a heatmap does; what is selected stays selected.

        Parameters
        ----------
        source
            The heatmap.
        values
            (n,) of its tiles.
        **attributes
            Attributes of the layer.
        """
        with kept_selection(self.session.viewer):
            layer = self.session.viewer.add_image(
                source.raster.image(values, self.interpolation != "nearest"),
                interpolation2d=self.interpolation,
                **attributes,
                **placement_of(source.layer),
            )
        image = TileImage(layer, source.raster)
        image.values = values
        return image

    def _orphans(self) -> list[Item]:
        layers = self.session.viewer.layers
        return [item for item in self.items if item.source.layer not in layers]

    def _on_removed(self, event: Any) -> None:
        for item in [item for item in self.items if item.layer == event.value]:
            self.forget(item)

    def forget(self, item: Item) -> None:
        """Forget a layer that was removed."""
        self.items.remove(item)
        self.changed.emit()

    def _move_orphans(self, _event: Any = None) -> None:
        if self._orphans():
            for heatmap in reversed(self.session.heatmaps):
                self.move_to(heatmap)
