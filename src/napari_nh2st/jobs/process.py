"""The viewer's side of a child process: start it, run jobs in it, tell it things, end it."""

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from typing import IO, Any, cast

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.environment import child_environment
from napari_nh2st.jobs.messages import Event, Failed, Finished, Message, Run, Stop, Tell

_LAST_WORDS = 2000
"""Bytes of its error output that are looked at when a child has ended by itself."""

_LONGEST_END_S = 10.0
"""How long a process that tells nothing any more may take to end."""

_log = logging.getLogger(__name__)


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
    """A Python process that runs one job after the other, and stays ready for the next.

    All methods may be called from any thread, and none but a job's events waits for the process:
    one that was suspended, or hangs on a network drive, does not take the viewer with it. A job
    that is asked for while another runs waits for its turn.

    Parameters
    ----------
    warm_up
        Modules to import while nothing is asked of it yet.
    """

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        self._warm_up = warm_up
        # Held while any of the following changes; tells jobs that wait for their turn.
        self._changed = threading.Condition()
        self._process: _Child | None = None
        self._job: Job | None = None
        self._closed = False

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.is_alive

    def start(self) -> None:
        """Start the process, if it does not run; does not wait for it."""
        with self._changed:
            if self.is_alive or self._closed:
                return
            former, self._process = self._process, _Child(self._warm_up)
            if former is not None:
                self._let_go(former)

    def job(self, name: str, /, **arguments: Any) -> "Job":
        """A job that is still to be run.

        Parameters
        ----------
        name
            Key of :data:`napari_nh2st.jobs.child.JOBS`.
        **arguments
            What it takes; sent as a pickle.
        """
        return Job(self, Run(name, arguments))

    def run(self, name: str, /, **arguments: Any) -> Iterator[Any]:
        """Run a job that is neither told anything nor stopped: :meth:`job` and its events."""
        yield from self.job(name, **arguments).events()

    def close(self, patience_s: float = 5.0) -> None:
        """End the process, by force if it takes longer; no other is started after that.

        Does not wait: a thread sees to it. Jobs that wait for their turn end without an event.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            child = self._process
            if child is None:
                return
            if not child.is_alive:
                self._let_go(child)
                return
        # At the end of its input a child stops its job, stores what it has, and ends.
        child.close_input()
        # Not a daemon: the application waits for it, so that no process is left behind.
        threading.Thread(
            target=self._see_it_end, args=(child, patience_s), name="nh2st-end-job"
        ).start()

    # --- for jobs ---

    def _take_turn(self, job: "Job") -> "_Child | None":
        """Wait until no other job runs; None if this one shall not run any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._job is None or self._closed or job.is_unwanted)
            if self._closed or job.is_unwanted:
                return None
            self.start()
            self._job, job.child = job, self._process
            return job.child

    def _end_turn(self, child: "_Child") -> None:
        with self._changed:
            self._job = None
            self._changed.notify_all()
            if child is not self._process or not child.is_alive:
                self._let_go(child)

    # --- inside ---

    def _let_go(self, child: "_Child") -> None:
        """Close the files of a process that has ended, unless a job still reads them."""
        with self._changed:
            if self._job is None or self._job.child is not child:
                child.close_files()

    def _see_it_end(self, child: "_Child", patience_s: float) -> None:
        try:
            child.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            child.kill()
        self._let_go(child)


