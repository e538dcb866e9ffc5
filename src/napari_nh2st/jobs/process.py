"""The viewer's side of a child process: start it, run jobs in it, tell it things, end it."""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.messages import Event, Failed, Finished, Message, Run, Stop, Tell

_LAST_WORDS = 2000
"""Bytes of its error output that are looked at when a child has ended by itself."""


class JobFailed(Exception):
    """A job ended in an error that is not the user's, or its process died.

    Attributes
    ----------
    details
        The traceback, or the last words of the process.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class JobProcess:
    """A Python process that runs one job at a time, and stays ready for the next.

    All methods may be called from any thread; :meth:`run` by one at a time.

    Parameters
    ----------
    warm_up
        Modules to import while nothing is asked of it yet.
    """

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        self._warm_up = warm_up
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._closed = False

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, if it does not run; does not wait for it."""
        with self._lock:
            if self.is_alive or self._closed:
                return
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-m", "napari_nh2st.jobs.child", *self._warm_up],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Threads that wait for each other sleep: spinning, they would take the cores
                # that the viewer draws with.
                env={"OMP_WAIT_POLICY": "PASSIVE"} | dict(os.environ),
                # Below the viewer's priority, so that this stays fluid on few cores.
                creationflags=_windows_flags(),
            )

    def run(self, job: str, **arguments: Any) -> Iterator[Any]:
        """Run a job.

        Parameters
        ----------
        job
            Key of :data:`napari_nh2st.jobs.child.JOBS`.
        **arguments
            What it takes; sent as a pickle.

        Yields
        ------
        object
            Its events.

        Raises
        ------
        InputError
            As the job raised it.
        JobFailed
            The job failed otherwise, or the process ended.
        """
        self.start()
        self._send(Run(job, arguments))
        process = self._process
        if process is None:
            return
        ended = False
        try:
            while True:
                match self._receive(process):
                    case Event(what):
                        yield what
                    case Failed(message, by_input, details):
                        ended = True
                        raise InputError(message) if by_input else JobFailed(message, details)
                    case Finished():
                        ended = True
                        return
        finally:
            if not ended:  # nobody listens any more: what is still sent would be read by the next
                self.kill()

    def tell(self, what: Any) -> None:
        """Send something to the job that runs; nothing happens if there is none."""
        if self.is_alive:
            with contextlib.suppress(JobFailed):
                self._send(Tell(what))

    def stop(self) -> None:
        """Ask the job that runs to end with what it has."""
        if self.is_alive:
            with contextlib.suppress(JobFailed):
                self._send(Stop())

    def close(self, patience_s: float = 5.0) -> None:
        """End the process, by force if it takes longer; no other is started after that.

        Does not wait: a thread sees to it.
        """
        with self._lock:
            self._closed = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        # At the end of its input a child stops its job, stores what it has, and ends.
        with contextlib.suppress(OSError):
            cast(IO[bytes], process.stdin).close()
        # Not a daemon: the application waits for it, so that no process is left behind.
        threading.Thread(target=_end, args=(process, patience_s), name="nh2st-end-job").start()

    def kill(self) -> None:
        """End the process at once; the next job starts another."""
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def _send(self, message: Message) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            with self._lock:
                process.stdin.write(data)
                process.stdin.flush()
        except (OSError, ValueError):  # broken pipe, or closed by us
            if not self._closed:
                raise JobFailed(*self._how_it_ended(process)) from None

    def _receive(self, process: "subprocess.Popen[bytes]") -> Message:
        try:
            return cast(Message, pickle.load(cast(IO[bytes], process.stdout)))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            if self._closed:
                return Finished()
            raise JobFailed(*self._how_it_ended(process)) from None

    def _how_it_ended(self, process: "subprocess.Popen[bytes]") -> tuple[str, str]:
        code = process.wait()
        words = ""
        if self._errors is not None:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - _LAST_WORDS))
            words = self._errors.read().decode(errors="replace").strip()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = "; is there enough memory?" if code in (-9, 137) else ""
        last = f": {words.splitlines()[-1]}" if words else ""
        return f"The process that did the work {how}{hint}{last}", words


def _end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        with contextlib.suppress(OSError):
            process.stdout.close()


def _windows_flags() -> int:
    names = ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")
    return sum(int(getattr(subprocess, name, 0)) for name in names)
