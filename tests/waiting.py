"""Waiting for what threads of a session bring, without an event loop."""

import time
from collections.abc import Callable

from psygnal import emit_queued


def wait_until(
    condition: Callable[[], bool], seconds: float = 20.0, *, deliver: bool = True
) -> None:
    """Deliver what threads have emitted until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        if deliver:
            emit_queued()
        time.sleep(0.005)
