"""Placement of a slide that is opened beside others."""

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_info

from napari_nh2st.layers.given_mpp import match_units
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.shown_text import for_qt


def settle_slide(viewer: ViewerModel, layer: Layer) -> None:
    """Go to a slide that comes after others, and lay it in their units.

    Parameters
    ----------
    viewer
        Has the layer.
    layer
        Any layer: nothing is done for one that is no slide, or the only one.
    """
    others = [each for each in viewer.layers if each != layer and is_picture(each)]
    if not (SLIDE_KEY in layer.metadata and is_picture(layer) and others):
        return
    for each in match_units(viewer):
        show_info(
            for_qt(
                f"{each.name} has no µm/px: beside the other slides, a pixel is drawn as 1 µm "
                "until µm/px is given in the Predict dock."
            )
        )
    viewer.fit_to_view(layers=[layer])
