"""Reading generators of events in tests."""

from collections.abc import Generator
from typing import Any, TypeVar

Result = TypeVar("Result")


def result_of(generator: Generator[Any, None, Result], events: list[Any] | None = None) -> Result:
    """Run a generator to its end, and give what it returns; its events go into the list."""
    while True:
        try:
            event = next(generator)
        except StopIteration as end:
            result: Result = end.value
            return result
        if events is not None:
            events.append(event)
