"""Tiles of a slide, as the network sees them."""

from napari_nh2st.tiles.drawn_tissue import (
    read_tissue,
    tissue_from_labels,
    tissue_from_polygons,
)
from napari_nh2st.tiles.grid import Layout, TileGrid, tile_grid
from napari_nh2st.tiles.mask import Polygon, TissueMask, find_tissue
from napari_nh2st.tiles.neighborhoods import neighborhoods, neighborhoods_in_phases
from napari_nh2st.tiles.resampling import resampling_weights

__all__ = [
    "Layout",
    "Polygon",
    "TileGrid",
    "TissueMask",
    "find_tissue",
    "neighborhoods",
    "neighborhoods_in_phases",
    "read_tissue",
    "resampling_weights",
    "tile_grid",
    "tissue_from_labels",
    "tissue_from_polygons",
]
