"""Prediction over many slides, as events and as a whole."""

import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.early_end import CohortStopped, OutputLost
from napari_nh2st.cohort.events import (
    CohortEvent,
    CohortFinished,
    CohortStarted,
    SlideEnded,
    SlideProgress,
    WaitingForWorkers,
)
from napari_nh2st.cohort.job import Done, SlideJob, Work, slide_events
from napari_nh2st.cohort.progress import ProgressMeter
from napari_nh2st.cohort.results import SlideResult, failed
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.cohort.slides import FoundSlides, find_slides
from napari_nh2st.cohort.summary import Summary, lock_of
from napari_nh2st.errors import InputError
from napari_nh2st.extras import import_extra
from napari_nh2st.files import make_folder
from napari_nh2st.inference.device import place
from napari_nh2st.inference.events import Event, Started, TilesDone, TilesEncoded
from napari_nh2st.inference.plan import chosen_genes
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model import bundled_models, read_config
from napari_nh2st.model.folder import Model
from napari_nh2st.model.sources import find_config, load_model, whole_path
from napari_nh2st.tiles.given_features import with_whole_path

_MOST_MODELS = 4
"""Models in memory at a time."""

_log = logging.getLogger(__name__)


def predict_cohort(
    slides: Iterable[Path | str] | FoundSlides,
    output: Path | str,
    model: str | Path | None = None,
    settings: PredictSettings | None = None,
    cohort: CohortSettings | None = None,
    *,
    overwrite: bool = False,
    on_event: Callable[[CohortEvent], None] | None = None,
) -> pd.DataFrame:
    """Predict gene expression over many slides.

    :func:`predict_cohort_events` does the same as a generator of events.

    Parameters
    ----------
    slides
        Slides, folders of slides, patterns, or one table of slides.
    output
        Folder for the predictions and ``summary.csv``; created if it does not exist. Slides
        already predicted there are not predicted again.
    model
        Name or folder of the model for slides that name none; None for the bundled one.
    settings
        Settings of each prediction.
    cohort
        Settings of the run.
    overwrite
        Whether existing predictions made with other settings may be replaced.
    on_event
        Called with every event.

    Returns
    -------
    pandas.DataFrame
        One row per slide: the slide, its output and status, and why it failed if it did.

    Examples
    --------
    .. code-block:: python

        from napari_nh2st import predict_cohort

        table = predict_cohort(["slides/"], "predictions")
        table[table.status == "failed"][["slide", "failure"]]
    """
    event: CohortEvent | None = None
    with closing(
        predict_cohort_events(slides, output, model, settings, cohort, overwrite=overwrite)
    ) as events:
        for event in events:
            if isinstance(event, WaitingForWorkers) and event.is_first:
                _log.warning("%s.", event)
            if on_event is not None:
                on_event(event)
    assert isinstance(event, CohortFinished)
    return event.summary


