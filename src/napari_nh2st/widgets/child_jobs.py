"""A widget's child process, the job it runs, and the thread that waits for what it tells."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from napari.qt.threading import create_worker
from napari.utils import progress
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject

from napari_nh2st.jobs import JobFailed
from napari_nh2st.shown_text import for_qt

PATIENCE_S = 15.0
"""How long a job that was stopped may take for the batch under way. One that takes longer hangs:
its process was suspended, or waits for a network drive that is gone."""


class Job(Protocol):
    """A job that is run once: a :class:`napari_nh2st.jobs.Job`."""

    def events(self) -> Iterator[object]: ...  # noqa: D102
    def tell(self, what: object) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


class Jobs(Protocol):
    """What runs jobs: a :class:`~napari_nh2st.jobs.JobProcess`."""

    def start(self) -> None: ...  # noqa: D102
    def job(self, name: str, /, **arguments: object) -> Job: ...  # noqa: D102
    def run(self, name: str, /, **arguments: object) -> Iterator[object]: ...  # noqa: D102
    def close(self, patience_s: float = 5.0) -> None: ...  # noqa: D102


class ChildProcess:
    """A process for a widget's jobs, which ends with the widget and with the application.

    Parameters
    ----------
    widget
        When the viewer destroys it, the process is closed.
    new_jobs
        Makes what runs jobs, when it is first needed.
    """

    def __init__(self, widget: QObject, new_jobs: Callable[[], Jobs]) -> None:
        self._widget = widget
        self._new_jobs = new_jobs
        self._jobs: Jobs | None = None
        self._end: Callable[..., None] | None = None

    def ready(self) -> Jobs:
        """What runs jobs; its process is started if it is not there."""
        if self._jobs is None:
            self._jobs = self._new_jobs()
            self._end = _ending(self._jobs)
            # Not a method of the widget: Qt calls none of those once the widget is gone.
            self._widget.destroyed.connect(self._end)
        self._jobs.start()
        return self._jobs

    def start_again(self) -> None:
        """Start the process if it was ended by a job that could not be stopped otherwise."""
        if self._jobs is not None:
            self._jobs.start()

    def close(self) -> None:
        """End the process; :meth:`ready` begins another."""
        if self._jobs is not None and self._end is not None:
            self._widget.destroyed.disconnect(self._end)
            self._end()
            self._jobs = self._end = None


def _ending(jobs: Jobs) -> Callable[..., None]:
    """What closes jobs, to be called once; until then, the application does so when it quits."""
    application = QCoreApplication.instance()
    assert application is not None

    def close() -> None:
        jobs.close()

    def end(*_of_the_signal: object) -> None:
        application.aboutToQuit.disconnect(close)
        jobs.close()

    application.aboutToQuit.connect(close)
    return end


class StoppableJob:
    """A job that the user can stop, also while it still loads, and also when it hangs.

    Parameters
    ----------
    job
        That is to run.
    patience_s
        It is ended at once where it still runs so long after a stop; None for never.

    Attributes
    ----------
    is_loading
        Whether it cannot hear yet that it is to stop; whoever reads its events says when it can.
    is_aborted
        Whether it was ended at once.
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
        """Whether it was asked to end."""
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

    def tell(self, what: object) -> None:
        """Send it something."""
        self._job.tell(what)

    def told(self) -> Iterator[object]:
        """What it tells, in the thread that asks for it; that it was ended is no error.

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
    """Waits in a thread for what a job tells, and says it in the thread of the widget.

    Parameters
    ----------
    widget
        Once it is destroyed, nothing is told any more.

    Attributes
    ----------
    is_running
        Whether a job runs.
    event
        Emitted with what the job tells.
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
        """Run what gives the events; the description stands in napari's activity dock."""
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
