"""A child process, seen from the viewer: started, written to, read from, ended."""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from typing import IO, cast

from napari_nh2st.jobs.environment import child_environment
from napari_nh2st.jobs.messages import Message
from napari_nh2st.thread_waits import short_waits

_LAST_OUTPUT = 2000
"""Bytes at the end of its error output that explain why a child has ended by itself."""

_LONGEST_END_S = 10.0
"""How long a process that has closed its output may take to end."""


class JobFailed(Exception):
    """A job ended in an error that is not the user's, or its process died.

    Attributes
    ----------
    details
        The traceback, or the last error output of the process.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class ChildProcess:
    """A Python process that runs jobs, and the pipes and files that join it to this one.

    Parameters
    ----------
    warm_up
        Modules that it imports before its first job.
    """

    def __init__(self, warm_up: tuple[str, ...]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close_files
        self._is_ending = self._is_killed = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "napari_nh2st.jobs.child", *warm_up],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Spinning, threads that wait for each other would take the cores that the viewer
            # draws with.
            env=short_waits() | child_environment(),
            # Below the viewer's priority, so that this stays fluid on few cores.
            creationflags=_windows_flags(),
        )
        # A thread writes: the viewer does not wait for a child that does not read.
        self._to_write: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.writer = threading.Thread(target=self._write_all, name="nh2st-to-job", daemon=True)
        self.writer.start()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self.process.pid

    @property
    def is_ending(self) -> bool:
        """Whether it was asked to end with what it has."""
        return self._is_ending

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and is to run further jobs."""
        return not (self._is_ending or self._is_killed) and self.process.poll() is None

    def write(self, data: bytes) -> None:
        """Send a pickled message, in a thread; a failure is seen by the thread that reads."""
        self._to_write.put(data)

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
            text = f"An event of the job cannot be read: {type(error).__name__}: {error}"
            raise JobFailed(text, traceback.format_exc()) from error

    def failure(self) -> JobFailed:
        """Why it has ended by itself, as an error to raise; waits for its end."""
        try:
            code = self.process.wait(_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return JobFailed("The worker process does not end")
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _LAST_OUTPUT))
        output = self._errors.read().decode(errors="replace").strip()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = "; is there enough memory?" if code in (-9, 137) else ""
        last = f": {output.splitlines()[-1]}" if output else ""
        return JobFailed(f"The worker process {how}{hint}{last}", output)

    def end(self) -> None:
        """Let it stop its job, store what it has, and end; does not wait."""
        self._is_ending = True
        self._to_write.put(None)  # a child ends with its input

    def wait(self, patience_s: float) -> None:
        """Wait for its end; kill it if that takes longer."""
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once; does not wait until the system has done so."""
        if not self._is_killed and self.process.poll() is None:
            self._is_killed = True
            self.process.kill()
            threading.Thread(target=self.process.wait, name="nh2st-ended-job", daemon=True).start()

    def close_files(self) -> None:
        """Close the pipes, and the file of its error output."""
        self._to_write.put(None)
        with contextlib.suppress(OSError):
            cast(IO[bytes], self.process.stdout).close()
        self._errors.close()

    def _write_all(self) -> None:
        """Send what is to be sent, and close the input after it."""
        stream = cast(IO[bytes], self.process.stdin)
        with contextlib.suppress(OSError):  # a broken pipe
            while (data := self._to_write.get()) is not None:
                stream.write(data)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()


def _windows_flags() -> int:
    names = ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")
    return sum(int(getattr(subprocess, name, 0)) for name in names)
