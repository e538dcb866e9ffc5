"""Job that can be stopped, also while it still loads, and also when it hangs."""

import threading
from collections.abc import Iterator
from typing import Protocol

from napari_nh2st.jobs.child_process import JobFailed

PATIENCE_S = 15.0
"""How long a job that was stopped may take for the batch under way. One that takes longer hangs:
its process was suspended, or waits for a network drive that is gone."""


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
