"""What a call of the command came to."""

from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    """Exit code, and what it wrote."""

    code: int
    out: str
    err: str


Nh2st = Callable[..., Result]
"""Runs the command with these arguments."""
