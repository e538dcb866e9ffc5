"""Predict gene expression from H&E whole-slide images with NH2ST.

Names are loaded when first used: importing the package imports neither torch nor napari.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_nh2st.errors import InputError
    from napari_nh2st.inference import PredictSettings, predict, predict_events
    from napari_nh2st.model import load_model
    from napari_nh2st.slide import open_slide
    from napari_nh2st.spots import read_sections
    from napari_nh2st.training import TrainSettings, cross_validate, evaluate, load_study, train

__all__ = [
    "InputError",
    "PredictSettings",
    "TrainSettings",
    "cross_validate",
    "evaluate",
    "load_model",
    "load_study",
    "open_slide",
    "predict",
    "predict_events",
    "read_sections",
    "train",
]

_HOMES = {
    "InputError": "errors",
    "PredictSettings": "inference.settings",
    "load_model": "model",
    "open_slide": "slide",
    "predict": "inference",
    "predict_events": "inference",
    "read_sections": "spots",
    "TrainSettings": "training.settings",
    "cross_validate": "training",
    "evaluate": "training",
    "load_study": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
