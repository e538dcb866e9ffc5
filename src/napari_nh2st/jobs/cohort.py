"""Job of the Cohort dock: predict many slides."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.events import (
    CohortFinished,
    CohortStarted,
    SlideEnded,
    SlideProgress,
    WaitingForWorkers,
)
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.cohort.slides import FoundSlides
from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs.child import Inbox

Event = CohortStarted | SlideProgress | SlideEnded | WaitingForWorkers

FINISH_SLIDE = "finish slide"
"""Sent to the job: it ends with the slide under way, or with one of those."""


def predict_cohort(
    inbox: Inbox,
    *,
    slides: tuple[CohortSlide, ...],
    folder: Path,
    model: str,
    settings: PredictSettings,
    cohort: CohortSettings,
    overwrite: bool,
) -> Iterator[Event]:
    """Predict many slides.

    Parameters
    ----------
    inbox
        A stop ends it with the batch under way, :data:`FINISH_SLIDE` with the slide.
    slides, folder, model, settings, cohort, overwrite
        As :func:`~napari_nh2st.predict_cohort_events` takes them.

    Yields
    ------
    Event
        Those of :func:`~napari_nh2st.predict_cohort_events` but the last, whose table repeats them.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.predict_cohort_events`, or the run ended early.
    """
    from napari_nh2st.cohort.early_end import CohortStopped
    from napari_nh2st.cohort.run import predict_cohort_events

    finish = threading.Event()
    inbox.listen(lambda _sent: finish.set())
    try:
        with closing(
            predict_cohort_events(
                FoundSlides(slides), folder, model, settings, cohort, overwrite=overwrite
            )
        ) as events:
            for event in events:
                if not isinstance(event, CohortFinished):
                    yield event
                if inbox.stopped() or (finish.is_set() and isinstance(event, SlideEnded)):
                    return
    except CohortStopped as error:
        raise InputError(f"The run {error}. Run continues with the remaining slides.") from None
