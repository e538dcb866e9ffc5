"""Jobs that go on when a test sends something; a child process that imports this knows them."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any


def echo(inbox: Any, *, first: str) -> Iterator[str]:
    """Emit what is sent to it, until that is "end" or it is stopped."""
    sent: SimpleQueue[str] = SimpleQueue()
    inbox.listen(sent.put)
    yield first
    while not inbox.stopped():
        with suppress(Empty):  # a stop wakes nobody
            if (what := sent.get(timeout=0.02)) == "end":
                return
            yield f"{first} {what}"
    yield f"{first} stopped"


def unpicklable(_inbox: Any) -> Iterator[Any]:
    """Tell what cannot be sent."""
    yield "before"
    yield ["x" * 100_000, lambda: None]


def variable(_inbox: Any, *, name: str) -> Iterator[str | None]:
    """Emit a variable of the environment."""
    yield os.environ.get(name)


class OnlyHere:
    """What another process cannot read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail_elsewhere, (sys.argv[0],)


def _fail_elsewhere(_where: str) -> None:
    raise RuntimeError("not in this process")


_child = sys.modules["__main__"]
if getattr(_child.__spec__, "name", "") == "napari_nh2st.jobs.child":
    _child.JOBS = dict(_child.JOBS) | {  # type: ignore[attr-defined]
        name: f"process_jobs:{name}" for name in ("echo", "unpicklable", "variable")
    }
