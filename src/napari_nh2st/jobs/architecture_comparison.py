"""Comparison of architectures as a job: what ``nh2st crossval --compare`` does, in light events."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.evaluation.events import (
    ArchitectureProgress,
    ArchitecturesCompared,
    SpotsPredicted,
)
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.jobs.child import Inbox
from napari_nh2st.jobs.training import Reading
from napari_nh2st.training.events import EpochDone, Preparing, StepDone
from napari_nh2st.training.record import RunRecord
from napari_nh2st.training.split import folds

if TYPE_CHECKING:
    import pandas as pd

    from napari_nh2st.training import MeasuredSection

_SECONDS_BETWEEN_EVENTS = 0.1

_TRAINED = 0.9
"""Share of the work when a model is trained: then it is scored."""


@dataclass(frozen=True)
class Comparing:
    """One architecture is trained or scored without a part of the study.

    Parameters
    ----------
    architecture, left_out
        Which, and without what.
    done, total
        Trainings that are done, the one under way as a part of one, and all.
    what
        What is done for it, in a few words.
    """

    architecture: str
    left_out: str
    done: float
    total: int
    what: str


@dataclass(frozen=True, eq=False)
class Compared:
    """All architectures are scored.

    Parameters
    ----------
    folder
        With tables, figure and the cross-validation of each.
    table
        As :meth:`~napari_nh2st.evaluation.ArchitectureComparison.table` has it.
    reference
        What differences are from.
    figure
        The picture.
    notices
        Sentences that a reader of the numbers should know.
    """

    folder: Path
    table: "pd.DataFrame"
    reference: str
    figure: Path
    notices: tuple[str, ...]


ComparisonEvent = Reading | Comparing | Compared


def compare_architectures(
    inbox: Inbox, *, record: RunRecord, plan: CompareSettings, folder: Path
) -> Iterator[ComparisonEvent]:
    """Compare architectures on sections, each left out in turn.

    Asked to stop, it ends; the same comparison in the same folder goes on from there.

    Parameters
    ----------
    inbox
        Tells when to stop.
    record
        Sections and settings as for a training. Those that it holds out take no part, the
        architecture and the sections to validate on are the comparison's own.
    plan
        What is compared.
    folder
        See :func:`~napari_nh2st.evaluation.compare_architectures_events`.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.evaluation.compare_architectures_events`.
    """
    from napari_nh2st.evaluation import compare_architectures_events
    from napari_nh2st.evaluation.architecture_comparison import FIGURE_FILE
    from napari_nh2st.training import load_study

    chosen = [each for each in record.sections if each.section_id not in record.held_out]
    study: list[MeasuredSection] = []
    for section in chosen:
        yield Reading(section.section_id, len(study), len(chosen))
        study += load_study([section], trust_positions=record.trust_positions)
        if inbox.stopped():
            return
    parts = [left_out for left_out, _ in folds(study, plan.leave)]
    settings = replace(record.settings, architecture=None, context=None, validation_sections=())
    latest, done = 0.0, 0.0
    with closing(compare_architectures_events(study, plan, settings, folder=folder)) as events:
        for event in events:
            match event:
                case ArchitecturesCompared(result):
                    yield Compared(
                        folder,
                        result.table().astype({"better_folds": float}),
                        result.reference,
                        folder / FIGURE_FILE,
                        result.notices,
                    )
                case ArchitectureProgress():
                    if time.monotonic() - latest > _SECONDS_BETWEEN_EVENTS:
                        latest = time.monotonic()
                        light = _light(event, plan.architectures, parts)
                        # What a training prepares for its test comes after its last epoch.
                        done = max(done, light.done)
                        yield replace(light, done=done)
            if inbox.stopped():
                return


def _light(
    event: ArchitectureProgress, architectures: tuple[str, ...], parts: list[str]
) -> Comparing:
    """An event without models and losses."""
    left_out, inner = event.progress.left_out, event.progress.event
    share, what = 0.0, "training"
    match inner:
        case Preparing():
            what = f"{inner.what}: {inner.done:,} of {inner.total:,}"
        case StepDone(epoch=epoch):
            what = f"epoch {epoch}"
        case EpochDone():
            share = _TRAINED * inner.epoch / inner.epochs
            what = f"epoch {inner.epoch} of {inner.epochs}"
        case SpotsPredicted():
            share, what = _TRAINED, f"scoring {inner.section}"
    before = architectures.index(event.architecture) * len(parts) + parts.index(left_out)
    return Comparing(
        event.architecture, left_out, before + share, len(architectures) * len(parts), what
    )
