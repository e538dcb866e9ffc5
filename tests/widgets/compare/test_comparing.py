"""Comparing: what reaches the job, and how it is stopped."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from compare_docks import (
    in_both_viewers,
    jobs_of,
    of_panel,
    open_slide_of,
    points,
    run,
    wait_until_read,
)
from compared_sections import DrawnSection
from drawn_predictions import drawn_prediction
from local_jobs import LocalJob, LocalJobs
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.comparison import Predicting
from napari_nh2st.session import Session
from napari_nh2st.slide import open_slide
from napari_nh2st.spots.choice import NO_CHOICE
from napari_nh2st.widgets.compare import model_choice
from napari_nh2st.widgets.compare.widget import CompareWidget


def test_what_is_chosen_reaches_the_job(
    qtbot: QtBot, loaded: CompareWidget, section: DrawnSection, model: Path
) -> None:
    loaded.slide.mpp.setValue(6.0)
    loaded.device.setCurrentText("cpu")
    run(qtbot, loaded)
    assert jobs_of(loaded).runs == [
        (
            "compare",
            {
                "slide": section.slide,
                "mpp": (6.0, 6.0),
                "image": 0,
                "expression": section.expression,
                "positions": None,
                "fix": None,
                "choice": NO_CHOICE,
                "model": str(model),
                "device": "cpu",
            },
        )
    ]


@in_both_viewers
def test_a_second_run_keeps_the_layers_as_the_user_made_them(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget
) -> None:
    before = points(viewer)
    before["predicted"].opacity = 0.4
    run(qtbot, done)
    assert {k: id(v) for k, v in points(viewer).items()} == {k: id(v) for k, v in before.items()}
    assert points(viewer)["predicted"].opacity == 0.4


def test_devices_are_asked_for_again_where_the_process_was_ended(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, widget: CompareWidget
) -> None:
    asked: list[str] = []

    def run(_jobs: LocalJobs, name: str) -> Iterator[object]:
        asked.append(name)
        if len(asked) == 1:
            raise JobFailed("was killed by signal 9")
        yield {"cpu": "2 cores", "cuda:0": "a GPU"}, {"mps": "no Apple"}

    monkeypatch.setattr(LocalJobs, "run", run)
    picker = widget.device
    for count in (2, 4, 4):  # "auto" and "cpu" at first
        picker.showPopup()
        qtbot.waitUntil(lambda: not picker._asking.is_busy, timeout=20_000)
        assert picker.count() == count
    picker.hidePopup()
    assert asked == ["devices", "devices"]


def test_cancel_at_once_begins_nothing(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, loaded: CompareWidget
) -> None:
    begin = threading.Event()
    events = LocalJob.events

    def late(job: LocalJob) -> Iterator[object]:
        begin.wait(20)
        yield from events(job)

    monkeypatch.setattr(LocalJob, "events", late)
    loaded.controls.run.click()
    loaded.controls.cancel.click()
    begin.set()
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=20_000)
    assert jobs_of(loaded).runs == []
    assert loaded.controls.status.text() == "Stopped."


def test_cancel_stops_it_and_keeps_the_measured(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, loaded: CompareWidget
) -> None:
    def endless(jobs: LocalJobs, _job: str, **_arguments: object) -> Iterator[object]:
        while not jobs.inbox.stopped():
            yield Predicting(1, 42)

    monkeypatch.setattr(LocalJobs, "run", endless)
    loaded.controls.run.click()
    qtbot.waitUntil(lambda: loaded.controls.bar.value() == 1, timeout=20_000)
    assert not loaded.measured.source.clear.isEnabled()
    assert not loaded.measured.mpp_box.use.isEnabled()
    loaded.choice.chosen.emit(of_panel(("VIM",)))
    loaded.controls.cancel.click()
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=20_000)
    assert loaded.controls.status.text() == "Stopped."
    assert set(points(viewer)) == {"measured"}
    assert loaded.controls.run.isEnabled()
    assert loaded.measured.source.clear.isEnabled()
    wait_until_read(qtbot, loaded)
    assert loaded.section.target.columns.tolist() == ["VIM"], "of the model chosen meanwhile"


def test_the_model_of_the_current_prediction_is_offered_until_another_is_chosen(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, section: DrawnSection,
    model: Path, local_jobs: None,
) -> None:  # fmt: skip
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    first = widget.model.text
    assert first != str(model)
    # Of a folder the path is the name by which it is found.
    monkeypatch.setattr(model_choice, "bundled_models", lambda: {str(model): model})
    layer = open_slide_of(viewer, section)
    with open_slide(section.slide, mpp=1.0) as slide:
        prediction = drawn_prediction(slide)
    prediction.uns["nh2st"]["model"]["name"] = str(model)
    Session.of(viewer).add_heatmap(layer, prediction, "VIM")
    assert widget.model.text == str(model)
    widget.model.choose(first)
    Session.of(viewer).add_heatmap(layer, prediction, "CD74")
    assert widget.model.text == first
