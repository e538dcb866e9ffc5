"""Jobs run in the tests' own process, so that what arrives in the core can be looked at."""

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

from napari_nh2st.jobs.child import Inbox, find_job


class LocalJobs:
    """As :class:`~napari_nh2st.jobs.JobPool`, without a process.

    What is sent is pickled and read again, as it would be on its way to another process.

    Attributes
    ----------
    n_started
        How often a process was asked for.
    n_ended
        How many jobs would have ended their process.
    """

    def __init__(self, warm_up: tuple[str, ...] = ()) -> None:
        self.inbox = Inbox()
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.events: list[list[Any]] = []
        self.closed = False
        self.n_started = self.n_ended = 0

    @property
    def is_alive(self) -> bool:
        return not self.closed

    def start(self) -> None:
        self.n_started += 1

    def job(self, name: str, /, **arguments: Any) -> "LocalJob":
        return LocalJob(self, name, arguments)

    def run(self, job: str, /, **arguments: Any) -> Iterator[Any]:
        arguments = pickle.loads(pickle.dumps(arguments))
        self.runs.append((job, arguments))
        self.events.append([])
        for event in find_job(job)(self.inbox, **arguments):
            self.events[-1].append(event)
            yield pickle.loads(pickle.dumps(event))

    def send(self, content: Any) -> None:
        self.inbox.put(content)

    def stop(self) -> None:
        self.inbox.stop()

    def close(self, patience_s: float = 5.0) -> None:
        self.closed = True
        self.inbox.stop()

    kill = close


class LocalJob:
    """As :class:`~napari_nh2st.jobs.Job`: what it is asked goes to the jobs once it has begun."""

    def __init__(self, jobs: LocalJobs, name: str, arguments: dict[str, Any]) -> None:
        self._jobs = jobs
        self._name = name
        self._arguments = arguments
        self._lock = threading.Lock()
        self._is_begun = self._is_unwanted = False
        self.is_last = False

    def events(self) -> Iterator[Any]:
        with self._lock:
            if self._is_unwanted:
                return
            self._is_begun = True
            self._jobs.inbox = Inbox()
        try:
            yield from self._jobs.run(self._name, **self._arguments)
        finally:
            self._jobs.n_ended += self.is_last

    def send(self, content: Any) -> None:
        if self._is_begun:
            self._jobs.send(content)

    def stop(self) -> None:
        self._end(self._jobs.stop)

    def kill(self) -> None:
        self._end(self._jobs.kill)

    def close(self) -> None:
        self._end(self._jobs.close)

    def _end(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._is_unwanted = True
            if self._is_begun:
                end()
