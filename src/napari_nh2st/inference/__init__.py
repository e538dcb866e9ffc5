"""Prediction over a slide."""

from napari_nh2st.inference.engine import predict, predict_events
from napari_nh2st.inference.events import Event, Finished, Started, TilesDone
from napari_nh2st.inference.schedule import Focus
from napari_nh2st.inference.settings import PredictSettings

__all__ = [
    "Event",
    "Finished",
    "Focus",
    "PredictSettings",
    "Started",
    "TilesDone",
    "predict",
    "predict_events",
]
