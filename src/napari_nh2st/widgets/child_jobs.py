"""Jobs of a dock: the child processes that all docks share, and the thread that reads events."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

from napari.qt.threading import create_worker
from napari.utils import progress
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject

from napari_nh2st.jobs import JobFailed, JobPool
from napari_nh2st.shown_text import for_qt

PATIENCE_S = 15.0
"""How long a job that was stopped may take for the batch under way. One that takes longer hangs:
its process was suspended, or waits for a network drive that is gone."""

_WARM_UP = ("napari_nh2st.model.folder", "napari_nh2st.inference.engine")
"""Modules that every job needs, torch among them; the others load in well under a second."""


class Job(Protocol):
    """A job that is run once: a :class:`napari_nh2st.jobs.Job`."""

    is_last: bool

    def events(self) -> Iterator[object]: ...  # noqa: D102
    def send(self, content: object) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Jobs(Protocol):
    """Runs jobs: a :class:`~napari_nh2st.jobs.JobPool`."""

    def start(self) -> None: ...  # noqa: D102
    def job(self, name: str, /, **arguments: object) -> Job: ...  # noqa: D102
    def run(self, name: str, /, **arguments: object) -> Iterator[object]: ...  # noqa: D102
    def close(self, patience_s: float = 5.0) -> None: ...  # noqa: D102


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


class StoppableJob:
    """A job that the user can stop, also while it still loads, and also when it hangs.

    Parameters
    ----------
    job
        To be run.
    patience_s
        It is killed where it still runs so long after a stop; None for never.

    Attributes
    ----------
    is_loading
        Whether it cannot react to a stop yet; to be set by whoever reads its events.
    is_aborted
        Whether it was killed.
    """

    def __init__(self, job: Job, patience_s: float | None = PATIENCE_S) -> None:
        self._job = job
        self._stop = threading.Event()
        self._patience = None if patience_s is None else threading.Timer(patience_s, self.abort)
        if self._patience is not None:
            self._patience.daemon = True
        self.is_loading = True
        self.is_aborted = False

    def stopped(self) -> bool:
        """Whether it was stopped."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End after the batch under way; at once while it loads."""
        is_first = not self._stop.is_set()
        self._stop.set()
        if self.is_loading:  # importing torch and reading weights cannot be interrupted otherwise
            self.abort()
            return
        self._job.stop()
        if is_first and self._patience is not None:
            self._patience.start()

    def abort(self) -> None:
        """End at once."""
        self.is_aborted = True
        self._job.kill()

    def send(self, content: object) -> None:
        """Send something to it."""
        self._job.send(content)

    def job_events(self) -> Iterator[object]:
        """Run it, in the thread that asks for its events; that it was ended is no error.

        Raises
        ------
        InputError, JobFailed
            As :meth:`napari_nh2st.jobs.Job.events`.
        """
        try:
            yield from self._job.events()
        except JobFailed:
            if not self.stopped():
                raise
        finally:
            if self._patience is not None:
                self._patience.cancel()


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
