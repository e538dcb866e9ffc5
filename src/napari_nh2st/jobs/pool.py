"""Jobs of the viewer in child processes: one that all share, and more while that is busy."""

import logging
import pickle
import threading
from collections.abc import Iterator
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.child_process import ChildProcess, JobFailed
from napari_nh2st.jobs.messages import Event, Failed, Finished, Message, Run, Send, Stop

_log = logging.getLogger(__name__)


class JobPool:
    """Runs jobs in child processes.

    A job takes the process that is idle, or starts one, so that it waits for no other job. One
    process stays idle: the last to run a job, which has its libraries and that job's model loaded.

    All methods may be called from any thread, and none but a job's events waits for a process:
    one that was suspended, or hangs on a network drive, does not take the viewer with it.

    Parameters
    ----------
    warm_up
        Modules that a process imports before its first job.
    """

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        self._warm_up = warm_up
        self._lock = threading.RLock()
        self._busy: list[ChildProcess] = []
        self._idle: ChildProcess | None = None
        self._closed = False

    @property
    def processes(self) -> list[ChildProcess]:
        """Those that run, the idle one last."""
        with self._lock:
            known = [*self._busy, *([] if self._idle is None else [self._idle])]
        return [process for process in known if process.is_usable]

    def start(self) -> None:
        """Start a process, if none runs; does not wait for it."""
        with self._lock:
            if not self._closed and not self.processes:
                self._keep(ChildProcess(self._warm_up))

    def job(self, name: str, /, **arguments: Any) -> "Job":
        """A job that is still to be run.

        Parameters
        ----------
        name
            Key of :data:`napari_nh2st.jobs.child.JOBS`.
        **arguments
            Arguments of the job; sent as a pickle.
        """
        return Job(self, Run(name, arguments))

    def run(self, name: str, /, **arguments: Any) -> Iterator[Any]:
        """Run a job to its end: :meth:`job` and its events."""
        yield from self.job(name, **arguments).events()

    def close(self, patience_s: float = 5.0) -> None:
        """End all processes, by force those that take longer; no other is started after that.

        Does not wait: a thread does.
        """
        with self._lock:
            self._closed = True
            for process in [*self._busy, *([] if self._idle is None else [self._idle])]:
                if not process.is_ending:
                    self._end(process, patience_s)
            self._idle = None

    # --- for jobs ---

    def _take(self, job: "Job") -> ChildProcess | None:
        """A process for a job; None if that shall not run any more."""
        with self._lock:
            if self._closed or job.is_unwanted:
                return None
            process, self._idle = self._idle, None
            if process is None or not process.is_usable:
                if process is not None:
                    process.close_files()
                process = ChildProcess(self._warm_up)
            self._busy.append(process)
            job.process = process
            return process

    def _give_back(self, process: ChildProcess) -> None:
        with self._lock:
            self._busy.remove(process)
            if not process.is_usable:
                process.close_files()
            else:
                self._keep(process)

    def _end(self, process: ChildProcess, patience_s: float = 5.0) -> None:
        """Let a process end, and see to it in a thread."""
        process.end()
        # Not a daemon: the application waits for it, so that no process is left behind.
        threading.Thread(
            target=self._wait, args=(process, patience_s), name="nh2st-end-job"
        ).start()

    def _wait(self, process: ChildProcess, patience_s: float) -> None:
        process.wait(patience_s)
        with self._lock:
            if process not in self._busy:  # else whoever reads its events closes them
                process.close_files()

    def _keep(self, process: ChildProcess) -> None:
        """Let a process wait for the next job, in the place of the one that did."""
        former, self._idle = self._idle, process
        if former is None:
            return
        if former.is_usable:
            self._end(former)
        else:
            former.close_files()


class Job:
    """One job of a :class:`JobPool`.

    What is sent to it reaches no other job: before its :meth:`events` have begun the last of it is
    kept, and after they have ended it is dropped.

    Attributes
    ----------
    process
        The process it runs in; None while it does not run.
    is_last
        Whether its process ends with it, and gives all memory back.
    is_unwanted
        Whether it was stopped, or killed, before it began, or killed since.
    """

    def __init__(self, pool: JobPool, run: Run) -> None:
        self._pool = pool
        self._run = run
        self._lock = pool._lock
        self.process: ChildProcess | None = None
        self.is_last = False
        self.is_unwanted = False
        self._is_sent = False
        self._kept: Send | Stop | None = None

    def events(self) -> Iterator[Any]:
        """Run it, once.

        Yields
        ------
        object
            Its events; none if it was stopped before it began.

        Raises
        ------
        InputError
            As the job raised it.
        JobFailed
            The job failed otherwise, or the process ended.
        """
        data = _pickled(self._run)
        process = self._pool._take(self)
        if process is None:
            return
        is_over = False
        try:
            process.write(data)
            self._send_kept(process)
            while True:
                match _read(process):
                    case Event(event):
                        yield event
                    case Failed(message, by_input, details):
                        is_over = True
                        raise InputError(message) if by_input else JobFailed(message, details)
                    case Finished():
                        is_over = True
                        return
        except JobFailed as error:
            if not self.is_unwanted:  # for bug reports: the viewer shows the message alone
                _log.error("Job %s: %s\n%s", self._run.job, error, error.details)
            raise
        finally:
            if not is_over:  # unread events would be taken for those of the next job
                process.kill()
            with self._lock:
                self.process = None
                if self.is_last and process.is_usable:
                    self._pool._end(process)
                self._pool._give_back(process)

    def send(self, content: Any) -> None:
        """Send something to it; of what is sent before it begins, it gets the last."""
        self._ask(Send(content))

    def stop(self) -> None:
        """Ask it to end with what it has; before it has begun, it never does."""
        self._ask(Stop())

    def kill(self) -> None:
        """End it at once, and its process with it, if it runs."""
        with self._lock:
            self.is_unwanted = True
            if self.process is not None:
                self.process.kill()

    def close(self, patience_s: float = 5.0) -> None:
        """End its process once it has stopped and stored what it has, by force if that takes
        longer; before it has begun, it never does."""
        with self._lock:
            if self.process is None:
                self.is_unwanted = True
            elif not self.process.is_ending:
                self._pool._end(self.process, patience_s)

    def _ask(self, message: Send | Stop) -> None:
        with self._lock:
            if self._is_sent:
                if self.process is not None:
                    self.process.write(_pickled(message))
            elif not isinstance(self._kept, Stop):
                self._kept = message
                if isinstance(message, Stop) and self.process is None:
                    self.is_unwanted = True

    def _send_kept(self, process: ChildProcess) -> None:
        with self._lock:
            self._is_sent = True
            if self._kept is not None:
                process.write(_pickled(self._kept))


def _read(process: ChildProcess) -> Message:
    try:
        return process.read()
    except EOFError:
        if process.is_ending:
            return Finished()
        raise process.failure() from None


def _pickled(message: Message) -> bytes:
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
