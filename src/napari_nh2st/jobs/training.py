"""Training as a job: what ``nh2st train`` does, in events that need no torch."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.jobs.child import Inbox
from napari_nh2st.training.checks import check_record
from napari_nh2st.training.defaults import start_config
from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainFinished,
    TrainStarted,
)
from napari_nh2st.training.record import MODEL_FOLDER, RunRecord

if TYPE_CHECKING:
    from napari_nh2st.training import MeasuredSection

_SECONDS_BETWEEN_STEPS = 0.1
"""No viewer shows more of them, and small networks make hundreds a second."""


@dataclass(frozen=True)
class Reading:
    """A section is being read and checked.

    Parameters
    ----------
    section
        Its name.
    done, total
        Sections read so far, and all.
    """

    section: str
    done: int
    total: int


@dataclass(frozen=True)
class Trained:
    """The model is written.

    Parameters
    ----------
    folder
        Folder of the model.
    best_epoch, ended, seconds, unfinished_epoch
        As in :class:`~napari_nh2st.training.TrainFinished`.
    """

    folder: Path
    best_epoch: int
    ended: str
    seconds: float
    unfinished_epoch: int = 0


TrainingEvent = (
    Reading | Preparing | TrainStarted | StepDone | EpochDone | Scoring | HeldOut | Notice | Trained
)


def train(
    inbox: Inbox,
    *,
    record: RunRecord,
    folder: Path,
) -> Iterator[TrainingEvent]:
    """Train a model, and score it on the held-out sections before and after.

    Asked to stop before the first step, it ends with nothing; after it, with the best model so
    far. A stopped run of the same in the folder is resumed.

    Parameters
    ----------
    inbox
        Tells when to stop.
    record
        Sections and settings of the training. Scores of those held out become the model's
        reliability.
    folder
        Gets what :func:`~napari_nh2st.evaluation.training_run.training_run_events` writes.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.evaluation.training_run.training_run_events`; no section is left
        to train on, or the start model has seen one that is held out.
    """
    from napari_nh2st.evaluation.training_run import training_run_events
    from napari_nh2st.inference.device import place
    from napari_nh2st.training import load_study

    settings = record.settings
    check_record(record, start_config(settings))
    place(settings.device, settings.precision, settings.batch_size, None)
    study: list[MeasuredSection] = []
    for section in record.sections:
        yield Reading(section.section_id, len(study), len(record.sections))
        study += load_study([section], trust_positions=record.trust_positions)
        if inbox.stopped():
            return
    events = training_run_events(
        [section for section in study if section.name not in record.held_out],
        [section for section in study if section.name in record.held_out],
        settings,
        folder=folder,
        name=record.name,
        trust_positions=record.trust_positions,
        stop=inbox.stopped,
    )
    last_step = 0.0
    with closing(events):
        for event in events:
            match event:
                case Preparing():
                    yield event
                    if inbox.stopped():
                        return
                case StepDone(step=step, steps=steps):
                    now = time.monotonic()
                    if now - last_step >= _SECONDS_BETWEEN_STEPS or step == steps:
                        last_step = now
                        yield event
                case TrainFinished():
                    yield Trained(
                        folder / MODEL_FOLDER,
                        event.best_epoch,
                        event.ended,
                        event.seconds,
                        event.unfinished_epoch,
                    )
                case _:
                    yield event
