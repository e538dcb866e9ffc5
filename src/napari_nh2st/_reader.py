"""napari's reader under the name that scripts of earlier versions import."""

from napari_nh2st.layers.reader import get_reader

__all__ = ["get_reader"]
