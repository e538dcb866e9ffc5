"""Placement of a slide that is opened beside others."""

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_info

from napari_nh2st.layers.given_mpp import match_units
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.shown_text import for_qt


def lay_in_units(viewer: ViewerModel, layer: Layer) -> None:
    """Lay a slide that comes after others in their units, before it is drawn.

    Parameters
    ----------
    viewer
        Has the layer.
    layer
        Any layer: nothing is done for one that is no slide, or the only one.
    """
    if not _is_further_slide(viewer, layer):
        return
    for each in match_units(viewer):
        show_info(
            for_qt(
                f"{each.name} has no µm/px: next to the other slides, a pixel is drawn as 1 µm "
                "until you give µm/px in the Predict dock."
            )
        )


def go_to(viewer: ViewerModel, layer: Layer) -> None:
    """Show a slide that comes after others.

    Parameters
    ----------
    viewer, layer
        As for :func:`lay_in_units`, after napari has taken note of the layer.
    """
    if _is_further_slide(viewer, layer):
        viewer.fit_to_view(layers=[layer])


def _is_further_slide(viewer: ViewerModel, layer: Layer) -> bool:
    is_slide = SLIDE_KEY in layer.metadata and is_picture(layer)
    return is_slide and any(each != layer and is_picture(each) for each in viewer.layers)
