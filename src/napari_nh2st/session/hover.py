"""Readable values under the mouse, in napari's status bar."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Image

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.roles import covers_tiles, is_pin
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.layers.tile_positions import tile_at
from napari_nh2st.prediction.reading import (
    GeneReading,
    unfamiliarity_at,
    unfamiliarity_in_words,
)

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class Hover:
    """Adds to napari's status what the genes that are shown are at the tile under the mouse.

    Whichever layer is selected. napari works out its own status in a thread, less often than the
    mouse moves; this follows it in the main thread.

    Parameters
    ----------
    session
        Has the viewer, its heatmaps and pins.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._readings: WeakKeyDictionary[TileImage, GeneReading] = WeakKeyDictionary()
        self._added: str | dict[str, str] = ""
        session.viewer.events.status.connect(self._on_status)

    def words(self) -> str:
        """What is at the tile under the mouse; empty where there is none."""
        viewer = self._session.viewer
        if viewer.dims.ndisplay != 2:
            return ""
        position, units = viewer.cursor.position, viewer.layers.extent.units
        words: list[str] = []
        far: float | None = None
        for image, heatmap, gene in self._shown():
            tile = tile_at(heatmap, position, units)
            if tile is not None and not is_covered(viewer, image.layer):
                words.append(self._reading(image, heatmap, gene).at(tile))
                far = unfamiliarity_at(heatmap.prediction, tile)
        for item in self._session.unfamiliar.items:
            tile = tile_at(item.source, position, units) if item.layer.visible else None
            far = far if tile is None else unfamiliarity_at(item.source.prediction, tile)
        if far is not None:
            words.append(unfamiliarity_in_words(far))
        return " · ".join(words)

    def _shown(self) -> Iterator[tuple[TileImage, Heatmap, str]]:
        session = self._session
        genes = [(each.image, each, each.gene) for each in session.heatmaps]
        genes += [(pin.image, pin.source, pin.gene) for pin in session.pins.items]
        return (each for each in genes if each[0].layer.visible)

    def _reading(self, image: TileImage, heatmap: Heatmap, gene: str) -> GeneReading:
        """Of the values that are shown: sorted when they change, not at each move of the mouse."""
        reading = self._readings.get(image)
        if reading is None or reading.values is not image.values or reading.gene != gene:
            reading = GeneReading(heatmap.prediction, gene, image.values)
            self._readings[image] = reading
        return reading

    def _on_status(self, event: Any) -> None:
        words = "" if event.value == self._added else self.words()
        if words:  # napari emits this only after the present event
            self._session.viewer.status = self._added = self._with(event.value, words)

    def _with(self, status: str | dict[str, str], words: str) -> str | dict[str, str]:
        """napari's status with more words: instead of the bare number of a layer of ours."""
        if isinstance(status, str):  # several layers are selected, or none
            return words if status == "Ready" else f"{status}    {words}"
        active = self._session.viewer.layers.selection.active
        if isinstance(active, Image) and (covers_tiles(active) or is_pin(active)):
            return status | {"value": words, "coordinates": f"{status['coords']}: {words}"}
        return status | {"coordinates": f"{status['coordinates']}    {words}"}
