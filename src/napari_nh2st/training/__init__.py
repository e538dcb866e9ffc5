"""Training, cross-validation and evaluation on measured sections.

Names are loaded when first used: the settings and events need no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.training.crossval import CrossValidation, cross_validate
    from napari_nh2st.training.evaluation import Evaluation, evaluate, write_evaluation
    from napari_nh2st.training.events import (
        EpochDone,
        Preparing,
        StepDone,
        TrainEvent,
        TrainFinished,
        TrainStarted,
    )
    from napari_nh2st.training.fit import train, train_events
    from napari_nh2st.training.settings import AugmentationSettings, TrainSettings
    from napari_nh2st.training.study import MeasuredSection, load_study

__all__ = [
    "AugmentationSettings",
    "CrossValidation",
    "EpochDone",
    "Evaluation",
    "MeasuredSection",
    "Preparing",
    "StepDone",
    "TrainEvent",
    "TrainFinished",
    "TrainSettings",
    "TrainStarted",
    "cross_validate",
    "evaluate",
    "load_study",
    "train",
    "train_events",
    "write_evaluation",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crossval": ["CrossValidation", "cross_validate"],
        "evaluation": ["Evaluation", "evaluate", "write_evaluation"],
        "events": [
            "EpochDone",
            "Preparing",
            "StepDone",
            "TrainEvent",
            "TrainFinished",
            "TrainStarted",
        ],
        "fit": ["train", "train_events"],
        "settings": ["AugmentationSettings", "TrainSettings"],
        "study": ["MeasuredSection", "load_study"],
    },
)
