"""Jobs of a dock: the child processes that all docks share, and the thread that reads events."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from napari.qt.threading import create_worker
from napari.utils import progress
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject

from napari_nh2st.jobs import JobPool
from napari_nh2st.jobs.stoppable import Jobs
from napari_nh2st.shown_text import for_qt

_WARM_UP = ("napari_nh2st.model.folder", "napari_nh2st.inference.engine")
"""Modules that every job needs, torch among them; the others load in well under a second."""


new_jobs: Callable[[tuple[str, ...]], Jobs] = JobPool
"""Makes the pool that all docks share, from the modules to load at first."""


class SharedJobs:
    """A dock's access to the child processes that all docks of the application share.

    They begin with the first dock that is :meth:`ready`, and end with the last that is closed or
    destroyed, and with the application.

    Parameters
    ----------
    widget
        The dock.
    """

    _jobs: ClassVar[Jobs | None] = None
    _users: ClassVar[list["SharedJobs"]] = []

    def __init__(self, widget: QObject) -> None:
        # Not a method of the widget: Qt calls none of those once the widget is gone.
        widget.destroyed.connect(self.close)

    def ready(self) -> Jobs:
        """Runs the dock's jobs; a process starts, and loads its libraries, if none runs."""
        if SharedJobs._jobs is None:
            SharedJobs._jobs = new_jobs(_WARM_UP)
            _application().aboutToQuit.connect(_end_all)
        if self not in self._users:
            self._users.append(self)
        SharedJobs._jobs.start()
        return SharedJobs._jobs

    def start_again(self) -> None:
        """Start a process if the last one was ended by a stop, and the dock still needs it."""
        if self in self._users:
            self.ready()

    def close(self, _widget: object = None) -> None:
        """The dock needs no jobs for now."""
        if self in self._users:
            self._users.remove(self)
            if not self._users:
                _end_all()


def _end_all() -> None:
    """End the processes; the next dock that needs some begins others."""
    jobs, SharedJobs._jobs = SharedJobs._jobs, None
    SharedJobs._users.clear()
    if jobs is not None:
        _application().aboutToQuit.disconnect(_end_all)
        jobs.close()


def _application() -> QCoreApplication:
    application = QCoreApplication.instance()
    assert application is not None
    return application


class JobThread:
    """Reads a job's events in a thread, and emits them in the thread of the widget.

    Parameters
    ----------
    widget
        Once it is destroyed, nothing is emitted any more.

    Attributes
    ----------
    is_running
        Whether a job runs.
    event
        Emitted with an event of the job.
    failed
        Emitted with the error that it ended in.
    finished
        Emitted when it runs no more, however it ended.
    """

    event = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, widget: QObject) -> None:
        self._worker: Any = None
        self._activity: Any = None
        self._gone = False
        widget.destroyed.connect(self._on_gone)

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self._worker is not None

    def start(self, events: Callable[[], Iterator[object]], description: str) -> None:
        """Read these events; the description stands in napari's activity dock."""
        self._activity = progress(total=0, desc=for_qt(description))
        self._worker = create_worker(
            events,
            _connect={
                "yielded": self._on_event,
                "errored": self._on_error,
                "finished": [self._on_finished, self._activity.close],
            },
            _ignore_errors=True,
        )

    def show_progress(self, done: int, total: int) -> None:
        """Move the bar in napari's activity dock.

        napari's bar handles waiting events, the job's next among them: whoever calls this from a
        handler of :attr:`event` does so last.
        """
        if self.is_running:
            self._activity.total = total
            self._activity.update(done - self._activity.n)

    def _on_gone(self) -> None:
        self._gone = True

    def _on_event(self, event: object) -> None:
        if not self._gone:
            self.event.emit(event)

    def _on_error(self, error: Exception) -> None:
        if not self._gone:
            self.failed.emit(error)

    def _on_finished(self) -> None:
        self._worker = None
        if not self._gone:
            self.finished.emit()
