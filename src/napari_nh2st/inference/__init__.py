"""Prediction over a slide. Names are loaded when first used: the settings need no torch."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.inference.engine import predict, predict_events
    from napari_nh2st.inference.events import Event, Finished, Started, TilesDone, TilesEncoded
    from napari_nh2st.inference.schedule import Focus
    from napari_nh2st.inference.settings import PredictSettings
    from napari_nh2st.inference.step_choice import estimate
    from napari_nh2st.inference.steps import Detail

__all__ = [
    "Detail",
    "Event",
    "Finished",
    "Focus",
    "PredictSettings",
    "Started",
    "TilesDone",
    "TilesEncoded",
    "estimate",
    "predict",
    "predict_events",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "engine": ["predict", "predict_events"],
        "events": ["Event", "Finished", "Started", "TilesDone", "TilesEncoded"],
        "schedule": ["Focus"],
        "settings": ["PredictSettings"],
        "step_choice": ["estimate"],
        "steps": ["Detail"],
    },
)
