"""The job *train*: what it tells, what it leaves in its folder, how it ends."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local_jobs import LocalJobs
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import evaluate, evaluation_folder
from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.jobs.training import Reading, Trained
from napari_nh2st.model import load_model, read_config
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.spots import PanelSettings, Section
from napari_nh2st.training import (
    EpochDone,
    StepDone,
    TrainSettings,
    TrainStarted,
    load_study,
)
from napari_nh2st.training.record import RunRecord, is_unfinished, read_record
from small_configs import PANEL
from small_models import small_model
from train_studies import drawn_study, start_model

TWO_EPOCHS = TrainSettings(epochs=2, batch_size=20, validation="none", device="cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return start_model(tmp_path_factory.mktemp("models") / "start")


@pytest.fixture(scope="module", autouse=True)
def no_drawing() -> Iterator[None]:
    """Figures take most of an evaluation's time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_maps", "save_gene_pcc", "save_density_figure"):
            patch.setattr(evaluation_folder, name, lambda *_: None)
        yield


def running(jobs: LocalJobs, folder: Path, **of_record: Any) -> Iterator[Any]:
    return jobs.run("train", record=RunRecord(**of_record), folder=folder)


def told(jobs: LocalJobs, **arguments: Any) -> list[Any]:
    return list(running(jobs, **arguments))


