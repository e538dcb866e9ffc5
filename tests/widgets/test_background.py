"""Background work: what arrives, in which thread, and what no longer does."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_nh2st.widgets.background import STOP, Background


def idle(qtbot: QtBot, *works: Background) -> None:
    qtbot.waitUntil(lambda: not any(work.is_busy for work in works), timeout=20_000)


def test_results_and_errors_arrive_in_the_thread_of_the_viewer(qtbot: QtBot) -> None:
    arrived: list[Any] = []
    work = Background()

    def where(*values: int, factor: int) -> tuple[int, bool]:
        return sum(values) * factor, threading.current_thread() is threading.main_thread()

    def note(result: Any) -> None:
        arrived.append((result, threading.current_thread() is threading.main_thread()))

    work.start(where, 1, 2, factor=3, done=note)
    assert work.is_busy
    idle(qtbot, work)
    assert arrived == [((9, False), True)]

    work.start(lambda: 1 / 0, done=note, failed=lambda error: arrived.append(type(error)))
    idle(qtbot, work)
    assert arrived[1:] == [ZeroDivisionError]


def test_the_latest_call_wins(qtbot: QtBot) -> None:
    arrived: list[str] = []
    go_on = threading.Event()
    work = Background()

    def slow() -> str:
        assert go_on.wait(20)
        return "slow"

    work.start(slow, done=arrived.append)
    work.start(lambda: "fast", done=arrived.append)
    idle(qtbot, work)
    assert arrived == ["fast"], "it does not wait for the one before"
    go_on.set()
    work.start(lambda: "last", done=arrived.append)
    idle(qtbot, work)
    qtbot.wait(50)
    assert arrived == ["fast", "last"]


def test_items_of_a_generator_arrive_one_by_one_until_it_is_stopped(qtbot: QtBot) -> None:
    arrived: list[int] = []
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                time.sleep(0.001)
        finally:
            closed.set()

    work = Background()
    work.start(numbers, done=arrived.append)
    qtbot.waitUntil(lambda: len(arrived) > 2, timeout=20_000)
    work.stop()
    assert not work.is_busy
    n = len(arrived)
    assert arrived == list(range(n))
    assert closed.wait(20)
    qtbot.wait(50)
    assert len(arrived) == n


def test_an_error_after_items_of_a_generator_arrives(qtbot: QtBot) -> None:
    arrived: list[Any] = []

    def two() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    work = Background()
    work.start(two, done=arrived.append, failed=lambda error: arrived.append(str(error)))
    idle(qtbot, work)
    assert arrived == [1, "no second"]


def test_debounced_only_the_last_of_many_is_called(qtbot: QtBot) -> None:
    called: list[int] = []
    work = Background(debounce_ms=50)
    for number in range(5):
        work.start(called.append, number)
    assert work.is_busy
    idle(qtbot, work)
    assert called == [4]


def test_throttled_calls_do_not_overlap_and_all_that_ran_arrive(qtbot: QtBot) -> None:
    arrived: list[int] = []
    running: list[int] = []
    most = [0]

    def slow(number: int) -> int:
        running.append(number)
        most[0] = max(most[0], len(running))
        time.sleep(0.02)
        running.remove(number)
        return number

    work = Background(throttle_ms=30)
    began = time.monotonic()
    work.start(slow, 0, done=arrived.append)
    qtbot.waitUntil(lambda: bool(running), timeout=20_000)
    for number in range(1, 6):
        work.start(slow, number, done=arrived.append)
    idle(qtbot, work)
    assert arrived == [0, 5]
    assert most == [1]
    assert time.monotonic() - began > 0.07, "a call, a pause, and a call"


def test_busy_is_said_once_after_the_result(qtbot: QtBot) -> None:
    told: list[Any] = []
    work = Background()
    work.busy_changed.connect(told.append)
    work.start(lambda: "result", done=told.append)
    idle(qtbot, work)
    assert told == [True, "result", False]


def test_a_function_can_see_that_it_is_not_wanted_any_more(qtbot: QtBot) -> None:
    ended = threading.Event()

    def wait(stop: threading.Event) -> None:
        assert stop.wait(20)
        ended.set()

    work = Background()
    work.start(wait, STOP)
    work.stop()
    assert ended.wait(20)


@pytest.mark.parametrize("of_a_parent", [True, False])
def test_nothing_arrives_once_it_is_destroyed(qtbot: QtBot, of_a_parent: bool) -> None:
    arrived: list[str] = []
    stopped, go_on = threading.Event(), threading.Event()

    def work_until_stopped(stop: threading.Event) -> str:
        if stop.wait(20):
            stopped.set()
        assert go_on.wait(20)
        return "result"

    widget = QWidget()
    work = Background(widget)
    work.start(work_until_stopped, STOP, done=arrived.append)
    gone: QObject = widget if of_a_parent else work
    with qtbot.waitSignal(gone.destroyed, timeout=20_000):
        gone.deleteLater()
    assert stopped.wait(20)
    go_on.set()
    qtbot.wait(50)
    assert arrived == []


_ENDS_DURING_WORK = """
import time
from qtpy.QtWidgets import QApplication, QWidget
from napari_nh2st.widgets.background import Background

application = QApplication([])
widget = QWidget()
Background(widget).start(lambda: time.sleep(1) or "result", done=print, failed=print)
{how}
"""


@pytest.mark.parametrize(
    "how",
    [
        "",
        "widget.close(); del widget, application",
        "from qtpy.QtCore import QTimer\nQTimer.singleShot(50, application.quit)\n"
        "application.exec()",
    ],
    ids=["the script ends", "the window closes", "the application quits"],
)
def test_an_application_that_ends_during_work_ends_cleanly(how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDS_DURING_WORK.format(how=how)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
