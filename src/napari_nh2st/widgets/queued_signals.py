"""Delivery, in the viewer's thread, of signals that other threads have emitted."""

from typing import Any

from psygnal.qt import start_emitting_from_queue
from qtpy.QtCore import QCoreApplication, Qt

from napari_nh2st.layers.coarse_levels import use_event_loop

_MS_BETWEEN = 30


def deliver_queued_signals(_npe2_context: Any = None) -> None:
    """Let the event loop of the application empty psygnal's queue, from now on.

    Sessions and slides without coarse levels work in threads of their own, without Qt. npe2 calls
    this when it activates the plugin.
    """
    if QCoreApplication.instance() is not None:
        start_emitting_from_queue(_MS_BETWEEN, Qt.TimerType.CoarseTimer)
        use_event_loop()
