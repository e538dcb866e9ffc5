"""Messages between the viewer and a child process, as pickles through pipes.

A process runs one job at a time: what follows a :class:`Run` is about that job, until the next.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """To the child: run a job."""

    job: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Send:
    """To the child: pass this on to the job that runs."""

    content: Any


@dataclass(frozen=True)
class Stop:
    """To the child: the job that runs shall end with what it has."""


@dataclass(frozen=True)
class Event:
    """From the child: the job emitted an event."""

    event: Any


@dataclass(frozen=True)
class Failed:
    """From the child: the job ended in an error.

    Parameters
    ----------
    message
        Message of the error.
    by_input
        Whether the message is for the user as it stands.
    details
        Traceback.
    """

    message: str
    by_input: bool
    details: str


@dataclass(frozen=True)
class Finished:
    """From the child: the job has ended without an error."""


Message = Run | Send | Stop | Event | Failed | Finished
