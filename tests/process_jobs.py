"""Jobs that a test tells when to go on; a child process that imports this knows them."""

import sys
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any


def echo(inbox: Any, *, first: str) -> Iterator[str]:
    """Tell what it is told, until that is "end" or it is stopped."""
    told: SimpleQueue[str] = SimpleQueue()
    inbox.listen(told.put)
    yield first
    if inbox.stopped():
        yield f"{first} stopped"
        return
    while (what := told.get()) != "end":
        yield f"{first} {what}"
        if inbox.stopped():
            yield f"{first} stopped"
            return


def unpicklable(_inbox: Any) -> Iterator[Any]:
    """Tell what cannot be told."""
    yield "before"
    yield ["x" * 100_000, lambda: None]


class OnlyHere:
    """What another process cannot read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail_elsewhere, (sys.argv[0],)


def _fail_elsewhere(_where: str) -> None:
    raise RuntimeError("not in this process")


_child = sys.modules["__main__"]
if getattr(_child.__spec__, "name", "") == "napari_nh2st.jobs.child":
    _child.JOBS = dict(_child.JOBS) | {  # type: ignore[attr-defined]
        name: f"process_jobs:{name}" for name in ("echo", "unpicklable")
    }
