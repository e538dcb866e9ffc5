"""Comparison of architectures in the Train dock: what reaches the job, and what is shown."""

from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QDesktopServices

from local_jobs import LocalJobs
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.jobs import architecture_comparison
from napari_nh2st.jobs.architecture_comparison import Comparing
from napari_nh2st.jobs.training import Reading
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.spots import Section
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.train import model_place
from napari_nh2st.widgets.train.widget import TrainWidget
from train_studies import drawn_study, start_model


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
    """With a start model, and three sections of which the last is held out."""
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    monkeypatch.setattr(model_place, "models_folder", lambda: tmp_path / "models")
    widget = TrainWidget(ViewerModel())
    qtbot.addWidget(widget, before_close_func=lambda widget: finish(qtbot, widget))
    widget.settings.start.choose(start)
    widget.sections.show(study, ("S2",), ())
    qtbot.waitUntil(lambda: not widget.sections.is_busy, timeout=20_000)
    return widget


def finish(qtbot: QtBot, widget: TrainWidget) -> None:
    qtbot.waitUntil(lambda: not widget.is_running, timeout=180_000)


def test_architectures_are_compared_and_the_report_opened(
    qtbot: QtBot,
    widget: TrainWidget,
    messages: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(architecture_comparison, "_SECONDS_BETWEEN_EVENTS", -1)
    panel = widget.comparison
    assert {name.partition(":")[0] for name in panel.choices} == set(CATALOGUE)
    assert {"triplex", "triplex:boundary"} < set(panel.choices)
    assert panel.table.isHidden()
    assert panel.controls.isHidden()
    panel.folded.expand(animate=False)
    assert not panel.controls.isHidden()
    for name, box in panel.choices.items():
        box.setChecked(name in ("nh2st:query", "linear"))
    panel.leave.show_value("section")
    widget.settings.controls["epochs"].show_value(1)
    widget.settings.controls["validation"].show_value("none")
    panel.controls.run.click()
    assert widget.is_running
    assert not widget.train.isEnabled()
    assert not panel.choices["sepal"].isEnabled()
    finish(qtbot, widget)
    jobs = widget.process.ready()
    assert isinstance(jobs, LocalJobs)
    ((name, arguments),) = jobs.runs
    assert (name, arguments["plan"]) == (
        "compare_architectures",
        CompareSettings(("nh2st:query", "linear"), "section"),
    )
    folder = tmp_path / "models" / "model-1-comparison"
    assert arguments["folder"] == folder
    # S2 is held out: it is neither read nor left out.
    read = [event.section for event in jobs.events[0] if isinstance(event, Reading)]
    left_out = {event.left_out for event in jobs.events[0] if isinstance(event, Comparing)}
    assert read == ["S0", "S1"]
    assert left_out == {"S0", "S1"}
    done = [event.done for event in jobs.events[0] if isinstance(event, Comparing)]
    assert done == sorted(done)
    assert (folder / "comparison.csv").is_file()

    assert not panel.table.isHidden()
    assert list(panel.table.table["architecture"]) == ["nh2st:query", "linear"]
    assert panel.figure.pixmap().width() > 1
    assert "Differences are from linear" in panel.notes.text()
    assert "Highest mean PCC" in panel.controls.status.text()
    assert messages["info"][-1].startswith("Compared: Highest mean PCC")
    assert widget.train.isEnabled()
    opened = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    panel.open_folder.click()
    assert opened == [str(folder)]


def test_what_cannot_be_compared_is_a_sentence(
    widget: TrainWidget, messages: dict[str, list[str]], tmp_path: Path
) -> None:
    panel = widget.comparison
    for box in panel.choices.values():
        box.setChecked(False)
    panel.choices["linear"].setChecked(True)
    panel.controls.run.click()
    assert "at least two architectures" in messages["error"][-1]
    panel.choices["sepal"].setChecked(True)
    widget.sections.show(widget.sections.chosen()[:1], (), ())
    panel.leave.show_value("section")
    panel.controls.run.click()
    assert "S0" in messages["error"][-1]
    assert not widget.is_running
    assert not (tmp_path / "models").exists()


def test_a_comparison_that_is_stopped_says_how_it_goes_on(
    qtbot: QtBot, widget: TrainWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = widget.comparison
    panel.leave.show_value("section")
    panel.controls.run.click()
    panel.stop()
    finish(qtbot, widget)
    assert "Compare continues from there" in panel.controls.status.text()
    assert panel.table.isHidden()
    assert panel.controls.run.isEnabled()
