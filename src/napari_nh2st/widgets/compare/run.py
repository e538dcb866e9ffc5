"""One job at a time in a child process, for the *Compare* widget."""

from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import progress
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject

from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.comparison import Predicting
from napari_nh2st.widgets.predict.run import Job, Jobs


class ComparisonRun:
    """Runs a job in a thread that waits for a child process, and tells what it tells.

    Parameters
    ----------
    widget
        With it, and with the application, the process ends.
    new_jobs
        Makes what runs jobs, when it is first needed.

    Attributes
    ----------
    is_running, was_stopped
        Whether a job runs, and whether the user has stopped it, or the last one.
    event
        Emitted with what the job tells.
    failed
        Emitted with the error that a job ended in, unless it was stopped.
    finished
        Emitted when no job runs any more.
    """

    event = Signal(object)
    failed = Signal(object)
    finished = Signal()

    def __init__(self, widget: QObject, new_jobs: Callable[[], Jobs]) -> None:
        self.was_stopped = False
        self._widget = widget
        self._new_jobs = new_jobs
        self._jobs: Jobs | None = None
        self._end_jobs: Callable[..., None] | None = None
        self._job: Job | None = None
        self._worker: Any = None
        self._activity: Any = None
        self._loading = False
        self._gone = False
        # Whoever listens is gone with the widget, while a worker may still have something to tell.
        widget.destroyed.connect(self._on_gone)

    @property
    def is_running(self) -> bool:
        """Whether a job runs."""
        return self._worker is not None

    def ready(self) -> Jobs:
        """What runs jobs; its process is started if it is not there."""
        if self._jobs is None:
            jobs = self._jobs = self._new_jobs()
            # With the viewer, which destroys the widget, and with the application.
            self._end_jobs = _ending(jobs)
            self._widget.destroyed.connect(self._end_jobs)
        self._jobs.start()
        return self._jobs

    def start(self, job: str, description: str, arguments: dict[str, Any]) -> None:
        """Run a job; the description stands in napari's activity dock."""
        self.was_stopped, self._loading = False, True
        self._activity = progress(total=0, desc=description)
        self._job = self.ready().job(job, **arguments)
        self._worker = create_worker(
            self._job.events,
            _connect={
                "yielded": self._on_event,
                "errored": self._on_error,
                "finished": [self._on_finished, self._activity.close],
            },
            _ignore_errors=True,
        )

    def stop(self) -> None:
        """Stop the job after the batch under way; at once while it still loads."""
        if self._job is None:
            return
        self.was_stopped = True
        if self._loading:  # importing torch and reading weights cannot be interrupted otherwise
            self._job.kill()
        else:
            self._job.stop()

    def close(self) -> None:
        """Stop, and end the process; :meth:`start` would begin another."""
        self.stop()
        if self._jobs is not None and self._end_jobs is not None:
            self._widget.destroyed.disconnect(self._end_jobs)
            self._end_jobs()
            self._jobs = self._end_jobs = None

    def _on_gone(self) -> None:
        self._gone = self.was_stopped = True

    def _on_event(self, event: Any) -> None:
        if self._gone:
            return
        match event:
            case Predicting(done, total):
                self._loading = False
                if self.was_stopped:
                    return
                self.event.emit(event)
                self._activity.total = total
                # Last: napari's bar handles waiting events, the next of ours among them.
                self._activity.update(done - self._activity.n)
            case _ if not self.was_stopped:
                self.event.emit(event)

    def _on_error(self, error: Exception) -> None:
        if not (self._gone or (self.was_stopped and isinstance(error, JobFailed))):
            self.failed.emit(error)

    def _on_finished(self) -> None:
        self._worker = self._job = None
        if self._gone:
            return
        if self.was_stopped and self._jobs is not None:  # it may have been ended while it loaded
            self._jobs.start()
        self.finished.emit()


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
