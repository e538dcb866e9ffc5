"""Prediction of a cohort on the workers of dask.distributed.

Slides are tasks; a large one is a task for each of its parts and one that puts them together. What
workers say comes through one queue. dask runs the tasks of a lost worker again, and they go on from
the tiles that it had written.
"""

import logging
import os
import queue
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import distributed

from napari_nh2st.cohort import worker
from napari_nh2st.cohort.early_end import SchedulerLost
from napari_nh2st.cohort.events import WaitingForWorkers
from napari_nh2st.cohort.job import Done, SlideJob, Work
from napari_nh2st.cohort.results import SlideResult, failed
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.errors import InputError, first_line
from napari_nh2st.thread_waits import short_waits

_MOST_SUBMITTED = 1000
"""Tasks at a time: enough for adaptive clusters to grow by, and few enough for any scheduler."""

_WAIT_S = 0.5
"""On Windows, Ctrl-C does not end a wait."""

_QUIET_S = 3.0
"""Where nothing is heard for so long, it is looked whether there are workers at all."""

_LOOK_EVERY_S = 1.0

_CONNECT_S = 10

_MOST_BLAMED = 8
"""Times that a task which never began may be among those of workers that were lost."""

_LONGEST_END_S = 15
"""What workers get to write the tiles that they have in hand when a run is stopped."""


class ClusterError(InputError):
    """A cluster, or one of its workers, cannot be used."""


@dataclass(eq=False)
class _Slide:
    """A slide that workers have; ``begun`` are the parts that a worker has begun, 0 the whole."""

    job: SlideJob
    split: worker.Split | None = None
    parts_left: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    blamed: int = 0
    done: dict[int, int] = field(default_factory=dict)
    split_at: float = 0.0


def on_cluster(jobs: Sequence[SlideJob], cohort: CohortSettings) -> Work:
    """Predict slides on a local cluster, which ends with the work, or on one that is there.

    Closing the generator stops the workers; what is done stays in the stores beside the outputs.

    Raises
    ------
    ClusterError
        There is no scheduler at the address, or a worker cannot be used.
    SchedulerLost
        The scheduler ended, or dropped the tasks.
    """
    with _client(cohort) as client:
        _check_workers(client, jobs)
        client.run(worker.load_ahead, jobs[0].model)
        run = worker.Run(
            f"nh2st-{uuid.uuid4().hex}", cohort.part_tiles, is_local=cohort.scheduler is None
        )
        with closing(_Tasks(client, run, jobs)) as tasks:
            yield from tasks.results()


