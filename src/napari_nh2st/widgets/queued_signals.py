"""Delivery of signals that other threads have emitted for the viewer's thread."""

from psygnal.qt import start_emitting_from_queue
from qtpy.QtCore import QCoreApplication, Qt

_MS_BETWEEN = 30


def deliver_queued_signals() -> None:
    """Let the event loop of the application empty psygnal's queue, from now on.

    Sessions and slides without coarse levels work in threads of their own, without Qt.
    """
    if QCoreApplication.instance() is not None:
        start_emitting_from_queue(_MS_BETWEEN, Qt.TimerType.CoarseTimer)
