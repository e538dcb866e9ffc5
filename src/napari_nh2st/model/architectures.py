"""The networks a model folder can name."""

from importlib import import_module

from napari_nh2st.model.architecture import Architecture, Predictor, StartWeights
from napari_nh2st.model.catalogue import CATALOGUE

__all__ = ["ARCHITECTURES", "Architecture", "Predictor", "StartWeights"]

ARCHITECTURES: dict[str, Architecture] = {
    key: import_module(f"napari_nh2st.model.{entry.module}").ARCHITECTURE
    for key, entry in CATALOGUE.items()
}
"""By the key that a config names; see :mod:`napari_nh2st.model.catalogue`."""
