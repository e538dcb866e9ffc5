"""Prediction of many slides in a child process, as the viewer runs it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs.cohort import FINISH_SLIDE, Event
from napari_nh2st.jobs.stoppable import Jobs, StoppableJob

_PATIENCE_S = 40.0
"""Workers of dask.distributed get some of it to write what they have."""


@dataclass(frozen=True)
class CohortChoice:
    """What is the same for all slides of a run.

    Parameters
    ----------
    folder, model, settings, cohort, overwrite
        As :func:`~napari_nh2st.predict_cohort_events` takes them.
    """

    folder: Path
    model: str
    settings: PredictSettings
    cohort: CohortSettings
    overwrite: bool


class CohortRun(StoppableJob):
    """Runs a cohort elsewhere.

    Parameters
    ----------
    jobs
        Runs it.
    slides
        In their order.
    choice
        What is the same for all of them.
    """

    def __init__(self, jobs: Jobs, slides: Sequence[CohortSlide], choice: CohortChoice) -> None:
        job = jobs.job("predict_cohort", slides=tuple(slides), **vars(choice))
        super().__init__(job, _PATIENCE_S)

    def finish_slide(self) -> None:
        """End with the slide under way."""
        self.send(FINISH_SLIDE)

    def events(self) -> Iterator[Event]:
        """Run it, in the thread that asks for the events; after a stop they end early.

        Raises
        ------
        InputError, JobFailed
            As :meth:`StoppableJob.job_events`.
        """
        for event in self.job_events():
            self.is_loading = False
            yield cast(Event, event)