def predict_cohort_events(
    slides: Iterable[Path | str] | FoundSlides,
    output: Path | str,
    model: str | Path | None = None,
    settings: PredictSettings | None = None,
    cohort: CohortSettings | None = None,
    *,
    overwrite: bool = False,
) -> Generator[CohortEvent, None, None]:
    """Predict gene expression over many slides, as a generator of events.

    If a slide cannot be predicted, its row of ``summary.csv`` says why, and the run goes on with
    the others. Closing the generator stops the work; started again with the same arguments, it
    resumes within the slide it was at. Slides that are done are not predicted again, as long as
    they, their models and the settings are the same.

    Parameters
    ----------
    slides
        What :func:`~napari_nh2st.cohort.find_slides` takes or returns.
    output
        Folder for the predictions and ``summary.csv``; created if it does not exist.
    model
        Name or folder of the model for slides that name none; None for the bundled one.
    settings
        Settings of each prediction.
    cohort
        Settings of the run.
    overwrite
        Whether existing predictions made with other settings may be replaced.

    Yields
    ------
    CohortEvent
        See :mod:`napari_nh2st.cohort.events`.

    Raises
    ------
    InputError
        There is no slide; a model, a gene or the device does not exist; the folder cannot be
        written to, or another run is writing to it.
    CohortStopped
        Several slides in a row failed with unexpected errors, or the scheduler was lost.

    Examples
    --------
    .. code-block:: python

        for event in predict_cohort_events(["slides/"], "predictions"):
            if isinstance(event, SlideEnded):
                print(event.result.slide.name, event.result.failure or "done")
    """
    settings, cohort = settings or PredictSettings(), cohort or CohortSettings()
    if settings.features is not None:  # workers may have another working folder
        settings = replace(settings, features=with_whole_path(settings.features))
    found = slides if isinstance(slides, FoundSlides) else find_slides(slides)
    if cohort.scheduler is None:
        place(settings.device, settings.precision, settings.batch_size, settings.reader_threads)
    folder = Path(output).expanduser().absolute()
    usual = str(model) if model is not None else next(iter(bundled_models()), None)
    sha256 = _checked_models(found.slides, usual, settings)
    work_on = _way_of_working(cohort)
    make_folder(folder)
    lock = lock_of(folder)
    try:
        summary = Summary(folder, found.slides, cohort.format)
        jobs = []
        for slide in summary.slides:
            name = whole_path(slide.model or str(usual))
            output = folder / f"{slide.name}.{cohort.format}"
            jobs.append(SlideJob(slide, output, name, sha256[name], settings, overwrite))
        yield CohortStarted(summary.slides, found.notices)
        meter = ProgressMeter(summary.slides)
        in_a_row = 0
        with closing(work_on(jobs)) as work:
            try:
                summary.write()
                for each in work:
                    if isinstance(each, WaitingForWorkers):
                        yield each
                        continue
                    if not isinstance(each, SlideResult):
                        yield SlideProgress(*each, meter.tiles_done(*each))
                        continue
                    result = _with_what_is_known(each, summary)
                    summary.add(result)
                    yield SlideEnded(result, meter.slide_ended(result))
                    if result.is_fatal:
                        raise OutputLost(f"{result.failure}. No further slide was tried.")
                    in_a_row = _errors_in_a_row(in_a_row, result, cohort.most_errors)
            finally:
                summary.write()
        yield CohortFinished(tuple(summary.results()), summary.table())
    finally:
        lock.release()


def _way_of_working(cohort: CohortSettings) -> Callable[[Sequence[SlideJob]], Work]:
    """What predicts the slides, in this process or in others."""
    if cohort.workers is None and cohort.scheduler is None:
        return _one_after_another
    import_extra("distributed", "distributed", "Predicting with several workers")
    from napari_nh2st.cohort.cluster import on_cluster

    return partial(on_cluster, cohort=cohort)


def _one_after_another(jobs: Sequence[SlideJob]) -> Work:
    """Predict in this process."""

    @lru_cache(maxsize=_MOST_MODELS)
    def loaded(name: str) -> Model:
        return load_model(name)

    for job in jobs:
        started = time.perf_counter()
        try:
            with closing(slide_events(job, lambda job: loaded(job.model))) as events:
                result = yield from _counted(job.slide, events)
        except Exception as error:
            yield failed(job.slide, job.output, error, time.perf_counter() - started)
        else:
            yield result


def _counted(
    slide: CohortSlide, events: Generator[Event, None, SlideResult]
) -> Generator[Done, None, SlideResult]:
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            result: SlideResult = end.value
            return result
        if isinstance(event, Started | TilesEncoded | TilesDone):
            yield slide, event.done, event.total


def _checked_models(
    slides: Sequence[CohortSlide], usual: str | None, settings: PredictSettings
) -> dict[str, str]:
    """The sha256 of each model, by its whole name; it and the genes are there."""
    found: dict[str, str] = {}
    for slide in slides:
        name = slide.model or usual
        if name is None:
            raise InputError("no model is bundled with this version: give one")
        name = whole_path(name)
        if name not in found:
            config = read_config(find_config(name))
            chosen_genes(settings.genes, config.panel)
            found[name] = str(config.weights["sha256"])
    return found


def _with_what_is_known(result: SlideResult, summary: Summary) -> SlideResult:
    """A prediction that was there, with the seconds that it took."""
    if result.is_new:
        return result
    seconds = summary.earlier(result.output, result.request).get("seconds")
    return replace(result, seconds=float(seconds)) if seconds else result


def _errors_in_a_row(before: int, result: SlideResult, most: int) -> int:
    if not result.traceback:
        return before if result.status == "failed" else 0
    if before + 1 >= most:
        what = "a slide" if most == 1 else f"{most} slides in a row"
        raise CohortStopped(f"stopped, since {what} failed unexpectedly: {result.failure}")
    return before + 1
