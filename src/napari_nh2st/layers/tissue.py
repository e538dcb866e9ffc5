"""Tissue of a slide as a Labels layer that can be mended by hand."""

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import TISSUE_KEY, made_on, noted_slide
from napari_nh2st.layers.slide_below import slide_below
from napari_nh2st.layers.tile_image import placement_of
from napari_nh2st.layers.tile_positions import unit_factors
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask, tissue_from_labels

_COLOR = "#2ca02c"
_BRUSH = 15
"""Pixels of the mask."""


def add_tissue_layer(viewer: ViewerModel, slide_layer: Image, mask: TissueMask) -> Labels:
    """Show tissue over its slide, to be painted and erased with napari's own tools.

    Parameters
    ----------
    viewer
        Gets the layer, selected.
    slide_layer
        Shows the slide: the layer gets its place and units.
    mask
        Tissue of the slide.
    """
    placement = placement_of(slide_layer)
    # napari's pixel k has its center at k, a slide's and a mask's at k + 0.5.
    first = slide_layer.data_to_world((np.array(mask.downsample) - 1) / 2)
    placement["translate"] = slide_layer.affine.inverse(first)
    placement["scale"] = np.asarray(slide_layer.scale) * mask.downsample
    layer = viewer.add_labels(
        mask.tissue.astype(np.uint8),
        name=f"{slide_layer.name} · tissue",
        colormap={0: "transparent", 1: _COLOR, None: _COLOR},
        opacity=0.4,
        metadata={TISSUE_KEY: True} | made_on(slide_layer),
        **placement,
    )
    layer.brush_size = _BRUSH
    layer.selected_label = 1
    viewer.layers.selection.active = layer
    return layer


def tissue_layer_of(viewer: ViewerModel, slide_layer: Image) -> Labels | None:
    """The layer of a slide's tissue that is in the viewer; the last, if there are several."""
    for layer in reversed(viewer.layers):
        if (
            isinstance(layer, Labels)
            and layer.metadata.get(TISSUE_KEY)
            and noted_slide(layer) is not None
            and slide_below(viewer, layer) == slide_layer
        ):
            return layer
    return None


def tissue_of(layer: Labels, slide_layer: Image, slide: Slide) -> TissueMask:
    """What is painted in a layer, as tissue of the slide.

    Parameters
    ----------
    layer
        Any label but 0 is tissue.
    slide_layer, slide
        The slide.

    Raises
    ------
    InputError
        The layer was turned against the slide, or nothing is painted in it.
    """
    labels = np.asarray(layer.data)
    if not labels.any():
        raise InputError(f"Nothing is painted in layer {layer.name!r}: it marks the tissue.")
    factors = unit_factors(layer.units, slide_layer.units)

    def on_slide(y: float, x: float) -> NDArray[np.float64]:
        world = np.asarray(layer.data_to_world((y, x))) * factors
        return np.asarray(slide_layer.world_to_data(world), np.float64) + 0.5

    corner = on_slide(-0.5, -0.5)
    along = np.stack([on_slide(0.5, -0.5), on_slide(-0.5, 0.5)]) - corner
    downsample = np.diag(along)
    if (downsample <= 0).any() or np.abs(along - np.diag(downsample)).max() > 0.01 * along.max():
        raise InputError(
            f"Layer {layer.name!r} is turned against the slide: lay it as the slide lies."
        )
    return tissue_from_labels(slide, labels, (downsample[0], downsample[1]), (corner[0], corner[1]))
