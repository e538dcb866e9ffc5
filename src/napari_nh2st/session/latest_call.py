"""Calls in a thread: of those that wait, the latest is made."""

import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

from psygnal import Signal


class LatestCall:
    """Calls a function in a thread whenever asked, one call at a time, and only so often.

    What it returns arrives in the main thread: in an application where its event loop empties
    psygnal's queue, elsewhere when :func:`psygnal.emit_queued` is called.

    Parameters
    ----------
    function
        Called in a thread.
    seconds
        At least this long from the end of one call to the start of the next.

    Attributes
    ----------
    done
        Emitted in the main thread with what the function returned.
    failed
        Emitted in the main thread with the exception that it raised.
    """

    done = Signal(object)
    failed = Signal(object)
    _ended = Signal(object, object)

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        self.function = function
        self.seconds = seconds
        self._wanted: tuple[Any, ...] | None = None
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._is_running = False
        self._undelivered = 0
        deliver = WeakMethod(self._deliver)

        def deliver_while_there(*ended: Any) -> None:
            if (there := deliver()) is not None:
                there(*ended)

        # psygnal's queue raises where it finds a method of something that is gone.
        self._ended.connect(deliver_while_there, thread="main")

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits, and all that was returned has arrived."""
        with self._lock:
            return not self._is_running and not self._undelivered

    def request(self, *arguments: Any, now: bool = False) -> None:
        """Call the function with these arguments, soon; a request that still waits is dropped.

        Parameters
        ----------
        *arguments
            Arguments of the function.
        now
            Do not wait for the time since the last call; a call under way is waited for.
        """
        with self._lock:
            self._wanted = arguments
            if now:
                self._not_before = 0.0
            self._asked.set()
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._work, name="nh2st-session", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._asked.clear()
                left = self._not_before - time.monotonic()
                arguments = self._wanted
                if arguments is None:
                    self._is_running = False
                    return
                if left <= 0:
                    self._wanted = None
            if left > 0:
                self._asked.wait(left)
            else:
                self._call(arguments)

    def _call(self, arguments: tuple[Any, ...]) -> None:
        result, failure = None, None
        try:
            result = self.function(*arguments)
        except Exception as error:
            failure = error
        with self._lock:
            self._not_before = time.monotonic() + self.seconds
            self._undelivered += 1
        self._ended.emit(result, failure)

    def _deliver(self, result: Any, failure: Exception | None) -> None:
        try:
            if failure is None:
                self.done.emit(result)
            else:
                self.failed.emit(failure)
        finally:
            with self._lock:
                self._undelivered -= 1
