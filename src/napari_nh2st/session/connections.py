"""Connections of a dock with signals that outlive it, made and let go together."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from psygnal import SignalInstance


class Connections:
    """Connects slots while it is open, and disconnects them all when it is closed.

    It is no QObject: Qt calls no method of a widget that it has destroyed, but it does call
    :meth:`close` of this, which whoever makes it connects to ``destroyed``.

    Attributes
    ----------
    is_open
        Whether what was added is connected.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._connected: list[tuple[Any, Callable[..., Any]]] = []
        self._on_open: list[Callable[[], Any]] = []
        self._on_close: list[Callable[[], Any]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a slot, now or as soon as it is opened, and each time that it is opened again.

        Parameters
        ----------
        signal
            Signal of psygnal or Qt, or one of napari's events.
        slot
            Called while it is open.
        """
        self._connected.append((signal, slot))
        if self.is_open:
            signal.connect(slot)

    def remove(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Let one go for good, as when a layer is removed; nothing if it was not added."""
        # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
        kept = [(s, f) for s, f in self._connected if not (s == signal and f == slot)]
        if len(kept) < len(self._connected):
            self._connected = kept
            if self.is_open:
                _disconnect(signal, slot)

    def when_opened(self, function: Callable[[], Any]) -> None:
        """Call this when all is connected; at once where it is."""
        self._on_open.append(function)
        if self.is_open:
            function()

    def when_closed(self, function: Callable[[], Any]) -> None:
        """Call this when all was disconnected, also where Qt has destroyed the widget by then.

        Parameters
        ----------
        function
            Touches no widget.
        """
        self._on_close.append(function)

    def open(self) -> None:
        """Connect everything; nothing if that is done."""
        if not self.is_open:
            self.is_open = True
            for signal, slot in self._connected:
                signal.connect(slot)
            for function in list(self._on_open):
                function()

    def close(self, *_of_the_signal: object) -> None:
        """Disconnect everything; nothing if that is done."""
        if self.is_open:
            self.is_open = False
            for signal, slot in self._connected:
                _disconnect(signal, slot)
            for function in list(self._on_close):
                function()


def _disconnect(signal: Any, slot: Callable[..., Any]) -> None:
    if isinstance(signal, SignalInstance):
        signal.disconnect(slot, missing_ok=True)
        return
    # Qt's raise where either side is gone; PySide6's do so by a SystemError.
    with suppress(TypeError, RuntimeError, ValueError, SystemError):
        signal.disconnect(slot)
