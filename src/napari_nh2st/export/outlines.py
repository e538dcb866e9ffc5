"""Outlines of tiles under their former name."""

from napari_nh2st.former_names import former_names

__getattr__ = former_names(
    __name__, {"spot_diameter": "napari_nh2st.prediction.outlines:spot_diameter"}
)