class Job:
    """One job of a :class:`JobProcess`.

    What is asked of it is asked of no other job of the process: before its :meth:`events` have
    begun it is kept, and after they have ended it is dropped.

    Attributes
    ----------
    child
        The process it runs in; None while it does not run.
    is_unwanted
        Whether it was stopped, or killed, before it began, or killed since.
    """

    def __init__(self, jobs: JobProcess, run: Run) -> None:
        self._jobs = jobs
        self._run = run
        self._changed = jobs._changed
        self.child: _Child | None = None
        self.is_unwanted = False
        self._is_sent = False
        self._kept: Tell | Stop | None = None

    def events(self) -> Iterator[Any]:
        """Run it, once, as soon as no other job runs.

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
        child = self._jobs._take_turn(self)
        if child is None:
            return
        is_over = False
        try:
            child.write(data)
            self._send_kept(child)
            while True:
                match self._receive(child):
                    case Event(what):
                        yield what
                    case Failed(message, by_input, details):
                        is_over = True
                        raise InputError(message) if by_input else JobFailed(message, details)
                    case Finished():
                        is_over = True
                        return
        except JobFailed as error:
            if not self.is_unwanted:  # for whoever reports it: the viewer shows the message alone
                _log.error("Job %s: %s\n%s", self._run.job, error, error.details)
            raise
        finally:
            if not is_over:  # nobody listens any more: what is still sent would be read by the next
                child.kill()
            with self._changed:
                self.child = None
                self._jobs._end_turn(child)

    def tell(self, what: Any) -> None:
        """Send something to it; of what is told before it begins, it gets the last."""
        self._ask(Tell(what))

    def stop(self) -> None:
        """Ask it to end with what it has; before it has begun, it never does."""
        self._ask(Stop())

    def kill(self) -> None:
        """End it at once, and its process with it, if it runs; another one's job runs on."""
        with self._changed:
            self.is_unwanted = True
            self._changed.notify_all()
            if self.child is not None:
                self.child.kill()

    def _ask(self, message: Tell | Stop) -> None:
        with self._changed:
            if self._is_sent:
                if self.child is not None:
                    self.child.write(_pickled(message))
            elif not isinstance(self._kept, Stop):
                self._kept = message
                if isinstance(message, Stop) and self.child is None:
                    self.is_unwanted = True
                    self._changed.notify_all()

    def _send_kept(self, child: "_Child") -> None:
        with self._changed:
            self._is_sent = True
            if self._kept is not None:
                child.write(_pickled(self._kept))

    def _receive(self, child: "_Child") -> Message:
        try:
            return child.read()
        except EOFError:
            if self._jobs._closed:
                return Finished()
            raise JobFailed(*child.how_it_ended()) from None


class _Child:
    """The process itself, and the files that join it to this one."""

    def __init__(self, warm_up: tuple[str, ...]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close_files
        self._is_killed = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "napari_nh2st.jobs.child", *warm_up],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Threads that wait for each other sleep: spinning, they would take the cores
            # that the viewer draws with.
            env={"OMP_WAIT_POLICY": "PASSIVE"} | child_environment(),
            # Below the viewer's priority, so that this stays fluid on few cores.
            creationflags=_windows_flags(),
        )
        # Who tells it something does not wait until it listens.
        self._to_write: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.writer = threading.Thread(target=self._write_all, name="nh2st-to-job", daemon=True)
        self.writer.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return not self._is_killed and self.process.poll() is None

    def write(self, data: bytes) -> None:
        """Send a message, in a thread; that it cannot be sent is seen by whoever reads."""
        self._to_write.put(data)

    def _write_all(self) -> None:
        """Send what is to be sent, and close the input after it."""
        stream = cast(IO[bytes], self.process.stdin)
        with contextlib.suppress(OSError):  # a broken pipe
            while (data := self._to_write.get()) is not None:
                stream.write(data)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def read(self) -> Message:
        """Wait for a message.

        Raises
        ------
        EOFError
            There are no more.
        JobFailed
            It cannot be read.
        """
        try:
            return cast(Message, pickle.load(cast(IO[bytes], self.process.stdout)))
        except (EOFError, pickle.UnpicklingError):  # nothing, or a message that is cut off
            raise EOFError from None
        except Exception as error:  # where the next message begins is not known any more
            text = f"What the process told cannot be read: {type(error).__name__}: {error}"
            raise JobFailed(text, traceback.format_exc()) from error

    def how_it_ended(self) -> tuple[str, str]:
        """In a sentence, and its last words."""
        try:
            code = self.process.wait(_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return "The process that did the work does not end", ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_WORDS))
        words = self._errors.read().decode(errors="replace").strip()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = "; is there enough memory?" if code in (-9, 137) else ""
        last = f": {words.splitlines()[-1]}" if words else ""
        return f"The process that did the work {how}{hint}{last}", words

    def kill(self) -> None:
        """End it; does not wait until the system has done so."""
        if self.is_alive:
            self._is_killed = True
            self.process.kill()
            threading.Thread(target=self.process.wait, name="nh2st-ended-job", daemon=True).start()

    def close_input(self) -> None:
        """Let its input end, after what is still to be sent."""
        self._to_write.put(None)

    def close_files(self) -> None:
        self.close_input()
        with contextlib.suppress(OSError):
            cast(IO[bytes], self.process.stdout).close()
        self._errors.close()


def _pickled(message: Message) -> bytes:
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def _windows_flags() -> int:
    names = ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")
    return sum(int(getattr(subprocess, name, 0)) for name in names)
