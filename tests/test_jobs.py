"""Jobs in a child process: events come, errors are sentences, and nothing is left behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from array_slides import write_tiff
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.inference.events import Finished, Started
from napari_nh2st.jobs import JobFailed, JobProcess
from napari_nh2st.jobs.prediction import Ended, Values, load
from napari_nh2st.model import load_model
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.slide import open_slide
from napari_nh2st.widgets.predict.run import PredictionRun
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
    done = 0
    for event in predicted(jobs, slide_path, model_folder, settings=many):
        if isinstance(event, Values):
            done = event.done
            assert event.total > 1000
            jobs.stop()
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
    tiles = torch.rand(2, 3, model.config.tile_px, model.config.tile_px)
    others = prepared([1])
    expected = ARCHITECTURES[model.config.architecture].prepare(
        model.network, [1], device, torch.float32
    )
    for ours, theirs in zip(others.encode(tiles), expected.encode(tiles), strict=True):
        torch.testing.assert_close(ours, theirs)