def of_kind(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_training_tells_its_course_and_is_scored_before_and_after(
    study: tuple[Section, ...], start: str, tmp_path: Path
) -> None:
    settings = replace(TWO_EPOCHS, start=start, encoder="frozen")
    folder = tmp_path / "run"
    events = told(
        LocalJobs(), sections=study, settings=settings, folder=folder, name="mine", held_out=("S2",)
    )
    assert [event.section for event in of_kind(events, Reading)] == ["S0", "S1", "S2"]
    (started,) = of_kind(events, TrainStarted)
    assert (started.training, started.validation) == (("S0", "S1"), ())
    assert [event.epoch for event in of_kind(events, EpochDone)] == [1, 2]
    (trained,) = of_kind(events, Trained)
    assert (trained.folder, trained.best_epoch, trained.ended) == (
        folder / "model",
        2,
        "all epochs",
    )
    assert read_record(folder) == RunRecord(study, settings, "mine", ("S2",))
    # What is told is what an evaluation of the two models finds.
    test = load_study(study[2:])
    for scores, model in zip(of_kind(events, HeldOut), (start, str(trained.folder)), strict=True):
        expected = evaluate(load_model(model), test, device="cpu").scores
        np.testing.assert_allclose(scores.scores["pcc"], expected["pcc"], atol=1e-6)
    config = read_config(trained.folder)
    after = of_kind(events, HeldOut)[1]
    assert config.name == "mine"
    assert config.training["sections"] == ["S0", "S1"]
    assert config.reliability is not None
    np.testing.assert_allclose(
        [config.reliability[gene] for gene in PANEL], after.scores["pcc"], atol=1e-4
    )
    assert {path.name for path in folder.iterdir()} >= {"model", "test", "test-before", "run.json"}
    assert {(s.when, s.section) for s in of_kind(events, Scoring)} == {
        ("before", "S2"),
        ("after", "S2"),
    }


def test_a_stopped_training_keeps_the_best_and_goes_on_later(
    study: tuple[Section, ...], start: str, tmp_path: Path
) -> None:
    settings = replace(TWO_EPOCHS, start=start, encoder="frozen", epochs=3)
    arguments: dict[str, Any] = {
        "sections": study,
        "settings": settings,
        "folder": tmp_path / "run",
        "name": None,
        "held_out": ("S2",),
    }
    jobs = LocalJobs()
    events = []
    for event in running(jobs, **arguments):
        events.append(event)
        if isinstance(event, EpochDone):
            jobs.stop()
    assert of_kind(events, Trained)[0].ended == "stopped"
    assert [scores.when for scores in of_kind(events, HeldOut)] == ["before", "after"]
    assert is_unfinished(tmp_path / "run")
    assert not (tmp_path / "run" / "test").exists()
    again = told(LocalJobs(), **arguments)
    assert [event.epoch for event in of_kind(again, EpochDone)] == [2, 3]
    assert of_kind(again, TrainStarted)[0].epoch == 1
    assert not is_unfinished(tmp_path / "run")
    assert (tmp_path / "run" / "test").is_dir()


def test_asked_to_stop_while_it_reads_it_leaves_nothing(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    jobs = LocalJobs()
    events = []
    for event in running(jobs, tmp_path / "run", sections=study, settings=TWO_EPOCHS):
        events.append(event)
        jobs.stop()
    assert len(events) == 1
    assert not (tmp_path / "run").exists()


def test_a_test_that_was_killed_is_done_without_training_again(
    study: tuple[Section, ...], start: str, tmp_path: Path
) -> None:
    settings = replace(TWO_EPOCHS, start=start, encoder="frozen")
    folder = tmp_path / "run"
    told(LocalJobs(), sections=study[:2], settings=settings, folder=folder, name=None)
    weights = (folder / "model" / "model.safetensors").read_bytes()
    events = told(
        LocalJobs(), sections=study, settings=settings, folder=folder, name=None, held_out=("S2",)
    )
    assert of_kind(events, Trained)[0].ended == "in an earlier run"
    assert of_kind(events, StepDone) == []
    assert [scores.when for scores in of_kind(events, HeldOut)] == ["before", "after"]
    assert (folder / "model" / "model.safetensors").read_bytes() == weights


def test_genes_that_the_start_model_does_not_know_have_no_score_from_before(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    model = small_model(panel=(*PANEL[:4], "KRT8"), mpp=6.25, pitch_um=200.0)
    save_model_folder(model, tmp_path / "start")
    settings = replace(
        TWO_EPOCHS, epochs=1, start=str(tmp_path / "start"), panel=PanelSettings(n_genes=5)
    )
    events = told(
        LocalJobs(),
        sections=study,
        settings=settings,
        folder=tmp_path / "run",
        name=None,
        held_out=("S2",),
    )
    before, after = of_kind(events, HeldOut)
    assert before.notices[0] == (
        "The start model small knows 4 of the panel's 5 genes: only these were scored before the "
        "training."
    )
    found = evaluate(model, load_study(study[2:]), device="cpu").scores.set_index("gene")["pcc"]
    scores = before.scores.set_index("gene")
    assert set(scores.index) == set(PANEL)
    assert list(scores.index) == list(after.scores["gene"])
    np.testing.assert_allclose(scores.loc[list(PANEL[:4]), "pcc"], found[list(PANEL[:4])])
    assert scores.loc[PANEL[4]].isna().all()
    assert scores["mse"].isna().all()  # of targets that are scaled to the sum of other genes
    assert before.summary["n_genes"] == 4
    assert before.summary["mean_pcc"] == pytest.approx(found[list(PANEL[:4])].mean())


def test_a_start_model_of_other_genes_alone_is_told_of(
    study: tuple[Section, ...], tmp_path: Path
) -> None:
    save_model_folder(small_model(panel=tuple("ABCDE"), mpp=6.25), tmp_path / "start")
    settings = replace(
        TWO_EPOCHS, epochs=1, start=str(tmp_path / "start"), panel=PanelSettings(n_genes=5)
    )
    events = told(
        LocalJobs(),
        sections=study,
        settings=settings,
        folder=tmp_path / "run",
        name=None,
        held_out=("S2",),
    )
    (notice,) = of_kind(events, Notice)
    assert "knows none of the panel's 5 genes" in notice.text
    assert [scores.when for scores in of_kind(events, HeldOut)] == ["after"]


@pytest.mark.parametrize(
    ("changed", "held_out", "said"),
    [
        ({}, ("S0", "S1", "S2"), "No section is left to train on"),
        ({"validation": "section"}, ("S1", "S2"), "only one section"),
        ({"device": "abacus"}, (), "'abacus' does not exist"),
        ({"encoder_weights": "/gone.pt"}, (), "no file /gone.pt"),
        ({"start": "knowing"}, ("S2",), "was trained on S2"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_read(
    study: tuple[Section, ...],
    tmp_path: Path,
    changed: dict[str, Any],
    held_out: tuple[str, ...],
    said: str,
) -> None:
    if "start" in changed:
        training = {"trained": True, "summary": "For a test.", "sections": ["S2"]}
        save_model_folder(small_model(training=training), tmp_path / "knowing")
        changed = {"start": str(tmp_path / "knowing")}
    events = running(
        LocalJobs(),
        tmp_path / "run",
        sections=study,
        settings=replace(TWO_EPOCHS, **changed),
        held_out=held_out,
    )
    with pytest.raises(InputError, match=said):
        next(events)


def test_what_the_viewer_imports_of_it_needs_no_torch() -> None:
    code = (
        "import sys, napari_nh2st.widgets.train.widget\n"
        "print([name for name in ('torch', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.strip() == "[]"
