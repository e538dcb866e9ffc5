"""Layers of columns of ``obs``: their colors and names, and that of a prediction from a file."""

from typing import TYPE_CHECKING, Any

from anndata import AnnData
from napari.utils.colormaps import Colormap

from napari_nh2st.analysis.signatures import kept_signatures
from napari_nh2st.layers.keys import COLUMN_KEY, COLUMN_OF_KEY
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.prediction.schema import UNFAMILIAR, notes, slide_mpp, slide_stem
from napari_nh2st.prediction.tile_columns import (
    UNFAMILIAR_LIMITS,
    column_limits,
    column_values,
    has_values,
    tile_columns,
)
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

_COLORMAP = "viridis"
_OPACITY = 0.7
_UNFAMILIAR_COLORS = {
    # Familiar tissue is seen as it is.
    0.0: (1.0, 0.93, 0.6, 0.0),
    0.8: (1.0, 0.93, 0.6, 0.15),
    1.0: (1.0, 0.82, 0.35, 0.6),
    1.4: (0.95, 0.45, 0.1, 0.85),
    2.0: (0.5, 0.0, 0.15, 1.0),
}
"""By the value: 1 is where unfamiliar begins."""


def opened_column(prediction: AnnData) -> list["LayerData"]:
    """The column that was seen last in the place of a gene, for napari to add.

    Returns
    -------
    list of LayerData
        One image where the heatmap of a prediction from a file lies; empty if a gene was seen, or
        the column has no value.
    """
    column = notes(prediction).get("shown_column")
    known = tile_columns(prediction, without=kept_signatures(prediction))
    if column is None or column not in known or not has_values(prediction, column):
        return []
    values = column_values(prediction, column)
    raster = HeatmapRaster.of(prediction)
    scale, translate = raster.placement(slide_mpp(prediction))
    attributes: dict[str, Any] = {
        "name": column_layer_name(known[column].title, slide_stem(prediction)),
        "colormap": column_colormap(column),
        "contrast_limits": column_limits(prediction, column, values),
        "opacity": 1.0 if column == UNFAMILIAR else _OPACITY,
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "metadata": {COLUMN_KEY: column, COLUMN_OF_KEY: prediction},
        "scale": scale,
        "translate": translate,
        "units": ("um", "um"),
    }
    return [(raster.image(values), attributes, "image")]


def column_colormap(column: str) -> "Colormap | str":
    """Colors of a column: of unfamiliar places, what is familiar is transparent."""
    if column != UNFAMILIAR:
        return _COLORMAP
    controls = [value / UNFAMILIAR_LIMITS[1] for value in _UNFAMILIAR_COLORS]
    return Colormap(list(_UNFAMILIAR_COLORS.values()), name="unfamiliar", controls=controls)


def column_layer_name(title: str, slide_name: str) -> str:
    """What the layer of a column is called."""
    return for_qt(f"{title} · {slide_name}")
