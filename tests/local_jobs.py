"""Jobs run in the tests' own process, so that what arrives in the core can be looked at."""

import pickle
from collections.abc import Iterator
from typing import Any

from napari_nh2st.jobs.child import Inbox, find_job


class LocalJobs:
    """As :class:`~napari_nh2st.jobs.JobProcess`, without a process.

    What is sent is pickled and read again, as it would be on its way to another process.
    """

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        self.inbox = Inbox()
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.events: list[list[Any]] = []
        self.closed = False

    @property
    def is_alive(self) -> bool:
        return not self.closed

    def start(self) -> None:
        pass

    def run(self, job: str, **arguments: Any) -> Iterator[Any]:
        self.inbox = Inbox()
        arguments = pickle.loads(pickle.dumps(arguments))
        self.runs.append((job, arguments))
        self.events.append([])
        for event in find_job(job)(self.inbox, **arguments):
            self.events[-1].append(event)
            yield pickle.loads(pickle.dumps(event))

    def tell(self, what: Any) -> None:
        self.inbox.put(what)

    def stop(self) -> None:
        self.inbox.stop()

    def close(self, patience_s: float = 5.0) -> None:
        self.closed = True
        self.inbox.stop()

    kill = close
