"""Background work of the docks: a function runs in a thread, and of several calls the latest wins.

Results arrive in the thread of the viewer, or not at all: not after :meth:`Background.stop`, and
not once the :class:`Background` is gone. Threads are Python's own, which the interpreter waits for
when it ends. Those of Qt's thread pool go on while Qt's objects are deleted around them.
"""

import inspect
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject, QTimer
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]  # qtpy re-exports

STOP: Any = object()
"""Among the arguments of a call it stands for a :class:`threading.Event`, which is set when nobody
waits for the call any more."""


class _Call(NamedTuple):
    """A function that is to be called, and who gets what it returns."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    done: Callable[[Any], None] | None
    failed: Callable[[Exception], None] | None


class Background(QObject):
    """Calls functions in a thread; a newer call takes the place of an older one.

    Without a pause, a call starts at once, and what an older one still brings is dropped. With
    ``throttle_ms``, calls run one after another: the one under way still arrives, and of those that
    wait only the latest is made.

    Parameters
    ----------
    parent
        Its end is the end of this, too. A :class:`~napari_nh2st.widgets.dock.Dock` stops what its
        widgets have under way when it is closed.
    debounce_ms
        Wait this long for a newer call before a call starts.
    throttle_ms
        Wait at least this long between the end of a call and the start of the next.

    Attributes
    ----------
    busy_changed
        Emitted with whether a call is under way or waits, when that changes; after the last result
        has arrived.

    Examples
    --------
    .. code-block:: python

        self._looking = Background(self, debounce_ms=300)
        self._looking.start(find_tissue, slide, done=self._show, failed=self._show_failure)
    """

    busy_changed = Signal(bool)

    def __init__(
        self, parent: QObject | None = None, *, debounce_ms: int = 0, throttle_ms: int = 0
    ) -> None:
        super().__init__(parent)
        self._debounce_ms = debounce_ms
        self._throttle_ms = throttle_ms
        self._waiting: _Call | None = None
        self._running: tuple[int, _Call] | None = None
        self._stop = threading.Event()
        self._ended = -float("inf")
        self._was_busy = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._begin)
        stop = self._stop_of_destroyed = _Stop()
        self.destroyed.connect(stop)  # no method of this: Qt calls none of those by then

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way or waits."""
        return self._running is not None or self._waiting is not None

    def start(
        self,
        function: Callable[..., Any],
        *args: Any,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[Exception], None] | None = None,
        now: bool = False,
        **kwargs: Any,
    ) -> None:
        """Call a function in a thread, with what follows as its arguments.

        Parameters
        ----------
        function
            A plain function rather than a method of a widget, which the thread would keep. Where it
            returns a generator, each of its items arrives by itself.
        done, failed
            Called in the viewer's thread with what it returns (with each item of a generator), and
            with the exception that it ended in.
        now
            Do not wait for the pause; a throttled call under way is waited for.
        """
        self._waiting = _Call(function, args, kwargs, done, failed)
        if self._throttle_ms:
            if now:
                self._ended = -float("inf")
            self._begin_soon()
        elif self._debounce_ms and not now:
            self._timer.start(self._debounce_ms)
        else:
            self._begin()
        self._emit_busy()

    def stop(self) -> None:
        """Drop what waits and what is under way: a generator is closed after its next item."""
        self._timer.stop()
        self._waiting = self._running = None
        self._stop.set()
        self._emit_busy()

    def _begin_soon(self) -> None:
        if self._running is None and self._waiting is not None:
            left = self._ended + self._throttle_ms / 1000 - time.monotonic()
            self._timer.start(max(0, round(left * 1000)) if left > 0 else 0)

    def _begin(self) -> None:
        if self._waiting is None or (self._throttle_ms and self._running is not None):
            return
        self._timer.stop()
        self._stop.set()
        self._stop = self._stop_of_destroyed.event = threading.Event()
        call, self._waiting = self._waiting, None
        number = next(_numbers)
        self._running = number, call
        _under_way[number] = self
        threading.Thread(
            target=_run,
            args=(number, self._stop, call.function, call.args, call.kwargs, _mailbox()),
            name="nh2st-background",
        ).start()

    def _receive(self, number: int, kind: str, value: Any) -> None:
        """Take what a thread has sent, unless nobody waits for it any more."""
        if self._running is None or self._running[0] != number or self._stop.is_set():
            return
        call = self._running[1]
        if kind == "item" and call.done is not None:
            call.done(value)
            return
        if kind == "item":
            return
        self._running = None
        self._ended = time.monotonic()
        try:
            if kind == "returned" and call.done is not None:
                call.done(value)
            elif kind == "failed" and call.failed is not None:
                call.failed(value)
        finally:
            if self._throttle_ms:
                self._begin_soon()
            self._emit_busy()

    def _emit_busy(self) -> None:
        if self.is_busy != self._was_busy:
            self._was_busy = self.is_busy
            self.busy_changed.emit(self._was_busy)


class _Stop:
    """Sets the event of the call under way; called when its :class:`Background` is destroyed."""

    event: threading.Event | None = None  # also when the interpreter has cleared it

    def __call__(self, *_of_the_signal: object) -> None:
        if self.event is not None:
            self.event.set()


class _Mailbox(QObject):
    """Lives in the viewer's thread and hands on what other threads send."""

    sent = QtSignal(int, str, object)

    def __init__(self) -> None:
        super().__init__()
        self.sent.connect(self._hand_on)

    def _hand_on(self, number: int, kind: str, value: Any) -> None:
        background = _under_way.get(number)
        if kind != "item":
            _under_way.pop(number, None)
        if background is not None:
            background._receive(number, kind, value)


_numbers = count()
_under_way: "WeakValueDictionary[int, Background]" = WeakValueDictionary()
"""By the number of a call: a thread holds no :class:`Background`, which it might delete."""

_the_mailbox: _Mailbox | None = None


def _mailbox() -> _Mailbox:
    """The one of the application, made in the viewer's thread."""
    global _the_mailbox
    if _the_mailbox is None:
        _the_mailbox = _Mailbox()
        application = QCoreApplication.instance()
        assert application is not None
        application.aboutToQuit.connect(_stop_all)
    return _the_mailbox


def _stop_all() -> None:
    for background in list(_under_way.values()):
        background.stop()


def _run(
    number: int,
    stop: threading.Event,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    mailbox: _Mailbox,
) -> None:
    """Call the function, in its thread, and send what comes of it."""

    def send(kind: str, value: Any) -> None:
        with suppress(RuntimeError):  # Qt deletes the mailbox with the application
            mailbox.sent.emit(number, kind, value)

    try:
        result = function(*(stop if arg is STOP else arg for arg in args), **kwargs)
        if inspect.isgenerator(result):
            for item in result:
                if stop.is_set():
                    break
                send("item", item)
            result.close()
    except Exception as error:
        send("failed", error)
    else:
        send(*("ended", None) if inspect.isgenerator(result) else ("returned", result))
