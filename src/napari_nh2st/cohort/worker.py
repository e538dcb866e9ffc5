"""Work on a worker of dask.distributed: slides, and parts of large ones.

Everything here runs in the worker's process; the client's side is
:mod:`napari_nh2st.cohort.cluster`.
"""

import logging
import os
import signal
import threading
import time
import zlib
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import TypeVar, cast

import torch
from distributed import Reschedule, Status, get_worker

from napari_nh2st.cohort.job import SlideJob, open_job, slide_events
from napari_nh2st.cohort.results import SlideResult, failed
from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse
from napari_nh2st.inference.device import place
from napari_nh2st.inference.events import Started, TilesDone, TilesEncoded
from napari_nh2st.inference.parts import Part, part_events
from napari_nh2st.inference.settings import PredictPrecision, PredictSettings
from napari_nh2st.log_file import log_as_parent
from napari_nh2st.model.folder import Model
from napari_nh2st.model.sources import load_model
from napari_nh2st.slide import open_slide

E = TypeVar("E")
R = TypeVar("R")

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_MESSAGES = 1.0

_MOST_MODELS = 2
"""Models in a worker's memory at a time."""

_LONGEST_IN_USE_S = 60.0
"""A worker that the scheduler has given up may still write the tiles that it has in hand."""

_SECONDS_BETWEEN_TRIES = 0.5

_loading = threading.Lock()

_stopped: set[str] = set()
"""Runs that were stopped."""


@dataclass(frozen=True)
class Run:
    """A cohort's run, as its workers know it.

    Parameters
    ----------
    name
        Of no other run; also that of the topic of its messages.
    part_tiles
        Slides of more tiles are computed in parts of about so many.
    is_local
        Whether the workers are processes of the client's machine, which see what it sees.
    """

    name: str
    part_tiles: int
    is_local: bool = False


@dataclass(frozen=True, eq=False)
class Split:
    """A slide that is large enough for several workers.

    Parameters
    ----------
    job
        Its job, with the settings that its parts have in common.
    count
        How many parts.
    total
        Tiles of the whole.
    """

    job: SlideJob
    count: int
    total: int


