"""Training, cross-validation and evaluation on measured sections."""

from napari_nh2st.training.augmentation import AugmentationSettings
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
from napari_nh2st.training.settings import TrainSettings
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
