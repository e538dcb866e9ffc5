"""Outlines of tiles under the name that scripts of earlier versions import."""

from napari_nh2st.prediction.outlines import spot_diameter

__all__ = ["spot_diameter"]
