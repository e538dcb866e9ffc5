"""A cohort whose scheduler is lost, or whose workers are lost over and over."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import anndata
import dask
import distributed
import numpy as np
import pytest
from distributed import Reschedule, Status

from cohort_slides import SETTINGS, write_model, write_slide
from napari_nh2st import predict_cohort, predict_cohort_events
from napari_nh2st.cohort import CohortFinished, CohortSettings, SlideProgress, find_slides, worker
from napari_nh2st.cohort.early_end import CohortStopped, SchedulerLost
from napari_nh2st.files import InUse

FINE = replace(SETTINGS, step_um=16)
"""900 tiles in the large slide, a hundred batches."""


@pytest.fixture(autouse=True)
def message_of_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_MESSAGES", 0.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "small", "neighborhood")


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """A small slide, a large one, and a small one."""
    folder = tmp_path / "slides"
    sides = {"a": 192, "large": 480, "z": 192}
    return [write_slide(folder / f"{n}.tif", i, side) for i, (n, side) in enumerate(sides.items())]


@contextmanager
def worker_here(address: str) -> Iterator[threading.Thread]:
    """A worker in a thread of this process, which has imported all that it needs."""
    started: Future[tuple[distributed.Worker, asyncio.AbstractEventLoop]] = Future()

    async def work() -> None:
        async with distributed.Worker(address, nthreads=1, dashboard=False) as here:
            started.set_result((here, asyncio.get_running_loop()))
            await here.finished()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    here, loop = started.result(60)
    try:
        yield thread
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(here.close(), loop)
        thread.join(60)


def test_a_run_whose_scheduler_is_killed_ends_and_goes_on(
    slides: list[Path], model: Path, tmp_path: Path
) -> None:
    scheduler = subprocess.Popen(
        [
            *(sys.executable, "-m", "dask", "scheduler"),
            *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert scheduler.stderr is not None
    address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at:" in line)
    found, output = find_slides(slides, mpp=1.0), tmp_path / "out"
    settings = CohortSettings(scheduler=address)
    sentence = rf"^stopped, since the scheduler .* at {address}$"

    def kill_within_the_large_slide(event: object) -> None:
        if isinstance(event, SlideProgress) and event.slide.name == "large" and event.done:
            scheduler.kill()

    with worker_here(address) as its_thread:
        with pytest.raises(SchedulerLost, match=sentence) as lost:
            predict_cohort(
                found, output, model, FINE, settings, on_event=kill_within_the_large_slide
            )
        assert isinstance(lost.value, CohortStopped)  # which the command and the dock report
        scheduler.communicate()
        # The worker, which nobody tells, closes by itself and lets go of the slide.
        its_thread.join(60)
        assert not its_thread.is_alive()
    assert (output / "a.h5ad").exists()
    assert not (output / "large.h5ad").exists()
    events = list(predict_cohort_events(found, output, model, FINE))
    large = next(e for e in events if isinstance(e, SlideProgress) and e.slide.name == "large")
    assert large.done > 0
    assert isinstance(events[-1], CohortFinished)
    assert list(events[-1].summary["skipped"]) == [True, False, False]
    predict_cohort(found, tmp_path / "alone", model, FINE)
    for name in ("a", "large", "z"):
        ours, theirs = (anndata.read_h5ad(f / f"{name}.h5ad") for f in (output, tmp_path / "alone"))
        np.testing.assert_array_equal(ours.X, theirs.X)


def test_a_slide_that_costs_its_workers_fails_and_those_behind_it_do_not(
    slides: list[Path], model: Path, tmp_path: Path
) -> None:
    found, n_lost = find_slides([slides[1], slides[2]], mpp=1.0), 0
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        ExitStack() as workers,
    ):
        scheduler = cluster.scheduler
        workers.enter_context(worker_here(cluster.scheduler_address))
        settings = CohortSettings(scheduler=cluster.scheduler_address)
        seen = 0
        with closing(predict_cohort_events(found, tmp_path / "out", model, FINE, settings)) as run:
            for event in run:
                if isinstance(event, SlideProgress) and event.slide.name == "large" and n_lost < 2:
                    if n_lost == 0 or event.done > seen:
                        (lost,) = scheduler.workers
                        # What it does when the connection to a worker breaks.
                        cluster.sync(scheduler.remove_worker, lost, stimulus_id="lost")
                        workers.enter_context(worker_here(cluster.scheduler_address))
                        n_lost += 1
                    seen = event.done
    assert n_lost == 2
    assert isinstance(event, CohortFinished)
    large, other = event.results
    assert large.status == "failed"
    assert large.failure.startswith("2 workers, one after another, that predicted it ended without")
    assert other.status == "done"


def test_a_worker_that_closes_hands_its_task_over(monkeypatch: pytest.MonkeyPatch) -> None:
    here = SimpleNamespace(status=Status.running)
    monkeypatch.setattr(worker, "get_worker", lambda: here)
    run = worker.Run("a run of this test", 10)
    assert worker._goes_on(run)
    here.status = Status.closing_gracefully
    with pytest.raises(Reschedule):
        worker._goes_on(run)


def test_a_store_that_a_lost_worker_still_holds_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_TRIES", 0.0)
    tries = []

    def begin() -> Iterator[int]:
        tries.append(1)
        if len(tries) < 3:
            raise InUse("held")
        yield 1
        return 7

    assert list(worker._once_free(begin)) == [1]
    assert len(tries) == 3
    monkeypatch.setattr(worker, "_LONGEST_IN_USE_S", -1.0)
    tries.clear()
    with pytest.raises(InUse):
        next(worker._once_free(begin))


def test_a_model_that_is_loaded_ahead_is_loaded_once(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    real = worker.load_model
    monkeypatch.setattr(worker, "load_model", lambda name: (loaded.append(name), real(name))[1])
    worker._kept_model.cache_clear()
    worker.load_ahead(str(model))
    assert worker._loaded(str(model)).config.panel
    for thread in threading.enumerate():
        if thread.name == "nh2st-load-ahead":
            thread.join()
    assert loaded == [str(model)]
    worker.load_ahead("no such model")  # whose task says so
    worker._kept_model.cache_clear()
