"""Prediction of one slide of a cohort, unless that is done already."""

import hashlib
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.events import WaitingForWorkers
from napari_nh2st.cohort.results import SlideResult, done
from napari_nh2st.errors import InputError
from napari_nh2st.files import recover
from napari_nh2st.inference import Event, PredictSettings, Started, predict_events
from napari_nh2st.inference.feature_grids import given_features
from napari_nh2st.inference.plan import subject_identity
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.files import read_without_values
from napari_nh2st.prediction.schema import notes
from napari_nh2st.prediction.stored_names import stored_name
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.drawn_tissue import read_tissue
from napari_nh2st.tiles.geojson import on_slide, read_regions

_HOW = ("device", "batch_size", "reader_threads", "order")
"""Settings on how a prediction runs: a slide that is done stays done where they change."""


Done = tuple[CohortSlide, int, int]
"""A slide, its tiles that have a value, and all of them."""

Work = Generator[Done | SlideResult | WaitingForWorkers, None, None]
"""Slides as they are predicted, in whatever order, each ending with its result."""


@dataclass(frozen=True, eq=False)
class SlideJob:
    """What is to be done for a slide.

    Parameters
    ----------
    slide
        Which.
    output
        What to write.
    model
        Name or folder of the model.
    sha256
        Of the model's weights: another machine may have another model under that name.
    settings
        Of the prediction; a region of the slide is added to them.
    overwrite
        A prediction of other settings that is there may be replaced.
    """

    slide: CohortSlide
    output: Path
    model: str
    sha256: str
    settings: PredictSettings
    overwrite: bool


@dataclass(frozen=True, eq=False)
class OpenJob:
    """A job with its slide open.

    Parameters
    ----------
    slide, model, settings, tissue
        As :func:`~napari_nh2st.predict` takes them.
    request
        What makes it another prediction if it changes, as a sha256.
    """

    slide: Slide
    model: Model
    settings: PredictSettings
    tissue: TissueMask | None
    request: str


def slide_events(
    job: SlideJob, load: Callable[[SlideJob], Model]
) -> Generator[Event, None, SlideResult]:
    """Predict a slide as :func:`~napari_nh2st.predict_events` does, unless that is done.

    Parameters
    ----------
    job
        What is to be done.
    load
        Gives the model of a job.

    Yields
    ------
    Event
        None for a slide that was done before.

    Returns
    -------
    SlideResult
        What came of it.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.predict`, or a prediction of other settings is there.
    """
    started = time.perf_counter()
    with open_slide(job.slide.path, mpp=job.slide.mpp, image=job.slide.image) as slide:
        opened = open_job(job, slide, load(job))
        if (found := finished_result(job, opened.request)) is not None:
            return found
        return (yield from predicting(job, opened, started))


def open_job(job: SlideJob, slide: Slide, model: Model) -> OpenJob:
    """Read what a job names beside its slide.

    Raises
    ------
    InputError
        A region, the tissue or features cannot be used.
    """
    settings, tissue = job.settings, None
    if job.slide.region is not None:
        settings = replace(settings, region=on_slide(read_regions(job.slide.region), slide))
    if job.slide.tissue is not None:
        tissue = read_tissue(job.slide.tissue, slide)
    # Features count by what is in their file, and not by its name.
    left_out = (*_HOW, "features")
    asked = {name: _plain(v) for name, v in settings.to_json().items() if name not in left_out}
    content = {
        **subject_identity(slide, model),
        "panel": model.config.panel,
        "heads": (model.config.heads or {}).get("sha256") if settings.spread else None,
        "settings": asked,
        "tissue": None if tissue is None else tissue.sha256,
    }
    if (given := given_features(slide, model.config, settings.features)) is not None:
        content["features"] = given.sha256
    request = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return OpenJob(slide, model, settings, tissue, request)


def _plain(value: Any) -> Any:
    """A setting as text has it: a step of 50 is one of 50.0."""
    return float(value) if isinstance(value, int) else value


def finished_result(job: SlideJob, request: str) -> SlideResult | None:
    """The result of a job that was done before; None where it is still to be done.

    Raises
    ------
    InputError
        Something else is there, and may not be replaced.
    """
    recover(job.output)
    if not job.output.exists():
        return None
    try:
        there = read_without_values(job.output)
        if notes(there).get("cohort", {}).get("request") == request:
            return done(job.slide, job.output, there, request=request, is_new=False)
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        pass  # none of ours, or damaged: whoever writes it looks more closely
    if not job.overwrite:
        raise InputError(
            f"{job.output} already exists, from other settings, another model or another state of "
            "the slide; give another folder or allow overwriting"
        )
    return None


def predicting(
    job: SlideJob, opened: OpenJob, started: float
) -> Generator[Event, None, SlideResult]:
    """Predict a slide, and note in its prediction what was asked for."""
    prediction = None
    with closing(
        predict_events(
            opened.slide,
            opened.model,
            opened.settings,
            output=job.output,
            overwrite=job.overwrite,
            tissue=opened.tissue,
        )
    ) as events:
        for event in events:
            if isinstance(event, Started):
                columns = {stored_name(n): text for n, text in job.slide.columns.items()}
                notes(event.prediction)["cohort"] = columns | {"request": opened.request}
            prediction = event.prediction
            yield event
    assert prediction is not None
    seconds = time.perf_counter() - started
    return done(job.slide, job.output, prediction, request=opened.request, seconds=seconds)
