"""A slide and its prediction in a viewer model, as widgets find them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from napari_nh2st.slide import Slide


@dataclass
class Shown:
    viewer: ViewerModel
    session: Session
    slide: Slide
    slide_layer: Image
    prediction: AnnData
    heatmap: Heatmap


def show_prediction(
    path: Path, gene: str = "CD74", viewer: ViewerModel | None = None, **drawn: Any
) -> Shown:
    """Draw a slide and a prediction of 32 µm tiles, 1 µm/px, and show them.

    `drawn` are arguments of drawn_prediction, and ``place``, attributes of the slide's layer.
    """
    viewer = ViewerModel() if viewer is None else viewer
    ((data, attributes, _),) = read_slide(slide_file(path / "section.tif"), mpp=1.0)
    slide_layer = viewer.add_image(data, **attributes)
    for name, value in drawn.pop("place", {}).items():
        setattr(slide_layer, name, value)
    slide = slide_layer.metadata[SLIDE_KEY]
    prediction = drawn_prediction(slide, **drawn)
    heatmap = Session.of(viewer).add_heatmap(slide_layer, prediction, gene)
    return Shown(viewer, Session.of(viewer), slide, slide_layer, prediction, heatmap)


PLACES: dict[str, dict[str, Any]] = {
    "as opened": {},
    "moved and stretched": {"scale": (0.25, 0.5), "translate": (1000, -50)},
    "turned": {"scale": (0.5, 0.5), "translate": (-30, 700), "rotate": 30},
    "sheared": {"affine": [[0.9, 0.2, 5], [-0.1, 1.1, -8], [0, 0, 1]]},
}


def draw(shown: Shown, *polygons: np.ndarray, **attributes: Any) -> Shapes:
    """A Shapes layer whose shapes have these corners in full-resolution pixels of the slide."""
    corners = [
        # A slide's pixel k covers [k, k + 1); napari centers it on k.
        np.array([shown.slide_layer.data_to_world(point - 0.5) for point in polygon])
        for polygon in polygons
    ]
    attributes = {"shape_type": "polygon", "units": shown.slide_layer.units} | attributes
    return shown.viewer.add_shapes(corners, **attributes)
