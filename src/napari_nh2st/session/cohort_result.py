"""Result of a queued slide in the viewer: its slide, and its map over it."""

from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.layers.keys import MARKER_KEY, SLIDE_KEY
from napari_nh2st.layers.reader import slide_layer
from napari_nh2st.layers.regions import polygons_on_slide, region_names
from napari_nh2st.layers.slide_below import layers_on
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.schema import check_prediction, notes
from napari_nh2st.prediction.values import best_gene
from napari_nh2st.session.session import Session
from napari_nh2st.slide import Slide, open_slide

Loaded = tuple[Slide, AnnData]
"""A slide and its prediction."""


def read_result(slide: CohortSlide, output: Path) -> Loaded:
    """Read a slide and its prediction; takes a while.

    Raises
    ------
    InputError
        One of them cannot be read.
    """
    prediction = read_anndata_file(output)
    check_prediction(prediction)
    return open_slide(slide.path, mpp=slide.mpp, image=slide.image), prediction


def show_result(session: Session, loaded: Loaded) -> None:
    """Show a slide with its map, in the layers that are there or in new ones."""
    slide, prediction = loaded
    viewer = session.viewer
    request = _request(prediction)
    for heatmap in session.heatmaps:
        if request is not None and _request(heatmap.prediction) == request:
            session.heatmap = heatmap
            viewer.layers.selection.active = heatmap.layer
            session.shown_layers.show(heatmap.layer)
            viewer.fit_to_view(layers=[heatmap.layer])
            return
    layer = _layer_of(session, slide)
    if layer is None:
        layer = Layer.create(*slide_layer(slide))
        viewer.add_layer(layer)
    gene = session.heatmap.gene if session.heatmap is not None else ""
    if gene not in prediction.var_names:
        gene = best_gene(prediction)
    shown = session.runs.show(layer, prediction, gene).heatmap
    session.heatmap = shown
    viewer.layers.selection.active = shown.layer
    viewer.fit_to_view(layers=[shown.layer])


def drawn_regions(session: Session, slide: CohortSlide) -> dict[str, NDArray[np.float64]]:
    """Regions that are drawn on a slide in the viewer, by name, in full-resolution pixels."""
    found: dict[str, NDArray[np.float64]] = {}
    for layer in session.slides:
        if _is_of(layer, slide):
            for shapes in layers_on(session.viewer, layer):
                if isinstance(shapes, Shapes) and MARKER_KEY not in shapes.metadata:
                    polygons = polygons_on_slide(shapes, layer)
                    found |= dict(zip(region_names(shapes), polygons, strict=True))
    return found


def _layer_of(session: Session, slide: Slide) -> Any:
    for layer in session.slides:
        known = layer.metadata.get(SLIDE_KEY)
        if isinstance(known, Slide) and (known.path, known.image) == (slide.path, slide.image):
            return layer
    return None


def _is_of(layer: Image, slide: CohortSlide) -> bool:
    known = layer.metadata.get(SLIDE_KEY)
    if not isinstance(known, Slide) or known.path.absolute() != slide.path.absolute():
        return False
    names = {str(known.image), known.images[known.image].name if known.images else ""}
    return slide.image is None or slide.image in names


def _request(prediction: AnnData) -> Any:
    return notes(prediction).get("cohort", {}).get("request")
