"""Training on measured sections.

Names are loaded when first used: the settings and events need no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

from napari_nh2st.former_names import former_names

if TYPE_CHECKING:
    from napari_nh2st.training.augmentation_settings import AugmentationSettings
    from napari_nh2st.training.events import (
        EpochDone,
        Preparing,
        StepDone,
        TrainEvent,
        TrainFinished,
        TrainStarted,
    )
    from napari_nh2st.training.loop import train, train_events
    from napari_nh2st.training.settings import TrainSettings
    from napari_nh2st.training.study import MeasuredSection, load_study

__all__ = [
    "AugmentationSettings",
    "EpochDone",
    "MeasuredSection",
    "Preparing",
    "StepDone",
    "TrainEvent",
    "TrainFinished",
    "TrainSettings",
    "TrainStarted",
    "load_study",
    "train",
    "train_events",
]

_attribute, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "events": [
            "EpochDone",
            "Preparing",
            "StepDone",
            "TrainEvent",
            "TrainFinished",
            "TrainStarted",
        ],
        "loop": ["train", "train_events"],
        "settings": ["AugmentationSettings", "TrainSettings"],
        "study": ["MeasuredSection", "load_study"],
    },
)

_MOVED = ("CrossValidation", "Evaluation", "cross_validate", "evaluate", "write_evaluation")

__getattr__ = former_names(
    __name__, {name: f"napari_nh2st.evaluation:{name}" for name in _MOVED}, _attribute
)
