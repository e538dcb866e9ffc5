"""Layers of columns of ``obs``: unfamiliar places, density of nuclei, what else tiles are given."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from napari.layers import Image, Layer
from psygnal import Signal

from napari_nh2st.analysis.signatures import kept_signatures
from napari_nh2st.layers.heatmap import Heatmap, of_same_slide
from napari_nh2st.layers.keys import COLUMN_KEY, COLUMN_OF_KEY, column_metadata
from napari_nh2st.layers.tile_columns import column_colormap, column_layer_name
from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.prediction.schema import UNFAMILIAR, notes
from napari_nh2st.prediction.tile_columns import (
    TileColumn,
    column_limits,
    column_values,
    has_values,
    tile_columns,
)
from napari_nh2st.session.derived_layers import DerivedLayer, DerivedLayers

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


@dataclass(eq=False)
class ShownColumn(DerivedLayer):
    """A column of the tiles of a heatmap.

    Parameters
    ----------
    column
        Its name in ``obs``.
    """

    column: str

    @property
    def about(self) -> TileColumn:
        """What the column is called, and what its numbers are."""
        return columns_of(self.source.prediction).get(self.column, TileColumn(self.column))

    @property
    def label(self) -> str:
        """What it shows, for messages."""
        return self.about.title

    @property
    def layer_name(self) -> str:
        """What it shows, and the slide."""
        return _layer_name(self.about.title, self.source)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer."""
        return column_metadata(self.column, self.source.layer, self.source.prediction)

    def restrict(self, prediction: AnnData) -> bool:
        """Whether a prediction has the column."""
        return self.column in columns_of(prediction)

    def refresh(self) -> None:
        """Show the values computed so far."""
        self.image.show(column_values(self.source.prediction, self.column))


class TileColumns(DerivedLayers[ShownColumn]):
    """Shows a column of ``obs`` of heatmaps' tiles, one at a time, in the heatmap's place.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    visibility_changed
        Emitted when one of the layers was shown or hidden, or has other contrast limits.
    """

    visibility_changed = Signal()

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        session.domains.changed.connect(self._on_columns)

    @property
    def offered(self) -> dict[str, TileColumn]:
        """Columns of the current prediction that have a value to show, by name."""
        prediction = self.session.prediction
        if prediction is None:
            return {}
        columns = columns_of(prediction).items()
        return {name: about for name, about in columns if has_values(prediction, name)}

    @property
    def seen(self) -> ShownColumn | None:
        """What is seen of the current heatmap's tiles in its place; None where nothing is."""
        item = self._current()
        return item if item is not None and item.layer.visible else None

    @property
    def shown(self) -> str | None:
        """The column of the current heatmap that is seen; None where none is."""
        return None if self.seen is None else self.seen.column

    def show(self, column: str | None) -> None:
        """Show a column of the current prediction, or with None the heatmap again."""
        item, heatmap = self._current(), self.session.heatmap
        if item is not None and item.column != column:
            self.remove_layer(item)
            item = None
        if item is None and heatmap is not None and column is not None and column in self.offered:
            item = self._add(heatmap, column)
        if item is not None:
            self.session.shown_layers.show(item.layer)

    def refresh(self, source: Heatmap) -> None:
        """Show the new values of a heatmap's prediction."""
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

    def _current(self) -> ShownColumn | None:
        heatmap = self.session.heatmap
        return next((item for item in self.items if item.source is heatmap), None)

    def _add(self, heatmap: Heatmap, column: str) -> ShownColumn:
        prediction = heatmap.prediction
        values, name = column_values(prediction, column), self.offered[column].title
        metadata = column_metadata(column, heatmap.layer, prediction)
        del metadata[COLUMN_OF_KEY]  # else it would be taken for one from a file
        image = self.add_layer(
            heatmap,
            values,
            name=_layer_name(name, heatmap),
            colormap=column_colormap(column),
            contrast_limits=column_limits(prediction, column, values),
            opacity=1.0 if column == UNFAMILIAR else heatmap.layer.opacity,
            blending="translucent_no_depth",
            visible=False,
            metadata=metadata,
        )
        item = ShownColumn(heatmap, image, _layer_name(name, heatmap), column)
        _follow_values(item)
        image.show(values)
        image.layer.colorbar.visible = True
        image.layer.metadata[COLUMN_OF_KEY] = prediction
        self._keep(item)
        return item

    def adopt(self, layer: Layer) -> None:
        """Go on with a layer that came from a file with its heatmap; nothing for other layers."""
        prediction, column = layer.metadata.get(COLUMN_OF_KEY), layer.metadata.get(COLUMN_KEY)
        source = next((e for e in self.session.heatmaps if e.prediction is prediction), None)
        is_known = any(item.layer == layer for item in self.items)
        if not isinstance(layer, Image) or source is None or column is None or is_known:
            return
        layer = getattr(layer, "__wrapped__", layer)
        image = TileImage(layer, source.raster)
        image.values = column_values(source.prediction, column)
        item = ShownColumn(source, image, layer.name, column)
        _follow_values(item)
        image.renew_limits()
        layer.colorbar.visible = True
        self._keep(item)

    def _keep(self, item: ShownColumn) -> None:
        self.items.append(item)
        item.layer.events.visible.connect(self._on_visible)
        item.layer.events.contrast_limits.connect(self._on_visible)
        self.changed.emit()

    def forget(self, item: ShownColumn) -> None:
        """Forget a layer that was removed."""
        item.layer.events.visible.disconnect(self._on_visible)
        item.layer.events.contrast_limits.disconnect(self._on_visible)
        notes(item.source.prediction).pop("shown_column", None)
        super().forget(item)

    def _on_columns(self) -> None:
        """Columns have come, or others gone, with the domains."""
        for item in list(self.items):
            if item.restrict(item.source.prediction):
                item.refresh()
            else:
                self.remove_layer(item)
        self.changed.emit()

    def _on_visible(self, _event: Any = None) -> None:
        self.visibility_changed.emit()


def columns_of(prediction: AnnData) -> dict[str, TileColumn]:
    """Numeric columns of a prediction but for signatures, which have layers of their own."""
    return tile_columns(prediction, without=kept_signatures(prediction))


def _follow_values(item: ShownColumn) -> None:
    item.image.limits = lambda values: column_limits(item.source.prediction, item.column, values)


def _layer_name(title: str, heatmap: Heatmap) -> str:
    return column_layer_name(title, heatmap.slide_name)
