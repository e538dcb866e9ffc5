"""Child processes that the docks share: they begin with the first dock and end with the last."""

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QCoreApplication, QObject

from local_jobs import LocalJobs
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.child_jobs import SharedJobs


@pytest.fixture
def made(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> list[LocalJobs]:
    """What the docks share, one after the other."""
    made: list[LocalJobs] = []

    def new_jobs(warm_up: tuple[str, ...]) -> LocalJobs:
        made.append(LocalJobs(warm_up))
        return made[-1]

    monkeypatch.setattr(child_jobs, "new_jobs", new_jobs)
    return made


def test_docks_share_jobs_until_the_last_is_closed(made: list[LocalJobs]) -> None:
    predict, compare = SharedJobs(QObject()), SharedJobs(QObject())
    assert made == [], "none is needed yet"
    compare.start_again()
    assert made == []
    assert predict.ready() is compare.ready() is made[0]
    assert made[0].n_started == 2
    predict.close()
    predict.start_again()
    assert not made[0].closed
    assert made[0].n_started == 2
    compare.start_again()
    assert made[0].n_started == 3
    compare.close()
    compare.close()
    assert made[0].closed
    assert predict.ready() is made[1]
    predict.close()
    assert made[1].closed


def test_a_dock_that_is_destroyed_needs_none(qtbot: QtBot, made: list[LocalJobs]) -> None:
    dock = QObject()
    SharedJobs(dock).ready()
    with qtbot.waitSignal(dock.destroyed):
        dock.deleteLater()
    assert made[0].closed


def test_they_end_with_the_application_which_forgets_those_that_are_closed(
    made: list[LocalJobs],
) -> None:
    dock, closed = SharedJobs(QObject()), list[object]()
    dock.ready()
    dock.close()
    made[0].close = lambda *_: closed.append(made[0])  # type: ignore[method-assign]
    application = QCoreApplication.instance()
    assert application is not None
    dock.ready()
    application.aboutToQuit.emit()
    assert closed == []
    assert made[1].closed
