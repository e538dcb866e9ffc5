"""The slide's layer below another layer, and the layers that lie on a slide's."""

from pathlib import Path

import numpy as np
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer

from napari_nh2st.layers.keys import (
    BESIDE_KEY,
    COLUMN_OF_KEY,
    DOMAINS_KEY,
    MEASURED_SLIDE_KEY,
    PIN_KEY,
    PREDICTION_KEY,
    SHOWN_KEY,
    SIGNATURE_OF_KEY,
    SLIDE_KEY,
    id_of,
    noted_slide,
)
from napari_nh2st.prediction.schema import notes, slide_fingerprint
from napari_nh2st.remote import SlidePath, slide_path
from napari_nh2st.slide import Slide


def slide_below(viewer: ViewerModel, layer: Layer) -> Image | None:
    """The slide's layer that another layer was made on or belongs to.

    Parameters
    ----------
    viewer
        Has the layers.
    layer
        Layer of a prediction, a pinned gene, domains, measured spots, regions, or anything else.

    Returns
    -------
    Image or None
        By what was noted when the layer was made; that of a prediction from a file by the
        slide's fingerprint, or by its name where no fingerprint was recorded and only one slide
        has the name. None where it cannot be told, or where the slide is not in the viewer.
    """
    pictures = _pictures(viewer)
    noted = noted_slide(layer)
    for picture in pictures:
        if id_of(picture) == noted:
            return picture
    if (path := layer.metadata.get(MEASURED_SLIDE_KEY)) is not None:
        return next((each for each in pictures if _path(each) == Path(path)), None)
    if (source := layer.metadata.get(PIN_KEY, {}).get("source")) is not None:
        heatmap = next((each for each in viewer.layers if id_of(each) == source), None)
        return None if heatmap is None else slide_below(viewer, heatmap)
    keys = (PREDICTION_KEY, DOMAINS_KEY, SIGNATURE_OF_KEY, COLUMN_OF_KEY)
    prediction = next((layer.metadata[key] for key in keys if key in layer.metadata), None)
    return _slide_of(viewer, pictures, prediction) if isinstance(prediction, AnnData) else None


def layers_on(viewer: ViewerModel, slide_layer: Image) -> list[Layer]:
    """The layers that lie on a slide's: those made on it, and others by their place.

    Others count where they overlap this slide and no other one. RGB images are slides of their
    own, and what is in other units was placed without the slide.
    """
    return [
        layer
        for layer in viewer.layers
        if layer != slide_layer
        and not is_picture(layer)
        and layer.units[-2:] == slide_layer.units[-2:]
        and _lies_on(viewer, layer, slide_layer)
    ]


def is_covered(viewer: ViewerModel, layer: Layer) -> bool:
    """Whether a slide that is drawn later hides the middle of a layer."""
    if viewer.canvas.grid.enabled or layer not in viewer.layers:
        return False
    middle = np.asarray(layer.extent.world)[:, -2:].mean(0)
    # A slice of napari's own list is a list of its kind, with menus' contexts that stay in memory.
    later = list(viewer.layers)[viewer.layers.index(layer) + 1 :]
    boxes = [
        np.asarray(each.extent.world)[:, -2:]
        for each in later
        if is_picture(each) and each.visible and each.opacity == 1
    ]
    return any((low <= middle).all() and (middle <= high).all() for low, high in boxes)


def _lies_on(viewer: ViewerModel, layer: Layer, slide_layer: Image) -> bool:
    below = slide_below(viewer, layer)
    if below is not None:
        return bool(below == slide_layer)
    slide = slide_layer.metadata.get(SLIDE_KEY)  # it may be open in two layers
    overlapped = [each for each in _pictures(viewer) if _overlap(layer, each)]
    return slide_layer in overlapped and all(
        each == slide_layer or (slide is not None and each.metadata.get(SLIDE_KEY) is slide)
        for each in overlapped
    )


def _overlap(layer: Layer, slide_layer: Image) -> bool:
    if layer.units[-2:] != slide_layer.units[-2:]:
        return False
    theirs, ours = (np.asarray(each.extent.world)[:, -2:] for each in (layer, slide_layer))
    if not np.isfinite(theirs).all():  # nothing is drawn in it yet
        return True
    return bool((theirs[0] <= ours[1]).all() and (theirs[1] >= ours[0]).all())


def _slide_of(viewer: ViewerModel, pictures: list[Image], prediction: AnnData) -> Image | None:
    record = notes(prediction).get("slide", {})
    names = {str(record["name"])} if "name" in record else set()
    for layer in viewer.layers:  # its heatmap, whose slide is also that of its domains
        if layer.metadata.get(PREDICTION_KEY) is prediction:
            noted = noted_slide(layer)
            for picture in pictures:
                if id_of(picture) == noted:
                    return picture
            names |= {layer.metadata.get(SHOWN_KEY, {}).get("slide", "")}
    if (fingerprint := slide_fingerprint(prediction)) is not None:
        return next((each for each in pictures if _fingerprint(each) == fingerprint), None)
    named = [each for each in pictures if names & {each.name, getattr(_path(each), "name", "")}]
    return named[0] if len(named) == 1 else None


def _pictures(viewer: ViewerModel) -> list[Image]:
    return [layer for layer in viewer.layers if is_picture(layer)]


def is_picture(layer: Layer) -> bool:
    """Whether a layer may be a slide; the copy of one that stands beside it is none."""
    return isinstance(layer, Image) and layer.rgb and BESIDE_KEY not in layer.metadata


def _path(picture: Image) -> SlidePath | None:
    slide = picture.metadata.get(SLIDE_KEY)
    if isinstance(slide, Slide):
        return slide.path
    return slide_path(picture.source.path) if picture.source.path is not None else None


def _fingerprint(picture: Image) -> str | None:
    slide = picture.metadata.get(SLIDE_KEY)
    try:
        return slide.fingerprint if isinstance(slide, Slide) else None
    except OSError:  # its file was moved
        return None
