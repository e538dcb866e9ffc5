"""What a viewer and its child process say to each other, as pickles through pipes.

One job runs at a time: what follows a :class:`Run` is about that job, until the next.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Run:
    """Run a job."""

    job: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tell:
    """Something for the job that runs."""

    what: Any


@dataclass(frozen=True)
class Stop:
    """The job that runs shall end with what it has."""


@dataclass(frozen=True)
class Event:
    """The job tells something."""

    what: Any


@dataclass(frozen=True)
class Failed:
    """The job ended in an error; ``by_input``: the message is for the user as it stands."""

    message: str
    by_input: bool
    details: str


@dataclass(frozen=True)
class Finished:
    """The job has ended as it should."""


Message = Run | Tell | Stop | Event | Failed | Finished
