"""Ctrl-C and SIGTERM: what is lost, and what is said.

Imports nothing that takes time: from its first line on, no signal ends in a traceback.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

STOPPED = 1
"""Exit code."""

_MOMENT_S = 0.05
_LONGEST_END_S = 1.0

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
"""SIGHUP: the terminal is gone. SIGBREAK: Ctrl-Break on Windows, which has no SIGTERM to catch."""


class StopRequest:
    """What the signals that stop a command do, in each part of its work.

    A context manager. The second signal always ends the command at once. The first one

    - ends it at once as well where nothing would be lost, which is everywhere but
    - within :meth:`cleaning_up`, where it raises ``KeyboardInterrupt``, and
    - while ``graceful`` is true, where it is a wish that the work grants: calling this object tells
      whether there is one.

    Parameters
    ----------
    owns_process
        Whether the process may be ended. Without it, signals raise ``KeyboardInterrupt``.

    Attributes
    ----------
    graceful
        Set by the work.
    silent
        Nothing is said: this process helps another one, which says it.
    """

    def __init__(self, *, owns_process: bool = False) -> None:
        self.graceful = False
        self.silent = os.environ.get("LOCAL_RANK", "0") != "0"
        self._owns_process = owns_process
        self._cleans_up = False
        self._asked = False
        self._is_ending = threading.Lock()
        self._exit_code: int | None = None
        self._before: dict[int, Any] = {}
        self._wakeup: socket.socket | None = None
        self._to_raise_again = self._raised_again = 0

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> "StopRequest":
        # Signals reach the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                    self._before[number] = signal.signal(number, self._on_signal)
            if self._owns_process:
                self._watch()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        if not self._owns_process:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """Work inside which has something to save or to clear away when it is stopped."""
        before, self._cleans_up = self._cleans_up, True
        try:
            yield
        finally:
            self._cleans_up = before

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if a stop was asked for and somebody has swallowed it."""
        if self._asked and not self.graceful:
            raise KeyboardInterrupt

    def finish(self, code: int) -> None:
        """All is done: from now on a signal ends the process with this exit code, silently."""
        self._exit_code = code

    def _on_signal(self, number: int, frame: "FrameType | None") -> None:
        if self._exit_code is not None and self._owns_process:
            os._exit(self._exit_code)
        if not self._asked:
            self._asked = True
            if self.graceful:
                return
            if self._owns_process and not self._cleans_up:
                self._end("Stopped.")
        elif self._to_raise_again:
            self._to_raise_again -= 1
        elif self._owns_process:
            self._end("Stopped at once.")
        raise KeyboardInterrupt

    def _end(self, text: str) -> "NoReturn":
        # Two threads may come here, and one be interrupted: the first ends the process. Should it
        # hang on a terminal that takes no more, the next one does.
        if not self._is_ending.acquire(blocking=False):
            time.sleep(_LONGEST_END_S)
            os._exit(STOPPED)
        # Not through sys.stderr: a print to it may be what was interrupted.
        if not self.silent:
            with suppress(OSError):
                newline = "\n" if os.isatty(2) else ""
                os.write(2, f"{newline}nh2st: {text}\n".encode())
        os._exit(STOPPED)

    # --- what Python's own handling of signals leaves open ---

    def _watch(self) -> None:
        """End on a second signal also while the main thread is deep in a library's C code."""
        import atexit
        import socket

        # Registered first and hence called last: what follows takes moments, and no Python runs
        # any more that could choose the exit code.
        atexit.register(self._ignore)
        self._wakeup, heard = socket.socketpair()
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(heard,), name="nh2st-stop", daemon=True).start()
        sys.unraisablehook = self._on_unraisable
        threading.excepthook = self._on_thread_error

    def _ignore(self) -> None:
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _listen(self, heard: "socket.socket") -> None:
        count = 0
        while received := heard.recv(64):
            count += sum(number in self._before for number in received)
            if count - self._raised_again > 1:
                if self._exit_code is not None:
                    os._exit(self._exit_code)
                self._end("Stopped at once.")

    def _on_unraisable(self, problem: "sys.UnraisableHookArgs") -> None:
        """Raise again what was raised where nothing can be raised, such as in a destructor."""
        if isinstance(problem.exc_value, KeyboardInterrupt):
            self._to_raise_again += 1
            self._raised_again += 1
            # By another thread and a moment later: here nothing can be raised either.
            threading.Timer(_MOMENT_S, _interrupt_main_thread).start()
        elif not self._asked:
            sys.__unraisablehook__(problem)

    def _on_thread_error(self, problem: "threading.ExceptHookArgs") -> None:
        if not self._asked:
            threading.__excepthook__(problem)


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # ends its waiting, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main(signal.SIGINT)
