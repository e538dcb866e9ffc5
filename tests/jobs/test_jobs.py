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
from napari_nh2st.inference.events import Finished, Started
from napari_nh2st.jobs import Job, JobFailed, JobProcess
from napari_nh2st.jobs.messages import Run, Stop
from napari_nh2st.jobs.prediction import Ended, Values, load
from napari_nh2st.jobs.process import _Child
from napari_nh2st.model import load_model
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.slide import open_slide
from napari_nh2st.training import TrainSettings
from napari_nh2st.training.record import RunRecord
from napari_nh2st.widgets.child_jobs import StoppableJob
from napari_nh2st.widgets.predict.run import PredictionRun
from napari_nh2st.widgets.train.run import TrainingRun
from process_jobs import OnlyHere
from small_models import small_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(), folder)
    return folder


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    return write_tiff(tmp_path_factory.mktemp("slides") / "section.tif", pixels)


@pytest.fixture(scope="module")
def jobs() -> Iterator[JobProcess]:
    jobs = JobProcess()
    yield jobs
    jobs.close()


def predicted(jobs: JobProcess, slide: Path, model: Path, **given: object) -> Iterator[object]:
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
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobProcess]:
    """Knows the jobs of :mod:`process_jobs`, and none that needs torch."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    jobs = JobProcess(("process_jobs",))
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
    jobs: JobProcess, slide_path: Path, model_folder: Path
) -> None:
    values: np.ndarray | None = None
    for event in predicted(jobs, slide_path, model_folder):
        match event:
            case Started():
                values = np.array(event.prediction.X)
            case Values():
                assert values is not None
                values[event.tiles] = event.values
            case Ended():
                status = event.status
    with open_slide(slide_path, mpp=1.0) as slide:
        expected = predict(slide, load_model(model_folder), PredictSettings(pitch_um=64))
    np.testing.assert_allclose(values, expected.X, rtol=1e-4, atol=1e-5)
    assert set(status) == {"predicted"}


def test_what_was_kept_is_not_computed_again_even_after_the_process_has_ended(
    jobs: JobProcess, slide_path: Path, model_folder: Path, tmp_path: Path
) -> None:
    list(predicted(jobs, slide_path, model_folder, kept=tmp_path))
    another = JobProcess()
    # Another region of the same slide: its tiles are there already.
    region = PredictSettings(pitch_um=64, region=[[(100, 120), (100, 400), (400, 400), (400, 120)]])
    events = list(predicted(another, slide_path, model_folder, kept=tmp_path, settings=region))
    another.close()
    started = next(event for event in events if isinstance(event, Started))
    assert started.done == started.total > 0
    assert np.isfinite(started.prediction.X).all()
    assert not any(isinstance(event, Values) for event in events)


def test_a_wrong_input_is_the_same_sentence_as_without_a_child(
    jobs: JobProcess, slide_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="There is no model no-such-model"):
        list(predicted(jobs, slide_path, Path("no-such-model")))
    with pytest.raises(InputError, match=r"missing\.tif"):
        list(predicted(jobs, tmp_path / "missing.tif", Path("her2-breast-demo")))
    assert jobs.is_alive, "it stays ready for the next job"


def test_a_job_that_is_stopped_ends_and_the_next_one_runs(
    jobs: JobProcess, slide_path: Path, model_folder: Path
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
    jobs: JobProcess, slide_path: Path, model_folder: Path
) -> None:
    settings = PredictSettings(order="coarse-to-fine", pitch_um=64)
    jobs.start()
    process = jobs._process
    for _ in range(2):
        with open_slide(slide_path, mpp=1.0) as slide:
            run = PredictionRun(jobs, slide, str(model_folder), settings, None, None)
            events = list(run.events())
        assert isinstance(events[-1], Finished)
        assert jobs._process is process
        assert jobs.is_alive, "loading torch and the model again would take seconds"


def test_a_killed_child_is_a_sentence_and_the_next_job_starts_another(
    jobs: JobProcess, slide_path: Path, model_folder: Path
) -> None:
    events = predicted(jobs, slide_path, model_folder)
    next(events)
    assert jobs._process is not None
    psutil.Process(jobs._process.pid).kill()
    with pytest.raises(JobFailed, match="was ended by signal 9; is there enough memory"):
        list(events)
    assert any(isinstance(e, Ended) for e in predicted(jobs, slide_path, model_folder))


def test_the_end_of_the_parent_is_the_end_of_the_child() -> None:
    # The parent ends without a word, as it does in a crash.
    code = (
        "import os, sys\n"
        "from napari_nh2st.jobs import JobProcess\n"
        "jobs = JobProcess(); jobs.start()\n"
        "sys.stdout.write(str(jobs._process.pid)); sys.stdout.flush(); os._exit(1)"
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
        return model.architecture.prepare(model.network, genes, device, torch.float32)

    first = prepared([0, 2])
    assert prepared([0, 2]) is first
    shape = (2, model.config.tile_px, model.config.tile_px, 3)
    tiles = torch.randint(256, shape, dtype=torch.uint8)
    others = prepared([1])
    expected = ARCHITECTURES[model.config.architecture].prepare(
        model.network, [1], device, torch.float32
    )
    for ours, theirs in zip(others.encode(tiles), expected.encode(tiles), strict=True):
        torch.testing.assert_close(ours, theirs)


# Whose turn it is, and who is meant


def test_jobs_take_turns_and_each_gets_its_own_events(told: JobProcess) -> None:
    jobs = [told.job("echo", first=f"job {number}") for number in range(20)]
    running = [in_thread(job) for job in jobs]
    for job in jobs:
        job.tell("end")
    for number, (thread, events) in enumerate(running):
        thread.join(30)
        assert events == [f"job {number}"]
    assert told.is_alive


def test_what_is_asked_of_a_job_that_waits_reaches_that_one(told: JobProcess) -> None:
    first, second = told.job("echo", first="a"), told.job("echo", first="b")
    events = first.events()
    assert next(events) == "a"
    thread, others = in_thread(second)
    second.tell("end")
    first.tell("and on")
    assert next(events) == "a and on"
    first.tell("end")
    assert list(events) == []
    thread.join(30)
    assert others == ["b"]


@pytest.mark.parametrize("end", [Job.stop, Job.kill])
def test_a_job_that_waits_ends_at_once_and_the_other_runs_on(
    told: JobProcess, end: Callable[[Job], None]
) -> None:
    first, second = told.job("echo", first="a"), told.job("echo", first="b")
    events = first.events()
    next(events)
    thread, others = in_thread(second)
    end(second)
    thread.join(30)
    assert not thread.is_alive()
    assert others == []
    first.tell("x")
    assert next(events) == "a x"
    first.tell("end")
    assert list(events) == []


def test_a_job_stopped_before_it_was_begun_never_begins(told: JobProcess) -> None:
    job = told.job("echo", first="a")
    job.tell("end")
    job.stop()
    assert list(job.events()) == []
    assert not told.is_alive, "nothing was to be done"


def test_a_stop_while_the_job_is_sent_follows_it(
    told: JobProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = told.job("echo", first="a")
    write = _Child.write
    sent: list[bytes] = []

    def stop_first(child: _Child, data: bytes) -> None:
        if not sent:
            job.stop()
        sent.append(data)
        write(child, data)

    monkeypatch.setattr(_Child, "write", stop_first)
    events = job.events()
    assert next(events) == "a"
    job.tell("wake up")  # if the stop came after it looked
    assert list(events)[-1] == "a stopped"
    assert isinstance(pickle.loads(sent[0]), Run)
    assert isinstance(pickle.loads(sent[1]), Stop)


def test_a_stop_after_its_job_has_ended_stops_no_other(told: JobProcess) -> None:
    former = told.job("echo", first="a")
    former.tell("end")
    assert list(former.events()) == ["a"]
    job = told.job("echo", first="b")
    events = job.events()
    next(events)
    former.stop()
    job.tell("x")
    assert next(events) == "b x"
    job.tell("end")
    assert list(events) == []


def test_events_that_nobody_takes_any_more_leave_the_turn_to_the_next(told: JobProcess) -> None:
    events = told.job("echo", first="a").events()
    next(events)
    events.close()
    job = told.job("echo", first="b")
    job.tell("end")
    assert list(job.events()) == ["b"]


def test_closing_ends_the_job_that_runs_and_those_that_wait(told: JobProcess) -> None:
    events = told.job("echo", first="a").events()
    next(events)
    thread, others = in_thread(told.job("echo", first="b"))
    told.close(patience_s=0.1)
    assert set(events) <= {"a stopped"}, "where it still looked"
    thread.join(30)
    assert others == []


# A process that does not answer


@pytest.fixture
def suspended(told: JobProcess) -> Iterator[tuple[StoppableJob, threading.Thread]]:
    """A job under way, and the thread that waits for its events; its process was suspended."""
    job = StoppableJob(told.job("echo", first="a"), patience_s=0.1)
    job.is_loading = False
    begun = threading.Event()

    def wait() -> None:
        with contextlib.suppress(JobFailed):  # where the test itself ended it
            for _ in job.told():
                begun.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(30)
    assert told._process is not None
    psutil.Process(told._process.pid).suspend()
    yield job, thread
    job.abort()
    thread.join(30)


def test_a_stop_ends_a_process_that_does_not_answer_and_the_next_job_runs(
    told: JobProcess, suspended: tuple[StoppableJob, threading.Thread]
) -> None:
    job, thread = suspended
    job.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert job.is_aborted
    following = told.job("echo", first="b")
    following.tell("end")
    assert list(following.events()) == ["b"]


def test_who_tells_a_process_that_does_not_answer_does_not_wait_for_it(
    suspended: tuple[StoppableJob, threading.Thread],
) -> None:
    job, _ = suspended

    def tell() -> None:
        for _ in range(20):  # more than a pipe holds
            job.tell("x" * 100_000)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


def test_a_viewer_that_closes_ends_a_process_that_does_not_answer(
    told: JobProcess, suspended: tuple[StoppableJob, threading.Thread]
) -> None:
    _, thread = suspended
    assert told._process is not None
    child = psutil.Process(told._process.pid)
    told.close(patience_s=0.1)
    child.wait(30)
    thread.join(30)
    assert not thread.is_alive()


def test_a_job_that_stops_in_time_is_not_ended_by_force(told: JobProcess) -> None:
    job = StoppableJob(told.job("echo", first="a"), patience_s=60)
    job.is_loading = False
    events = job.told()
    next(events)
    job.stop()
    job.tell("wake up")  # if the stop came after it looked
    assert list(events)[-1] == "a stopped"
    assert told.is_alive
    assert job._patience is not None
    assert job._patience.finished.is_set()


# What cannot be told


def test_an_event_that_cannot_be_sent_is_a_failure_and_the_next_job_runs(
    told: JobProcess, caplog: pytest.LogCaptureFixture
) -> None:
    events = told.run("unpicklable")
    assert next(events) == "before"
    with caplog.at_level(logging.ERROR), pytest.raises(JobFailed, match="lambda"):
        next(events)
    assert "Traceback" in caplog.text, "for whoever reports it"
    assert told.is_alive
    job = told.job("echo", first="b")
    job.tell("end")
    assert list(job.events()) == ["b"]


def test_arguments_that_the_child_cannot_read_are_a_failure(told: JobProcess) -> None:
    with pytest.raises(JobFailed, match="ended with code 1: RuntimeError: not in this process"):
        list(told.run("echo", first=OnlyHere()))
    job = told.job("echo", first="b")
    job.tell("end")
    assert list(job.events()) == ["b"]


@pytest.mark.parametrize("closed", [False, True])
def test_a_process_that_has_ended_leaves_no_file_open(told: JobProcess, closed: bool) -> None:
    job = told.job("echo", first="a")
    events = job.events()
    next(events)
    former = told._process
    assert former is not None
    if closed:
        told.close()
        assert set(events) <= {"a stopped"}, "where it still looked"
        former.process.wait(30)
        told._see_it_end(former, 0)  # as its thread does
    else:
        job.kill()
        with pytest.raises(JobFailed):
            next(events)
        told.start()
        assert told._process is not former
    former.writer.join(30)
    files = former.process.stdin, former.process.stdout, former._errors
    assert all(file is not None and file.closed for file in files)


def test_a_training_stopped_before_it_begins_never_begins(tmp_path: Path) -> None:
    jobs = LocalJobs()
    run = TrainingRun(jobs, RunRecord((), TrainSettings(), "mine", (), False), tmp_path / "mine")
    run.stop()
    assert list(run.events()) == []
    assert jobs.runs == []
    assert jobs.closed, "its process gives the memory back"
