"""A new Shapes layer in the slide's own pixels and units, to draw regions in."""

import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_nh2st.widgets.regions.layers import NAMED_KEY
from napari_nh2st.widgets.regions.polygons import NAME_FEATURE
from napari_nh2st.widgets.tile_image import placement_of

_COLOR = "#e8c400"


def add_region_layer(viewer: ViewerModel, slide_layer: Image, edge_px: float) -> Shapes:
    """Add a layer, select it, and take up the polygon tool.

    Parameters
    ----------
    viewer
        Gets the layer.
    slide_layer
        Shows the slide: the layer gets its place and units.
    edge_px
        Width of outlines in full-resolution pixels.

    Returns
    -------
    Shapes
        Empty; the Genes dock names its regions as they are drawn.
    """
    layer = viewer.add_shapes(
        name="regions",
        ndim=2,
        edge_color=_COLOR,
        face_color="transparent",
        opacity=1.0,
        edge_width=edge_px,
        features=pd.DataFrame({NAME_FEATURE: pd.Series([], dtype=object)}),
        feature_defaults={NAME_FEATURE: ""},
        text={"string": "{" + NAME_FEATURE + "}", "color": _COLOR, "size": 10},
        metadata={NAMED_KEY: True},
        **placement_of(slide_layer),
    )
    layer.current_edge_width = edge_px
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon"
    return layer
