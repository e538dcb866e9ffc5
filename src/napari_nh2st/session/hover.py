"""Readable values under the mouse, in napari's status bar."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.layers import Image

from napari_nh2st.analysis.named_domains import COLUMN
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import DOMAINS_KEY
from napari_nh2st.layers.roles import covers_tiles, is_pin
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.layers.tile_positions import tile_at
from napari_nh2st.prediction.reading import (
    GeneReading,
    unfamiliarity_at,
    unfamiliarity_in_words,
)
from napari_nh2st.prediction.schema import UNFAMILIAR
from napari_nh2st.prediction.tile_columns import column_in_words, stable_in_words
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class Hover:
    """Adds the values of the shown genes at the tile under the mouse to napari's status.

    It does so whichever layer is selected. napari computes its own status in a thread, less often
    than the mouse moves; this follows the mouse in the main thread.

    Parameters
    ----------
    session
        Has the viewer, its heatmaps and pins.
    """

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._readings: WeakKeyDictionary[TileImage, GeneReading] = WeakKeyDictionary()
        self._added: str | dict[str, str] = ""
        self._plain: str | dict[str, str] = ""
        session.viewer.events.status.connect(self._on_status)
        for signal in (
            *(session.filled, session.filling_changed, session.gene_changed),
            *(session.heatmap_changed, session.prediction_replaced, session.domains.changed),
            *(session.pins.changed, session.pins.visibility_changed),
            session.tile_columns.visibility_changed,
        ):
            signal.connect(self._renew)

    def words(self) -> str:
        """Text on the tile under the mouse; empty if there is none."""
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
        for item in self._session.tile_columns.items:
            tile = tile_at(item.source, position, units) if item.layer.visible else None
            if tile is None:
                continue
            if item.column == UNFAMILIAR:
                far = unfamiliarity_at(item.source.prediction, tile)
            else:
                words.append(column_in_words(item.source.prediction, item.column, tile))
        if far is not None:
            words.append(unfamiliarity_in_words(far))
        words += self._domains_at(position, units)
        return for_qt(" · ".join(filter(None, words)))

    def _renew(self) -> None:
        """Say what has changed below a mouse that stands still, such as values that have come."""
        viewer = self._session.viewer
        if self._added and viewer.mouse_over_canvas and viewer.status == self._added:
            words = self.words()
            self._added = self._with(self._plain, words) if words else self._plain
            viewer.status = self._added

    def _domains_at(self, position: Any, units: Any) -> Iterator[str]:
        """The domains that are shown there, and how stable they are.

        The name of the selected layer's is napari's to say.
        """
        layers = self._session.viewer.layers
        for layer in layers:
            prediction = layer.metadata.get(DOMAINS_KEY)
            if prediction is None or not layer.visible or COLUMN not in prediction.obs:
                continue
            for heatmap in self._session.showing(prediction)[:1]:
                tile = tile_at(heatmap, position, units)
                if tile is None or prediction.obs[COLUMN].isna().iat[tile]:
                    continue
                if layer != layers.selection.active:
                    yield str(prediction.obs[COLUMN].iat[tile])
                yield stable_in_words(prediction, tile)

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
            self._plain = event.value
            self._session.viewer.status = self._added = self._with(event.value, words)

    def _with(self, status: str | dict[str, str], words: str) -> str | dict[str, str]:
        """napari's status with more words: instead of the bare number of a layer of ours."""
        if isinstance(status, str):  # several layers are selected, or none
            return words if status == "Ready" else f"{status}    {words}"
        active = self._session.viewer.layers.selection.active
        if isinstance(active, Image) and (covers_tiles(active) or is_pin(active)):
            return status | {"value": words, "coordinates": f"{status['coords']}: {words}"}
        return status | {"coordinates": f"{status['coordinates']}    {words}"}
