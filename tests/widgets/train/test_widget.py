"""The Train widget: what reaches the job, what it shows of it, and how a run ends."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QDockWidget

from local_jobs import LocalJobs
from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.jobs import JobFailed, JobPool
from napari_nh2st.jobs.training import Reading, Trained
from napari_nh2st.jobs.training_report import how_it_ended, validation_summary
from napari_nh2st.jobs.training_run import TrainingRun
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.spots import Section
from napari_nh2st.training import EpochDone, Preparing, StepDone, TrainSettings, TrainStarted
from napari_nh2st.training.curves import curves_figure, curves_picture
from napari_nh2st.training.known_models import known_models, remember_run
from napari_nh2st.training.record import LAST, RunRecord
from napari_nh2st.training.split import section_to_spare
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.train import model_place
from napari_nh2st.widgets.train.widget import TrainWidget
from small_configs import PANEL
from small_models import small_model
from train_studies import drawn_study, start_model
from waiting import wait_until


class ToldJobs(LocalJobs):
    """Tells what it is given to tell, and remembers what was asked of it."""

    script: Sequence[Any] = ()

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        super().__init__(warm_up)
        self.warm_up = warm_up
        self.is_stopped = self.is_killed = False
        made.append(self)

    def run(self, job: str, **arguments: Any) -> Iterator[Any]:
        self.runs.append((job, arguments))
        for event in self.script:
            if isinstance(event, Exception):
                raise event
            if callable(event):
                event(self)
            else:
                yield event

    def stop(self) -> None:
        self.is_stopped = True

    def kill(self) -> None:
        self.is_killed = True


made: list[ToldJobs] = []


def until(what: str) -> Callable[[ToldJobs], None]:
    """A step of a script that lasts until the jobs are stopped, killed or closed."""
    return lambda jobs: wait_until(lambda: getattr(jobs, what), deliver=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return start_model(tmp_path_factory.mktemp("models") / "start")


@pytest.fixture
def widget(
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    messages: dict[str, list[str]],
    study: tuple[Section, ...],
    start: str,
) -> TrainWidget:
    """With a start model, three sections, the last held out, and jobs that tell nothing."""
    made.clear()
    monkeypatch.setattr(child_jobs, "new_jobs", ToldJobs)
    monkeypatch.setattr(ToldJobs, "script", ())
    monkeypatch.setattr(model_place, "models_folder", lambda: tmp_path / "models")
    widget = TrainWidget(ViewerModel())

    def wait_for_threads(widget: TrainWidget) -> None:
        finish(qtbot, widget)
        qtbot.waitUntil(lambda: widget.curves.is_idle, timeout=20_000)

    qtbot.addWidget(widget, before_close_func=wait_for_threads)
    widget.settings.start.choose(start)
    widget.sections.show(study, ("S2",), ())
    qtbot.waitUntil(lambda: not widget.sections.is_busy, timeout=20_000)
    return widget


def finish(qtbot: QtBot, widget: TrainWidget, timeout: int = 180_000) -> None:
    qtbot.waitUntil(lambda: not widget.is_running, timeout=timeout)


LOSSES = {"query_contrastive": 2.0, "neighbor_contrastive": 1.0, "mse": 0.05}


def epoch(number: int, **changed: Any) -> EpochDone:
    done = EpochDone(number, 3, 3.0, LOSSES, 1e-4, 0.1 * number, 0.04, 0.05, number, 9.0)
    return replace(done, **changed)


def scores(when: Any, pcc: Sequence[float]) -> HeldOut:
    summary = {"mean_pcc": float(np.nanmean(pcc)), "n_genes": len(pcc), "n_sections": 1}
    summary |= {"mse": 0.04, "mse_baseline": 0.05}
    table = pd.DataFrame({"gene": list("ABC"), "pcc": pcc})
    return HeldOut(when, summary, table, ())


STARTED = TrainStarted(
    ("S0", "S1"), (), ("A", "B", "C"), 60, 1000, "cpu", "float32", 0, 3, ("Hm.",)
)


def test_what_is_chosen_is_what_arrives(
    qtbot: QtBot, widget: TrainWidget, study: tuple[Section, ...], start: str, tmp_path: Path
) -> None:
    widget.settings.start.choose(start)
    widget.settings.epochs.setText("5")
    widget.settings.trust_positions.setChecked(True)
    qtbot.waitUntil(lambda: not widget.sections.is_busy, timeout=20_000)
    widget.table.model.setData(widget.table.model.index(1, 0), "validate")
    widget.place.name.setText("mine: 2")
    widget.train.click()
    finish(qtbot, widget)
    ((job, arguments),) = made[-1].runs
    assert job == "train"
    settings = TrainSettings(start=start, encoder="frozen", epochs=5, validation_sections=("S1",))
    assert arguments == {
        "record": RunRecord(study, settings, "mine: 2", ("S2",), trust_positions=True),
        "folder": tmp_path / "models" / "mine- 2",
    }
    assert widget.chosen_settings() == settings


def test_untouched_controls_mean_a_new_folder_and_its_name(
    qtbot: QtBot, widget: TrainWidget, tmp_path: Path
) -> None:
    (tmp_path / "models" / "model-1").mkdir(parents=True)
    widget.place.take_next_name()
    widget.train.click()
    finish(qtbot, widget)
    arguments = made[-1].runs[0][1]
    assert arguments["folder"] == tmp_path / "models" / "model-2"
    assert arguments["record"].name is None
    assert not arguments["record"].trust_positions


def test_a_folder_that_was_typed_gets_the_run(
    qtbot: QtBot, widget: TrainWidget, tmp_path: Path
) -> None:
    widget.place.folder.line.setText(str(tmp_path / "elsewhere"))
    widget.train.click()
    finish(qtbot, widget)
    assert made[-1].runs[0][1]["folder"] == tmp_path / "elsewhere"


def test_the_course_of_a_training_is_shown(
    qtbot: QtBot,
    widget: TrainWidget,
    messages: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = start_model(tmp_path / "trained")
    events = (
        Reading("S1", 1, 3),
        Preparing("computing feature maps", 10, 60),
        STARTED,
        scores("before", [0.1, 0.2, np.nan]),
        StepDone(2, 1, 4, 2.5, 33.0, 125.0),
        epoch(1),
        epoch(2, validation_mse=0.06),
        Notice("Oh."),
        Scoring("S2", 5, 30, "after"),
        Trained(Path(model), 2, "early", 200.0),
        scores("after", [0.3, 0.1, 0.4]),
    )
    seen: list[tuple[str, int, int]] = []

    @widget.thread_of_job.event.connect
    def remember(_event: Any) -> None:
        seen.append(
            (
                widget.status.text(),
                widget.bar.value(),
                widget.bar.maximum(),
            )
        )

    monkeypatch.setattr(ToldJobs, "script", events)
    monkeypatch.setattr(TrainingRun, "seconds", 200.0)
    widget.start()
    assert not widget.train.isEnabled()
    assert widget.stop_button.isEnabled()
    assert not widget.table.isEnabled()
    finish(qtbot, widget)
    assert seen[0] == ("Reading S1 …", 1, 3)
    assert seen[1] == ("Computing feature maps: 10 of 60", 10, 60)
    assert seen[2][0] == "60 spots of S0, S1, 3 genes, on cpu in float32"
    assert seen[4] == (
        "Epoch 2 of 3, step 1 of 4, 33 spots/s, at most 2 min 05 s left",
        1250,
        3000,
    )
    assert seen[8] == ("Scoring the new model on S2: 5 of 30 spots", 5, 30)
    assert widget.notes.text() == "• Hm.\n• Oh."
    assert messages["error"] == []
    how = "Ended early, since validation no longer improved; epoch 2 is kept. It took 3 min 20 s."
    held_out = "Mean PCC 0.150 → 0.200 over 2 genes on 1 held-out section."
    assert messages["info"] == [f"Training model-1: {how} {held_out}"]
    assert [e.epoch for e in widget.curves.epochs] == [1, 2]
    validation = (
        "On validation: PCC 0.200. MSE 0.060: worse than predicting each gene's mean (0.050)."
    )
    assert widget.status.text().splitlines() == [
        how,
        validation,
        held_out,
        f"The model is in {model}",
    ]
    assert widget.bar.isHidden()  # whatever it stood at is of no interest any more
    assert widget.scores.sentence.text() == (
        "Mean PCC over 3 genes on 1 held-out section: 0.267; over the 2 that the start model has a "
        "score for 0.150 → 0.200; 1 of 2 genes are better. "
        "MSE 0.040; predicting each gene's mean gives 0.050."
    )
    assert model in known_models()
    assert widget.train.isEnabled()
    assert made[-1].n_ended == 1


def test_scores_are_a_table_that_is_sorted_and_saved(widget: TrainWidget, tmp_path: Path) -> None:
    widget.scores.show_scores(scores("before", [0.1, 0.2, np.nan]))
    assert widget.scores.sentence.text().startswith(
        "Mean PCC over 2 genes on 1 held-out section: 0.150 before the training. MSE"
    )
    widget.scores.show_scores(scores("after", [0.3, 0.1, 0.4]))
    expected = pd.DataFrame(
        {
            "gene": ["A", "B", "C"],
            "before": [0.1, 0.2, np.nan],
            "after": [0.3, 0.1, 0.4],
            "difference": [0.2, -0.1, np.nan],
        }
    )
    pd.testing.assert_frame_equal(widget.scores.change.table, expected)
    best_first = expected.sort_values("difference", ascending=False, ignore_index=True)
    pd.testing.assert_frame_equal(widget.scores.genes.table, best_first)
    widget.scores.genes.view.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    widget.scores.genes.save_csv(tmp_path / "scores.csv")
    saved = pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(saved, expected.iloc[[2, 0, 1]].reset_index(drop=True))


def test_means_before_and_after_are_over_the_same_genes(widget: TrainWidget) -> None:
    widget.scores.show_scores(scores("before", [0.1, 0.2, np.nan]))
    widget.scores.show_scores(scores("after", [0.3, 0.1, 0.8]))
    assert widget.scores.sentence.text().startswith(
        "Mean PCC over 3 genes on 1 held-out section: 0.400; over the 2 that the start model has a "
        "score for 0.150 → 0.200; 1 of 2 genes are better."
    )
    widget.scores.show_scores(scores("after", [np.nan, 0.1, np.nan]))
    assert (
        widget.scores.change.summary()
        == "Mean PCC 0.200 → 0.100 over 1 gene on 1 held-out section."
    )
    widget.scores.show_scores(scores("after", [np.nan, np.nan, 0.8]))
    assert widget.scores.change.summary() == "Mean PCC 0.800 over 1 gene on 1 held-out section."


def test_what_is_kept_of_a_stopped_training_is_told_as_it_is() -> None:
    best = Trained(Path("m"), 2, "stopped", 9.0)
    assert how_it_ended(best, 9.0) == "Stopped; epoch 2 is kept. It took 9 s."
    unchosen = replace(best, unfinished_epoch=3)
    assert how_it_ended(unchosen, 9.0) == (
        "Stopped in epoch 3; its weights so far are kept. It took 9 s."
    )
    assert validation_summary(unchosen, [epoch(2)]) == ""


def test_without_a_start_model_there_are_no_scores_before(widget: TrainWidget) -> None:
    assert widget.scores.isHidden()
    widget.scores.show_scores(scores("after", [0.3, 0.1, 0.4]))
    assert list(widget.scores.change.table) == ["gene", "after"]
    assert "0.267. MSE" in widget.scores.sentence.text()


def test_stop_asks_and_a_second_press_ends_at_once(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = (STARTED, until("is_stopped"), until("is_killed"), JobFailed("was killed"))
    monkeypatch.setattr(ToldJobs, "script", events)
    widget.start()
    qtbot.waitUntil(lambda: widget.status.text().startswith("60 spots"), timeout=20_000)
    widget.stop_button.click()
    assert (made[-1].is_stopped, made[-1].is_killed) == (True, False)
    assert widget.stop_button.text() == "Abort"
    assert "best so far is kept" in widget.status.text()
    widget.stop_button.click()
    finish(qtbot, widget)
    assert made[-1].is_killed
    assert widget.status.text() == "Aborted before the first checkpoint."
    assert widget.stop_button.text() == "Stop"


def test_after_a_stop_the_scoring_is_seen_and_can_be_skipped(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    events = (
        *(STARTED, until("is_stopped"), Trained(Path(start), 1, "stopped", 2.0)),
        *(Scoring("S2", 5, 30, "after"), until("is_killed"), JobFailed("was killed")),
    )
    monkeypatch.setattr(ToldJobs, "script", events)
    widget.start()
    qtbot.waitUntil(lambda: widget.status.text().startswith("60 spots"), timeout=20_000)
    widget.stop_button.click()
    assert "best so far is kept" in widget.status.text()
    qtbot.waitUntil(lambda: widget.status.text().startswith("Scoring the new"), timeout=20_000)
    assert widget.stop_button.text() == "Skip"
    widget.stop_button.click()
    finish(qtbot, widget)
    how, not_scored, _where = widget.status.text().splitlines()
    assert how.startswith("Stopped; epoch 1 is kept.")
    assert not_scored.startswith("The held-out sections were not scored")
    assert not widget.predict.isHidden()


def test_stop_while_it_loads_ends_at_once(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToldJobs, "script", (until("is_killed"), JobFailed("was killed")))
    widget.start()
    qtbot.waitUntil(lambda: bool(made[-1].runs), timeout=20_000)
    widget.stop_button.click()
    finish(qtbot, widget)
    assert (made[-1].is_stopped, made[-1].is_killed) == (False, True)
    assert widget.status.text() == "Stopped before the first step."


def test_the_process_is_warm_when_the_dock_is_seen(qtbot: QtBot, widget: TrainWidget) -> None:
    assert made == []
    widget.show()
    (jobs,) = made
    assert widget.idle_jobs() is jobs  # devices are asked for in the same one
    assert "napari_nh2st.inference.engine" in jobs.warm_up, "it loads torch"
    before = jobs.n_started
    widget.train.click()
    finish(qtbot, widget)
    assert (made, len(jobs.runs), jobs.n_ended, jobs.closed) == ([jobs], 1, 1, False)
    assert jobs.n_started == before + 2, "for the run, and warm again after it"


def test_it_has_keys(qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToldJobs, "script", (STARTED, until("is_stopped")))
    # Qt hears keys in active windows only, and without a window manager none is.
    keys = {shortcut.key().toString(): shortcut for shortcut in widget.findChildren(QShortcut)}
    keys["F7"].activated.emit()
    assert widget.is_running
    qtbot.waitUntil(lambda: widget.status.text().startswith("60 spots"), timeout=20_000)
    keys["Shift+F7"].activated.emit()
    assert made[0].is_stopped
    assert "F7" in widget.train.toolTip()
    assert "Shift+F7" in widget.stop_button.toolTip()


def test_without_a_held_out_section_the_dock_says_what_is_lost(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    assert widget.start_notices.isHidden()
    widget.table.model.setData(widget.table.model.index(2, 0), "train")
    assert "No section is held out" in widget.start_notices.notice.text()
    assert widget.start_notices.hold_out.text() == "Hold out S2"
    widget.sections.change([1], slide=Path("missing.tif"))
    assert widget.sections.state(1).level in ("checking", "bad")
    qtbot.waitUntil(lambda: widget.sections.state(1).level == "bad", timeout=20_000)
    assert widget.start_notices.hold_out.isHidden(), "it cannot be scored on"
    widget.sections.undo()
    qtbot.waitUntil(lambda: not widget.start_notices.hold_out.isHidden(), timeout=20_000)
    assert widget.start_notices.hold_out.text() == "Hold out S2"
    monkeypatch.setattr(ToldJobs, "script", (STARTED, Trained(Path(start), 1, "stopped", 2.0)))
    widget.start()
    finish(qtbot, widget)
    assert "its genes have no reliability" in widget.status.text()
    widget.start_notices.hold_out.click()
    assert widget.sections.names("hold out") == ("S2",)
    assert widget.start_notices.isHidden()


@pytest.mark.parametrize(
    ("trained", "seen", "spared"),
    [
        ([("a", "P"), ("b", "P")], "", ""),
        ([("a", "P"), ("b", "P"), ("c", "P")], "", "c"),
        ([("a", "P"), ("b", "Q"), ("c", "P")], "", "b"),
        ([("a", "P"), ("b", "Q"), ("c", "R")], "", "c"),
        ([("a", "P"), ("b", "Q"), ("c", "R")], "c", "b"),
        ([("a", "P"), ("b", "Q"), ("c", "R")], "abc", ""),
    ],
)
def test_the_section_that_is_offered_to_be_held_out(
    trained: list[tuple[str, str]], seen: str, spared: str
) -> None:
    assert section_to_spare(trained, seen) == spared


def test_a_crash_is_a_message_and_resume_is_offered(
    qtbot: QtBot,
    widget: TrainWidget,
    study: tuple[Section, ...],
    messages: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "models" / "model-1"

    def leave_a_checkpoint(_: ToldJobs) -> None:
        folder.mkdir(parents=True)
        (folder / LAST).touch()
        RunRecord(study, widget.chosen_settings(), None, ("S2",)).write(folder)

    crash = JobFailed("The worker process was killed by signal 9")
    monkeypatch.setattr(ToldJobs, "script", (STARTED, leave_a_checkpoint, crash))
    widget.start()
    finish(qtbot, widget)
    (error,) = messages["error"]
    assert error.startswith("The training failed. The worker process was killed by sig")
    assert str(folder) in error
    assert widget.train.text() == "Resume"
    monkeypatch.setattr(ToldJobs, "script", ())
    widget.train.click()
    finish(qtbot, widget)
    assert made[-1].runs[0][1]["folder"] == folder
    # Other settings are another training.
    assert widget.train.text() == "Resume"
    widget.settings.epochs.setText("7")
    assert widget.train.text() == "Train"
    widget.train.click()
    assert not widget.is_running
    assert "unfinished training with other sections or settings" in messages["error"][-1]
    assert not widget.offer.isHidden()


def test_an_unfinished_training_is_offered_to_the_next_session(
    qtbot: QtBot, widget: TrainWidget, study: tuple[Section, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "cut short"
    folder.mkdir()
    settings = replace(widget.chosen_settings(), seed=5, validation_sections=("S1",))
    record = RunRecord(study, settings, "mine", ("S2",), True)
    record.write(folder)
    (folder / LAST).touch()
    remember_run(folder)
    other = TrainWidget(ViewerModel())
    qtbot.addWidget(other)
    assert not other.offer.isHidden()
    assert "cut short" in other.offer.text.text()
    other.offer.take_over.click()
    assert other.offer.isHidden()
    qtbot.waitUntil(lambda: other.train.text() == "Resume", timeout=20_000)
    other.train.click()
    finish(qtbot, other)
    _, arguments = made[-1].runs[0]
    assert arguments == {"record": record, "folder": folder}


def test_resumed_curves_begin_where_the_run_began(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from napari_nh2st.training.run_state import RunFolder

    folder = tmp_path / "run"
    RunFolder(folder, "").save_history([epoch(1), epoch(2, validation_pcc=None)])
    widget.place.folder.show_value(str(folder))
    monkeypatch.setattr(ToldJobs, "script", (replace(STARTED, epoch=1), epoch(2), epoch(3)))
    widget.start()
    finish(qtbot, widget)
    assert widget.curves.epochs == [epoch(1), epoch(2), epoch(3)]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: w.sections.update(lambda: w.sections.rows.set([])), "no section to train"),
        (lambda w: w.settings.epochs.setText("x"), "Epochs is 'x'"),
    ],
)
def test_what_is_missing_is_said_and_nothing_runs(
    widget: TrainWidget,
    messages: dict[str, list[str]],
    spoil: Callable[[TrainWidget], None],
    said: str,
) -> None:
    spoil(widget)
    widget.train.click()
    assert not widget.is_running
    assert said in messages["error"][0]
    assert made == []


def given_panel(widget: TrainWidget, _folder: Path) -> None:
    panel = widget.settings.panel
    panel.setCurrentIndex(panel.findData("given"))
    widget.settings.genes.text.setPlainText("ERBB2, EPCAMM")


def a_file_as_folder(widget: TrainWidget, _folder: Path) -> None:
    widget.place.folder.show_value(str(Path(__file__) / "run"))


def a_start_that_knows_s2(widget: TrainWidget, folder: Path) -> None:
    training = {"trained": True, "summary": "For a test.", "sections": ["S2"]}
    save_model_folder(small_model(training=training, mpp=6.25), folder)
    widget.settings.start.choose(str(folder))


def a_start_of_mouse(widget: TrainWidget, folder: Path) -> None:
    mouse = tuple(gene.capitalize() for gene in PANEL)
    save_model_folder(small_model(panel=mouse, mpp=6.25), folder)
    widget.settings.start.choose(str(folder))
    assert "mouse" in widget.start_notices.notice.text()


def a_trained_folder(widget: TrainWidget, folder: Path) -> None:
    save_model_folder(small_model(), folder / "model")
    (folder / "test").mkdir()
    widget.place.folder.show_value(str(folder))


def weights_that_are_gone(widget: TrainWidget, _folder: Path) -> None:
    widget.settings.more["encoder_weights"].show_value("/gone.pt")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (given_panel, r"EPCAMM \(nearest EPCAM\)"),
        (a_file_as_folder, r"test_widget.py is a file"),
        (a_start_that_knows_s2, r"was trained on S2"),
        (a_start_of_mouse, r"mouse model on a human section"),
        (a_trained_folder, r"already holds a trained model"),
        (weights_that_are_gone, "no file /gone.pt"),
    ],
)
def test_what_needs_no_training_to_be_refused_is_refused_before(
    widget: TrainWidget,
    messages: dict[str, list[str]],
    spoil: Callable[[TrainWidget, Path], None],
    said: str,
    tmp_path: Path,
) -> None:
    spoil(widget, tmp_path / "spoilt")
    widget.train.click()
    assert not widget.is_running
    (message,) = messages["error"]
    assert re.search(said, message)


def test_what_the_training_refuses_is_shown_and_the_choice_stays(
    qtbot: QtBot,
    widget: TrainWidget,
    messages: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(ToldJobs, "script", (InputError("The panel is empty."),))
    widget.place.folder.show_value(str(tmp_path / "mine"))
    widget.start()
    finish(qtbot, widget)
    assert messages["error"] == ["The panel is empty."]
    assert widget.status.text() == "The panel is empty."
    assert widget.place.folder.value() == str(tmp_path / "mine")
    assert widget.predict.isHidden()


def test_one_button_predicts_with_the_new_model(
    qtbot: QtBot,
    widget: TrainWidget,
    start: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ToldJobs, "script", (STARTED, Trained(Path(start), 1, "stopped", 2.0)))
    wanted: list[str] = []
    widget.predict_with.connect(wanted.append)
    assert widget.predict.isHidden()
    widget.start()
    finish(qtbot, widget)
    assert not widget.predict.isHidden()
    assert not widget.scroll_area.isAncestorOf(widget.predict)  # no scrolling for it
    widget.predict.click()
    assert wanted == [start]


def test_curves_are_those_of_the_epochs() -> None:
    epochs = [epoch(k, loss=3.0 / k, validation_mse=0.04 * k) for k in (1, 2, 3)]
    figure = curves_figure(epochs, (360, 360), text="#ffffff")
    drawn = {
        line.get_gid(): line.get_xydata().tolist() for axes in figure.axes for line in axes.lines
    }
    assert drawn["loss"] == [[1, 3.0], [2, 1.5], [3, 1.0]]
    assert drawn["query_contrastive"] == [[1, 2.0], [2, 2.0], [3, 2.0]]
    assert drawn["neighbor_contrastive"] == [[1, 1.0], [2, 1.0], [3, 1.0]]
    assert drawn["mse"] == [[1, 0.05], [2, 0.05], [3, 0.05]]
    assert drawn["validation_pcc"] == [[k, 0.1 * k] for k in (1, 2, 3)]
    assert drawn["validation_mse"] == [[k, 0.04 * k] for k in (1, 2, 3)]
    assert drawn["baseline_mse"] == [[1, 0.05], [2, 0.05], [3, 0.05]]
    assert curves_picture(epochs, (360, 300), 2.0, "#ffffff").shape == (600, 720, 4)


@pytest.mark.filterwarnings("error")
def test_the_start_is_drawn_without_losses() -> None:
    figure = curves_figure([epoch(0, loss=None, losses={})], (360, 360), text="#ffffff")
    drawn = {line.get_gid(): line.get_ydata() for axes in figure.axes for line in axes.lines}
    assert np.isnan(drawn["loss"]).all()
    assert drawn["validation_mse"].tolist() == [0.04]


def test_there_is_no_room_for_curves_before_there_are_any(
    qtbot: QtBot, widget: TrainWidget
) -> None:
    assert widget.curves.isHidden()
    widget.curves.add(epoch(1))
    qtbot.waitUntil(lambda: not widget.curves.isHidden(), timeout=20_000)
    widget.curves.clear_epochs()
    assert widget.curves.isHidden()


def test_without_validation_only_the_losses_are_drawn() -> None:
    none = {"validation_pcc": None, "validation_mse": None, "baseline_mse": None}
    (axes,) = curves_figure([epoch(1, **none)], (360, 360), text="#000000").axes
    assert axes.get_title(loc="left") == "Losses"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_closing_the_widget_ends_what_runs(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ToldJobs, "script", (until("closed"),))
    widget.start()
    widget.close()
    finish(qtbot, widget)
    assert made[-1].closed


def test_closing_in_the_middle_leaves_a_checkpoint_and_no_process(
    qtbot: QtBot,
    widget: TrainWidget,
    study: tuple[Section, ...],
    start: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    pools: list[JobPool] = []

    def real_jobs(warm_up: tuple[str, ...]) -> JobPool:
        pools.append(JobPool(warm_up))
        return pools[-1]

    monkeypatch.setattr(child_jobs, "new_jobs", real_jobs)
    dock = QDockWidget()
    dock.setWidget(widget)
    widget.settings.start.choose(start)
    widget.settings.epochs.setText("100000")
    widget.settings.more["batch_size"].setText("20")
    widget.settings.more["checkpoint_minutes"].setText("1000")
    pick = widget.settings.validation
    pick.setCurrentIndex(pick.findData("none"))
    widget.train.click()
    qtbot.waitUntil(lambda: len(widget.curves.epochs) > 2 or not widget.is_running, timeout=180_000)
    assert widget.is_running, widget.status.text()
    child = psutil.Process(pools[0].processes[0].pid)
    assert child.is_running()
    widget.setParent(None)  # as napari's × does
    qtbot.waitUntil(lambda: not child.is_running(), timeout=60_000)
    finish(qtbot, widget)
    assert (tmp_path / "models" / "model-1" / LAST).is_file()
    other = TrainWidget(ViewerModel())
    qtbot.addWidget(other)
    assert "model-1" in other.offer.text.text()
