"""napari's reader under its former name."""

from napari_nh2st.former_names import former_names

__getattr__ = former_names(__name__, {"get_reader": "napari_nh2st.layers.reader:get_reader"})