def predict_slide(job: SlideJob, run: Run, *, whole: bool) -> SlideResult | Split | None:
    """Predict a slide, or see that it is large.

    Parameters
    ----------
    job, run
        What is to be done, and of which run.
    whole
        Whether it is predicted however large it is.

    Returns
    -------
    SlideResult or Split or None
        None where the run was stopped.

    Raises
    ------
    Reschedule
        This worker closes: another one goes on from the tiles that are written.
    """
    started = time.perf_counter()
    here = replace(job, settings=_on_own_device(job.settings))
    send = _Messages(run, job.slide.name, 0)
    send.begun()
    try:
        if not run.is_local:
            _check_there(job)
        # Where features are given, nothing is encoded: parts would save nothing.
        whole = whole or _model(job).config.takes_features
        with closing(_once_free(lambda: slide_events(here, _model))) as events:
            while _goes_on(run):
                try:
                    event = next(events)
                except StopIteration as end:
                    result: SlideResult = end.value
                    return result
                if isinstance(event, Started) and not whole:
                    left = event.total - event.done
                    if left > run.part_tiles:
                        return _split(job, here.settings, event, -(-left // run.part_tiles))
                if isinstance(event, Started | TilesEncoded | TilesDone):
                    send(event.done, event.total)
    except Reschedule:
        raise
    except Exception as error:
        return failed(job.slide, job.output, error, time.perf_counter() - started)
    return None


def predict_part(split: Split, number: int, run: Run) -> SlideResult | int | None:
    """Compute a part of a slide.

    Returns
    -------
    int or SlideResult or None
        Tiles of the part; why it failed; or None where the run was stopped.

    Raises
    ------
    Reschedule
        As :func:`predict_slide`.
    """
    job = replace(split.job, settings=_on_own_device(split.job.settings))
    send = _Messages(run, job.slide.name, number)
    send.begun()
    total = 0
    try:
        if not run.is_local:
            _check_there(job)
        with open_slide(job.slide.path, mpp=job.slide.mpp, image=job.slide.image) as slide:
            opened = open_job(job, slide, _model(job))
            begin = partial(
                part_events,
                slide,
                opened.model,
                opened.settings,
                output=job.output,
                part=Part(number, split.count),
                tissue=opened.tissue,
            )
            with closing(_once_free(begin)) as events:
                for done, total in events:
                    if not _goes_on(run):
                        return None
                    send(done, total)
    except Reschedule:
        raise
    except Exception as error:
        return failed(job.slide, job.output, error)
    return total


def stop(name: str) -> None:
    """Stop a run: its work on this worker ends with the tiles that it has in hand."""
    _stopped.add(name)


def problem(version: str, folder: Path, others: tuple[Path, ...]) -> str:
    """What keeps this worker from helping; empty for nothing.

    Parameters
    ----------
    version
        Of the client's napari-nh2st.
    folder
        To be written to.
    others
        To be read.
    """
    own = metadata.version("napari-nh2st")
    if own != version:
        return f"it has napari-nh2st {own}, and this is {version}"
    for path in (folder, *others):
        if not path.exists():
            return f"{path} is not there"
    return "" if os.access(folder, os.W_OK) else f"{folder} may not be written to"


def load_ahead(name: str) -> None:
    """Load a model in a thread of its own, before the first task needs it.

    The parts of a slide reach most workers when the first of them has opened it.
    """

    def load() -> None:
        with suppress(Exception):  # the task that needs it will say so
            _loaded(name)

    threading.Thread(target=load, name="nh2st-load-ahead", daemon=True).start()


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to all its processes, to the one that started this.

    Called in the worker's event loop. That of its own is the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def silence_connections() -> None:
    """Print no traceback where a connection ends in the middle of a message.

    Whoever stops the run ends them all, and what fails in a task reaches the client without them.
    """
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)


def _goes_on(run: Run) -> bool:
    """Whether a run was not stopped; a worker that closes hands its task over."""
    if get_worker().status not in (Status.running, Status.paused):
        raise Reschedule
    return run.name not in _stopped


def _once_free(begin: Callable[[], Generator[E, None, R]]) -> Generator[E, None, R]:
    """Events of a prediction whose store a worker that was given up may hold for a while."""
    latest = time.monotonic() + _LONGEST_IN_USE_S
    while True:
        try:
            return (yield from begin())
        except InUse:
            if time.monotonic() > latest:
                raise
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _split(job: SlideJob, here: PredictSettings, event: Started, count: int) -> Split:
    """What the parts of a slide have in common, of which only the device is their own."""
    placement = place(here.device, here.precision, here.batch_size, here.reader_threads)
    common = replace(
        job.settings,
        step_um=event.grid.step_um,
        precision=cast(PredictPrecision, event.precision),
        batch_size=placement.batch_size,
    )
    return Split(replace(job, settings=common), count, event.total)


def _model(job: SlideJob) -> Model:
    model = _loaded(job.model)
    if model.config.weights.get("sha256") != job.sha256:
        _kept_model.cache_clear()
        raise InputError(
            f"model {job.model} is a different one on worker {_own_name()}: a model's folder has "
            "to be the same on all workers"
        )
    return model


def _loaded(name: str) -> Model:
    with _loading:  # what is loaded ahead is waited for, not loaded twice
        return _kept_model(name)


@lru_cache(maxsize=_MOST_MODELS)
def _kept_model(name: str) -> Model:
    return load_model(name)


def _check_there(job: SlideJob) -> None:
    """See that slide and folder, which the client has seen, are there for this worker."""
    for path in (job.slide.path, job.output.parent):
        if not path.exists():
            raise InputError(
                f"{path} does not exist on worker {_own_name()}: slides, models and the output "
                "folder have to be on a file system that all workers share, under the same path"
            )


def _own_name() -> str:
    return str(get_worker().address)


def _on_own_device(settings: PredictSettings) -> PredictSettings:
    """One GPU for each worker of a machine with several."""
    if settings.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return settings
    name = str(get_worker().name)
    number = int(name) if name.isdecimal() else zlib.crc32(name.encode())
    number %= torch.cuda.device_count()
    return replace(settings, device=f"cuda:{number}") if number else settings


class _Messages:
    """Sends how far a task is, now and then."""

    def __init__(self, run: Run, slide: str, part: int) -> None:
        self._run, self._slide, self._part = run, slide, part
        self._last = -_SECONDS_BETWEEN_MESSAGES

    def begun(self) -> None:
        """Report that the task has begun, before anything is opened that may end this process."""
        log_as_parent()
        part = f", part {self._part}" if self._part else ""
        _log.info("%s%s: begun on worker %s", self._slide, part, get_worker().name)
        get_worker().log_event(self._run.name, (self._slide, self._part, 0, 0))

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._last >= _SECONDS_BETWEEN_MESSAGES:
            self._last = now
            get_worker().log_event(self._run.name, (self._slide, self._part, done, total))
