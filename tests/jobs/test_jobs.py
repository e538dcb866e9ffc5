"""Jobs in a child process: events come, errors are sentences, and nothing is left behind."""

import contextlib
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from array_slides import write_tiff
from local_jobs import LocalJobs
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.inference.events import Finished
from napari_nh2st.jobs import Job, JobFailed, JobPool
from napari_nh2st.jobs.child_process import ChildProcess
from napari_nh2st.jobs.messages import Run, Stop
from napari_nh2st.jobs.prediction import Begun, Ended, Values, load
from napari_nh2st.jobs.prediction_run import PredictionRun
from napari_nh2st.jobs.stoppable import StoppableJob
from napari_nh2st.jobs.training_run import TrainingRun
from napari_nh2st.model import load_model
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.slide import open_slide
from napari_nh2st.training import TrainSettings
from napari_nh2st.training.record import RunRecord
from process_jobs import OnlyHere


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    return write_tiff(tmp_path_factory.mktemp("slides") / "section.tif", pixels)


@pytest.fixture(scope="module")
def jobs() -> Iterator[JobPool]:
    jobs = JobPool()
    yield jobs
    jobs.close()


def predicted(jobs: JobPool, slide: Path, model: Path, **given: object) -> Iterator[object]:
    arguments = {
        "slide": slide,
        "mpp": (1.0, 1.0),
        "model": str(model),
        "settings": PredictSettings(order="coarse-to-fine", pitch_um=64),
        "look_at": None,
        "kept": None,
    }
    return jobs.run("predict", **(arguments | given))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobPool]:
    """Knows the jobs of :mod:`process_jobs`, and none that needs torch."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    jobs = JobPool(("process_jobs",))
    yield jobs
    jobs.close()


def in_thread(job: Job) -> tuple[threading.Thread, list[object]]:
    """Run a job beside this thread; its events, and what it raised, come into the list."""
    events: list[object] = []

    def work() -> None:
        try:
            events.extend(job.events())
        except Exception as error:
            events.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, events


def test_a_child_predicts_what_the_same_process_would(
    jobs: JobPool, slide_path: Path, model_folder: Path
) -> None:
    values: np.ndarray | None = None
    for event in predicted(jobs, slide_path, model_folder):
        match event:
            case Begun(started):
                assert started.prediction.X is None, "they would all be NaN"
                values = np.full(started.prediction.shape, np.nan, np.float32)
                assert not len(event.tiles)
            case Values():
                assert values is not None
                values[event.tiles] = event.rows
            case Ended():
                status = event.status
    with open_slide(slide_path, mpp=1.0) as slide:
        expected = predict(slide, load_model(model_folder), PredictSettings(pitch_um=64))
    np.testing.assert_allclose(values, expected.X, rtol=1e-4, atol=1e-5)
    assert set(status) == {"predicted"}


def test_what_was_kept_is_not_computed_again_even_after_the_process_has_ended(
    jobs: JobPool, slide_path: Path, model_folder: Path, tmp_path: Path
) -> None:
    list(predicted(jobs, slide_path, model_folder, kept=tmp_path))
    another = JobPool()
    # Another region of the same slide: its tiles are there already.
    region = PredictSettings(pitch_um=64, region=[[(100, 120), (100, 400), (400, 400), (400, 120)]])
    events = list(predicted(another, slide_path, model_folder, kept=tmp_path, settings=region))
    another.close()
    begun = next(event for event in events if isinstance(event, Begun))
    assert begun.started.done == begun.started.total > 0
    assert begun.tiles.tolist() == list(range(begun.started.prediction.n_obs))
    assert np.isfinite(begun.rows).all()
    assert not any(isinstance(event, Values) for event in events)


def test_a_wrong_input_is_the_same_sentence_as_without_a_child(
    jobs: JobPool, slide_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="There is no model no-such-model"):
        list(predicted(jobs, slide_path, Path("no-such-model")))
    with pytest.raises(InputError, match=r"missing\.tif"):
        list(predicted(jobs, tmp_path / "missing.tif", Path("her2-breast-demo")))
    assert jobs.processes, "it stays ready for the next job"


def test_a_job_that_is_stopped_ends_and_the_next_one_runs(
    jobs: JobPool, slide_path: Path, model_folder: Path
) -> None:
    many = PredictSettings(order="coarse-to-fine", pitch_um=4)
    job = jobs.job(
        "predict", slide=slide_path, mpp=(1.0, 1.0), model=str(model_folder), settings=many,
        look_at=None, kept=None,
    )  # fmt: skip
    done = 0
    for event in job.events():
        if isinstance(event, Values):
            done = event.done
            assert event.total > 1000
            job.stop()
    assert 0 < done < 1000
    assert any(isinstance(e, Ended) for e in predicted(jobs, slide_path, model_folder))


def test_runs_of_a_widget_share_one_process(
    jobs: JobPool, slide_path: Path, model_folder: Path
) -> None:
    settings = PredictSettings(order="coarse-to-fine", pitch_um=64)
    jobs.start()
    (process,) = jobs.processes
    for _ in range(2):
        with open_slide(slide_path, mpp=1.0) as slide:
            run = PredictionRun(jobs, slide, str(model_folder), settings, None, None)
            events = list(run.events())
        assert isinstance(events[-1], Finished)
        assert jobs.processes == [process], "loading torch and the model again would take seconds"


def test_a_killed_child_is_a_sentence_and_the_next_job_starts_another(
    jobs: JobPool, slide_path: Path, model_folder: Path
) -> None:
    events = predicted(jobs, slide_path, model_folder)
    next(events)
    (process,) = jobs.processes
    psutil.Process(process.pid).kill()
    with pytest.raises(JobFailed, match="was killed by signal 9; is there enough memory"):
        list(events)
    assert any(isinstance(e, Ended) for e in predicted(jobs, slide_path, model_folder))


def test_the_end_of_the_parent_is_the_end_of_the_child() -> None:
    # The parent ends without a word, as it does in a crash.
    code = (
        "import os, sys\n"
        "from napari_nh2st.jobs import JobPool\n"
        "jobs = JobPool(); jobs.start()\n"
        "sys.stdout.write(str(jobs.processes[0].pid)); sys.stdout.flush(); os._exit(1)"
    )
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    try:
        child = psutil.Process(int(run.stdout))
    except psutil.NoSuchProcess:
        return
    child.wait(timeout=30)


def test_the_viewers_side_never_imports_torch() -> None:
    code = (
        "import sys, napari_nh2st.jobs, napari_nh2st.jobs.prediction, napari_nh2st.inference;"
        "from napari_nh2st import PredictSettings, TrainSettings; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_kept_model_is_prepared_once_for_the_same_genes(model_folder: Path) -> None:
    model = load(str(model_folder))
    assert load(str(model_folder)) is model
    device = torch.device("cpu")

    def prepared(genes: list[int]) -> object:
        return model.architecture.prepare(model.network, genes, device, torch.float32, None)

    first = prepared([0, 2])
    assert prepared([0, 2]) is first
    shape = (2, model.config.tile_px, model.config.tile_px, 3)
    tiles = torch.randint(256, shape, dtype=torch.uint8)
    others = prepared([1])
    expected = ARCHITECTURES[model.config.architecture].prepare(
        model.network, [1], device, torch.float32, None
    )
    for ours, theirs in zip(others.encode(tiles), expected.encode(tiles), strict=True):
        torch.testing.assert_close(ours, theirs)


# Several jobs at once, and which of them is meant


def test_jobs_wait_for_no_other_and_each_gets_its_own_events(pool: JobPool) -> None:
    jobs = [pool.job("echo", first=f"job {number}") for number in range(3)]
    running = [job.events() for job in jobs]
    assert [next(events) for events in running] == ["job 0", "job 1", "job 2"]
    *others, last = pool.processes
    assert len(others) == 2
    for job in jobs:
        job.send("end")
    for events in running:
        assert list(events) == []
    assert pool.processes == [last], "its model is loaded"
    for process in others:
        process.process.wait(30)


def test_jobs_in_threads_each_get_their_own_events(pool: JobPool) -> None:
    jobs = [pool.job("echo", first=f"job {number}") for number in range(5)]
    running = [in_thread(job) for job in jobs]
    for job in jobs:
        job.send("end")
    for number, (thread, events) in enumerate(running):
        thread.join(60)
        assert events == [f"job {number}"]
    assert len(pool.processes) == 1


def test_what_is_sent_to_a_job_reaches_that_one(pool: JobPool) -> None:
    first, second = pool.job("echo", first="a"), pool.job("echo", first="b")
    events = first.events()
    assert next(events) == "a"
    thread, others = in_thread(second)
    second.send("end")
    first.send("and on")
    assert next(events) == "a and on"
    first.send("end")
    assert list(events) == []
    thread.join(30)
    assert others == ["b"]


@pytest.mark.parametrize("end", [Job.stop, Job.kill, Job.close])
def test_a_job_that_ends_leaves_another_alone(pool: JobPool, end: Callable[[Job], None]) -> None:
    first, second = pool.job("echo", first="a"), pool.job("echo", first="b")
    events, others = first.events(), second.events()
    next(events)
    next(others)
    second.send("x")
    end(second)
    with contextlib.suppress(JobFailed):  # killed
        assert set(others) <= {"b x", "b stopped"}
    first.send("x")
    assert next(events) == "a x"
    first.send("end")
    assert list(events) == []


@pytest.mark.parametrize("end", [Job.stop, Job.kill, Job.close])
def test_a_job_ended_before_it_was_begun_never_begins(
    pool: JobPool, end: Callable[[Job], None]
) -> None:
    job = pool.job("echo", first="a")
    end(job)
    assert list(job.events()) == []
    assert pool.processes == []


def test_the_process_of_a_last_job_ends_with_it_and_another_one_is_started(pool: JobPool) -> None:
    job = pool.job("echo", first="a")
    job.is_last = True
    events = job.events()
    next(events)
    (process,) = pool.processes
    job.send("end")
    assert list(events) == []
    process.process.wait(30)
    pool.start()
    (other,) = pool.processes
    assert other is not process


def test_a_job_that_is_closed_tells_what_it_stores_and_its_process_ends(pool: JobPool) -> None:
    job = pool.job("echo", first="a")
    events = job.events()
    next(events)
    (process,) = pool.processes
    job.send("x")
    job.close()
    assert set(events) <= {"a x", "a stopped"}, "where it still looked"
    process.process.wait(30)
    assert pool.processes == []


def test_a_job_stopped_before_it_was_begun_never_begins(pool: JobPool) -> None:
    job = pool.job("echo", first="a")
    job.send("end")
    job.stop()
    assert list(job.events()) == []
    assert pool.processes == [], "nothing was to be done"


def test_a_stop_while_the_job_is_sent_follows_it(
    pool: JobPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = pool.job("echo", first="a")
    write = ChildProcess.write
    sent: list[bytes] = []

    def stop_first(child: ChildProcess, data: bytes) -> None:
        if not sent:
            job.stop()
        sent.append(data)
        write(child, data)

    monkeypatch.setattr(ChildProcess, "write", stop_first)
    events = job.events()
    assert next(events) == "a"
    job.send("wake up")  # if the stop came after it looked
    assert list(events)[-1] == "a stopped"
    assert isinstance(pickle.loads(sent[0]), Run)
    assert isinstance(pickle.loads(sent[1]), Stop)


def test_a_stop_after_its_job_has_ended_stops_no_other(pool: JobPool) -> None:
    former = pool.job("echo", first="a")
    former.send("end")
    assert list(former.events()) == ["a"]
    job = pool.job("echo", first="b")
    events = job.events()
    next(events)
    former.stop()
    job.send("x")
    assert next(events) == "b x"
    job.send("end")
    assert list(events) == []


def test_events_that_nobody_takes_any_more_leave_the_next_job_alone(pool: JobPool) -> None:
    events = pool.job("echo", first="a").events()
    next(events)
    events.close()
    job = pool.job("echo", first="b")
    job.send("end")
    assert list(job.events()) == ["b"]


def test_closing_ends_all_jobs_and_starts_no_other(pool: JobPool) -> None:
    events = pool.job("echo", first="a").events()
    next(events)
    thread, others = in_thread(pool.job("echo", first="b"))
    pool.close(patience_s=0.1)
    assert set(events) <= {"a stopped"}, "where it still looked"
    thread.join(30)
    assert set(others) <= {"b", "b stopped"}
    assert list(pool.job("echo", first="c").events()) == []
    assert pool.processes == []


# A process that does not answer


@pytest.fixture
def suspended(pool: JobPool) -> Iterator[tuple[StoppableJob, threading.Thread]]:
    """A job under way, and the thread that waits for its events; its process was suspended."""
    job = StoppableJob(pool.job("echo", first="a"), patience_s=0.1)
    job.is_loading = False
    begun = threading.Event()

    def wait() -> None:
        with contextlib.suppress(JobFailed):  # where the test itself ended it
            for _ in job.job_events():
                begun.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(30)
    psutil.Process(pool.processes[0].pid).suspend()
    yield job, thread
    job.abort()
    thread.join(30)


def test_a_stop_ends_a_process_that_does_not_answer_and_the_next_job_runs(
    pool: JobPool, suspended: tuple[StoppableJob, threading.Thread]
) -> None:
    job, thread = suspended
    job.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert job.is_aborted
    following = pool.job("echo", first="b")
    following.send("end")
    assert list(following.events()) == ["b"]


def test_who_sends_to_a_process_that_does_not_answer_does_not_wait_for_it(
    suspended: tuple[StoppableJob, threading.Thread],
) -> None:
    job, _ = suspended

    def send() -> None:
        for _ in range(20):  # more than a pipe holds
            job.send("x" * 100_000)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_a_viewer_that_closes_ends_a_process_that_does_not_answer(
    pool: JobPool, suspended: tuple[StoppableJob, threading.Thread]
) -> None:
    _, thread = suspended
    child = psutil.Process(pool.processes[0].pid)
    pool.close(patience_s=0.1)
    child.wait(30)
    thread.join(30)
    assert not thread.is_alive()


def test_a_job_that_stops_in_time_is_not_ended_by_force(pool: JobPool) -> None:
    job = StoppableJob(pool.job("echo", first="a"), patience_s=60)
    job.is_loading = False
    events = job.job_events()
    next(events)
    job.stop()
    job.send("wake up")  # if the stop came after it looked
    assert list(events)[-1] == "a stopped"
    assert pool.processes
    assert job._patience is not None
    assert job._patience.finished.is_set()


# What cannot be pool


def test_an_event_that_cannot_be_sent_is_a_failure_and_the_next_job_runs(
    pool: JobPool, caplog: pytest.LogCaptureFixture
) -> None:
    events = pool.run("unpicklable")
    assert next(events) == "before"
    with caplog.at_level(logging.ERROR), pytest.raises(JobFailed, match="lambda"):
        next(events)
    assert "Traceback" in caplog.text, "for whoever reports it"
    assert pool.processes
    job = pool.job("echo", first="b")
    job.send("end")
    assert list(job.events()) == ["b"]


def test_arguments_that_the_child_cannot_read_are_a_failure(pool: JobPool) -> None:
    with pytest.raises(JobFailed, match="ended with code 1: RuntimeError: not in this process"):
        list(pool.run("echo", first=OnlyHere()))
    job = pool.job("echo", first="b")
    job.send("end")
    assert list(job.events()) == ["b"]


@pytest.mark.parametrize("closed", [False, True])
def test_a_process_that_has_ended_leaves_no_file_open(pool: JobPool, closed: bool) -> None:
    job = pool.job("echo", first="a")
    events = job.events()
    next(events)
    (former,) = pool.processes
    if closed:
        pool.close()
        assert set(events) <= {"a stopped"}, "where it still looked"
        former.process.wait(30)
        pool._wait(former, 0)  # as its thread does
    else:
        job.kill()
        with pytest.raises(JobFailed):
            next(events)
        pool.start()
        assert pool.processes != [former]
    former.writer.join(30)
    files = former.process.stdin, former.process.stdout, former._errors
    assert all(file is not None and file.closed for file in files)


def test_a_training_stopped_before_it_begins_never_begins(tmp_path: Path) -> None:
    jobs = LocalJobs()
    run = TrainingRun(jobs, RunRecord((), TrainSettings(), "mine", (), False), tmp_path / "mine")
    run.stop()
    assert list(run.events()) == []
    assert jobs.runs == []
    assert run._job.is_last, "its process gives the memory back"