class _Tasks:
    """The tasks of a run, as far as they are submitted."""

    def __init__(
        self, client: distributed.Client, run: worker.Run, jobs: Sequence[SlideJob]
    ) -> None:
        self._client, self._run = client, run
        self._waiting = iter(jobs)
        self._tasks: dict[str, tuple[distributed.Future[Any], _Slide, int | None]] = {}
        self._said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._slides: dict[str, _Slide] = {}
        self._look_at = time.monotonic() + _QUIET_S
        self._waits_for: tuple[bool, bool] | None = None
        self._asks_for_gpu = False
        self._address = str(client.scheduler_info()["address"])
        client.subscribe_topic(run.name, self._said.put)

    def results(self) -> Iterator[Done | SlideResult | WaitingForWorkers]:
        """What becomes of the slides, as it comes."""
        self._submit_more()
        while self._tasks:
            try:
                said = self._said.get(timeout=_WAIT_S)
            except queue.Empty:
                self._check_scheduler()
                yield from self._without_workers()
                continue
            self._look_at = time.monotonic() + _QUIET_S
            if isinstance(said, distributed.Future):
                yield from self._ended(said)
                self._submit_more()
            else:
                yield from self._progress(*said[1])

    def close(self) -> None:
        """Stop what is not done."""
        if self._client.status != "running":  # nobody hears
            return
        with suppress(Exception):  # of a cluster that goes just now, say
            self._client.unsubscribe_topic(self._run.name)
            # Without a worker there is nothing to wait for.
            if self._tasks and self._client.run(worker.stop, self._run.name):
                self._wait_for_the_last_tiles()
        with suppress(Exception):
            self._client.cancel([future for future, *_ in self._tasks.values()], force=True)

    def _wait_for_the_last_tiles(self) -> None:
        latest = time.monotonic() + _LONGEST_END_S
        while self._tasks and (left := latest - time.monotonic()) > 0:
            with suppress(queue.Empty):
                said = self._said.get(timeout=left)
                if isinstance(said, distributed.Future):
                    self._tasks.pop(str(said.key), None)

    def _submit_more(self) -> None:
        while len(self._tasks) < _MOST_SUBMITTED:
            job = next(self._waiting, None)
            if job is None:
                return
            slide = _Slide(job)
            self._slides[job.slide.name] = slide
            self._submit(slide, None)

    def _submit(self, slide: _Slide, number: int | None) -> None:
        """Submit a slide, or one of its parts."""
        task: Callable[[], Any]
        # What is begun comes first: parts, then slides whose parts are done.
        if slide.split is not None and number is not None:
            priority, task = 1, partial(worker.predict_part, slide.split, number, self._run)
        else:
            whole = slide.split is not None
            priority = 2 if whole else 0
            task = partial(worker.predict_slide, slide.job, self._run, whole=whole)
        future = self._client.submit(
            task,
            key=f"{self._run.name}-{uuid.uuid4().hex}",
            pure=False,
            priority=priority,
            resources=self._resources(slide.job),
        )
        self._tasks[str(future.key)] = future, slide, number
        future.add_done_callback(self._said.put)

    def _resources(self, job: SlideJob) -> dict[str, int] | None:
        """A GPU for each task, where workers say that they have some."""
        if job.settings.device == "cpu":
            return None
        if not self._has_gpus():
            return None
        self._asks_for_gpu = True
        return {"GPU": 1}

    def _has_gpus(self) -> bool:
        workers = self._client.scheduler_info()["workers"].values()
        return any(each["resources"].get("GPU") for each in workers)

    def _ended(self, future: "distributed.Future[Any]") -> Iterator[Done | SlideResult]:
        task = self._tasks.pop(str(future.key), None)
        if task is None:  # of a slide that has failed
            return
        _, slide, number = task
        try:
            result = future.result()
        except distributed.KilledWorker as error:
            if self._is_innocent(slide, number):
                self._submit(slide, number)
                return
            result = failed(slide.job.slide, slide.job.output, error)
            result = replace(result, failure=_lost_workers(error))
        except Exception as error:
            self._check_scheduler()
            if future.cancelled():
                raise SchedulerLost("the scheduler has dropped the tasks") from None
            result = failed(slide.job.slide, slide.job.output, error)
        if isinstance(result, worker.Split):
            slide.split, slide.parts_left = result, set(range(result.count))
            slide.split_at = time.perf_counter()
            slide.begun.clear()
            for part in range(result.count):
                self._submit(slide, part)
        elif isinstance(result, SlideResult):
            self._drop(slide)
            if slide.split is not None:
                result = replace(result, seconds=time.perf_counter() - slide.split_at)
            yield result
        elif number is not None:
            slide.parts_left.discard(number)
            if not slide.parts_left:
                slide.begun.clear()
                self._submit(slide, None)

    def _is_innocent(self, slide: _Slide, number: int | None) -> bool:
        """Whether a task had not begun when workers were lost that had it waiting.

        dask counts a lost worker against all the tasks that it had been given.
        """
        slide.blamed += 1
        return (number or 0) not in slide.begun and slide.blamed <= _MOST_BLAMED

    def _drop(self, slide: _Slide) -> None:
        """Let go of a slide, and of its tasks where it failed."""
        self._slides.pop(slide.job.slide.name, None)
        others = [key for key, (_, other, _) in self._tasks.items() if other is slide]
        self._client.cancel([self._tasks.pop(key)[0] for key in others])

    def _progress(self, name: str, part: int, done: int, total: int) -> Iterator[Done]:
        slide = self._slides.get(name)
        if slide is None:
            return
        slide.begun.add(part)
        if not total:
            return
        if slide.split is not None:
            if not slide.parts_left:  # being put together
                return
            total = slide.split.total
        slide.done[part] = max(done, slide.done.get(part, 0))
        yield slide.job.slide, min(total, sum(slide.done.values())), total

    def _without_workers(self) -> Iterator[WaitingForWorkers]:
        """Report that there are no workers, or none with a GPU: tasks wait without a word."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        try:
            has_workers = bool(self._client.nthreads())
            for_gpu = has_workers and self._asks_for_gpu and not self._has_gpus()
        except OSError:  # the scheduler is lost just now
            return
        waits = None if has_workers and not for_gpu else (has_workers, for_gpu)
        is_first, self._waits_for = waits != self._waits_for, waits
        if waits is not None:
            yield WaitingForWorkers(self._address, is_first, for_gpu)

    def _check_scheduler(self) -> None:
        """See that the scheduler is there: one that comes back knows of no task."""
        if self._client.status != "running":
            raise SchedulerLost("the scheduler no longer answers")


def _lost_workers(error: distributed.KilledWorker) -> str:
    """Why a task was given up, for who has read nothing about dask."""
    count, address = error.allowed_failures + 1, error.last_worker.address
    workers = "The worker" if count == 1 else f"{count} workers, one after another,"
    return (
        f"{workers} that predicted it ended without a message, the last one at {address}: there "
        "may be too little memory, a time limit, or a reader that crashes. The workers' logs may "
        "say more."
    )


@contextmanager
def _client(cohort: CohortSettings) -> Iterator[distributed.Client]:
    """A client of a cluster of its own, which ends with it, or of one that is there."""
    if cohort.scheduler is None:
        log = logging.getLogger("tornado.application")
        level = log.level
        try:
            with (
                closing(_local_cluster(cohort)) as cluster,
                distributed.Client(cluster, set_as_default=False, name="nh2st") as client,
            ):
                client.run(worker.ignore_interrupts)
                client.run(worker.silence_connections)
                try:
                    yield client
                finally:
                    # Connections that end in the middle of a message end in tracebacks.
                    log.setLevel(logging.CRITICAL)
        finally:
            log.setLevel(level)
        return
    try:
        client = distributed.Client(
            cohort.scheduler, timeout=_CONNECT_S, set_as_default=False, name="nh2st"
        )
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"no scheduler answers at {cohort.scheduler}: {first_line(error)}"
        ) from None
    log = logging.getLogger("distributed.client")
    level = log.level
    try:
        yield client
    except SchedulerLost as error:
        log.setLevel(logging.CRITICAL)  # what it does to find the scheduler ends in tracebacks
        raise SchedulerLost(f"stopped, since {error} at {cohort.scheduler}") from None
    finally:
        client.close()
        log.setLevel(level)


def _local_cluster(cohort: CohortSettings) -> distributed.LocalCluster:
    assert cohort.workers is not None
    threads = str(max(1, _cores() // cohort.workers))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return distributed.LocalCluster(
        n_workers=cohort.workers,
        threads_per_worker=1,
        processes=True,
        host=cohort.host,
        dashboard_address=f"{cohort.host}:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,  # what a prediction needs does not grow with the slide
        silence_logs="ERROR",
        env={name: os.environ.get(name, threads) for name in names} | short_waits(),
    )


def _check_workers(client: distributed.Client, jobs: Sequence[SlideJob]) -> None:
    """See that the workers there are can read and write what they have to."""
    models = {Path(job.model) for job in jobs if Path(job.model).is_absolute()}
    # One that is missing here as well, or whose server is, is its own slide's failure.
    local = (job.slide.path for job in jobs if isinstance(job.slide.path, Path))
    there = next((path for path in local if path.exists()), None)
    others = (*models, *(() if there is None else (there,)))
    try:
        version = metadata.version("napari-nh2st")
        problems = client.run(worker.problem, version, jobs[0].output.parent, others)
    except Exception as error:  # it has no napari-nh2st, or another one
        raise ClusterError(f"a worker cannot be used: {first_line(error)}") from error
    for address, problem in problems.items():
        if problem:
            raise ClusterError(
                f"worker {address} cannot be used: {problem}. Slides, models and the output "
                "folder have to be on a file system that all workers share, under the same path"
            )


def _cores() -> int:
    available = getattr(os, "sched_getaffinity", None)
    return len(available(0)) if available is not None else os.cpu_count() or 1
