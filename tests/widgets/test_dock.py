"""The base class of the docks: what is connected, and when it is let go."""

import threading
from typing import Any

import pytest
from napari.components import ViewerModel
from psygnal import Signal
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget, QPushButton

from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.background import STOP, Background
from napari_nh2st.widgets.dock import Dock, open_dock


class Emitter:
    told = Signal(int)


class Jobs:
    """Runs the jobs of docks."""

    def __init__(self) -> None:
        self.is_alive = False

    def start(self) -> None:
        self.is_alive = True

    def close(self, patience_s: float = 5.0) -> None:
        self.is_alive = False


class Counting(Dock):
    """Counts what it hears of the viewer, of psygnal and of Qt."""

    def __init__(self, viewer: ViewerModel, emitter: Emitter, button: QPushButton) -> None:
        super().__init__(viewer, "predict", has_jobs=True)
        self.heard: list[Any] = []
        self.opened = self.ended = 0
        self.connect_to(viewer.layers.events.inserted, self.hear)
        self.connect_to(emitter.told, self.hear)
        self.connect_to(button.clicked, self.hear)
        self.connections.when_opened(self.catch_up)
        self.open()

    def hear(self, what: Any) -> None:
        self.heard.append(what)

    def catch_up(self) -> None:
        self.opened += 1

    def end_jobs(self) -> None:
        self.ended += 1


class Heard:
    """A dock, and what it is connected with."""

    def __init__(self, qtbot: QtBot) -> None:
        self.viewer, self.emitter, self.button = ViewerModel(), Emitter(), QPushButton()
        qtbot.addWidget(self.button)
        self.dock = Counting(self.viewer, self.emitter, self.button)

    def emit_all(self) -> int:
        """Make each of the three signals be emitted; returns how many of them were heard."""
        before = len(self.dock.heard)
        self.viewer.add_points([[1, 1]])
        self.emitter.told.emit(1)
        self.button.click()
        return len(self.dock.heard) - before


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs()
    monkeypatch.setattr(child_jobs, "new_jobs", lambda _warm_up: jobs)
    return jobs


@pytest.fixture
def heard(qtbot: QtBot, jobs: Jobs) -> Heard:
    return Heard(qtbot)


def test_what_is_connected_goes_and_comes_with_the_dock(qtbot: QtBot, heard: Heard) -> None:
    dock = heard.dock
    assert heard.emit_all() == 3
    around = QDockWidget()
    qtbot.addWidget(around)
    around.setWidget(dock)
    assert heard.emit_all() == 3, "once each, though it was opened before it was docked"
    dock.setParent(None)  # napari's ×
    assert heard.emit_all() == 0
    assert dock.ended == 1
    around.setWidget(dock)
    assert heard.emit_all() == 3
    assert dock.opened == 2
    around.show()
    dock.close()
    assert heard.emit_all() == 0
    dock.show()
    assert heard.emit_all() == 3
    dock.close()


def test_a_dock_that_is_destroyed_hears_nothing(qtbot: QtBot, heard: Heard) -> None:
    closed: list[str] = []
    heard.dock.connections.when_closed(lambda: closed.append("closed"))
    # Not by waitSignal, which PySide6 does not let go of an object that is gone.
    gone: list[str] = []
    heard.dock.destroyed.connect(lambda: gone.append("gone"))
    heard.dock.deleteLater()
    qtbot.waitUntil(lambda: gone == ["gone"], timeout=20_000)
    assert heard.emit_all() == 0
    assert closed == ["closed"]


def test_its_process_runs_while_it_is_shown(qtbot: QtBot, heard: Heard, jobs: Jobs) -> None:
    dock = heard.dock
    assert not jobs.is_alive
    dock.show()
    assert jobs.is_alive
    assert dock.idle_jobs() is jobs
    dock.hide()
    assert jobs.is_alive, "another tab is in front"
    dock.close()
    dock.setParent(None)
    dock.close_down()
    assert not jobs.is_alive


def test_work_of_its_widgets_is_stopped(qtbot: QtBot, heard: Heard) -> None:
    stopped = threading.Event()

    def wait(stop: threading.Event) -> None:
        if stop.wait(20):
            stopped.set()

    work = Background(QPushButton(heard.dock))
    work.start(wait, STOP)
    heard.dock.close_down()
    assert stopped.wait(20)
    assert not work.is_busy


def test_a_key_presses_a_button_whatever_its_text(qtbot: QtBot, heard: Heard) -> None:
    from qtpy.QtGui import QShortcut

    pressed: list[str] = []
    button = QPushButton("Run", heard.dock)
    button.clicked.connect(lambda: pressed.append("pressed"))
    heard.dock.bind_key("F5", button)
    button.setText("Continue")
    (shortcut,) = heard.dock.findChildren(QShortcut)
    shortcut.activated.emit()
    assert len(pressed) == 1


def test_a_layer_that_goes_can_be_let_go(heard: Heard) -> None:
    names: list[Any] = []
    layer = heard.viewer.add_points([[1, 1]])
    heard.dock.connect_to(layer.events.name, names.append)
    layer.name = "one"
    heard.dock.connections.remove(layer.events.name, names.append)
    layer.name = "two"
    assert len(names) == 1


def test_without_a_window_no_dock_is_opened() -> None:
    assert open_dock(ViewerModel(), "Genes") is None
