"""Contestants measured in turns, so that whatever else the machine does meets them all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Contestant = Callable[["Clock"], float]
"""Does its work once and returns how much it did, in the unit of its table."""


class Clock:
    """Runs from its making on; a contestant may start it anew once what comes first is done, and
    halt it before what comes last.
    """

    def __init__(self) -> None:
        self._made = time.perf_counter()
        self._halted: tuple[float, float] | None = None
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def halt(self) -> None:
        """Count no further; a later call counts more."""
        self._halted = time.perf_counter(), time.process_time()

    def stop(self) -> tuple[float, float, float]:
        """Seconds and CPU seconds since the restart, and seconds before it."""
        wall, cpu = self._halted or (time.perf_counter(), time.process_time())
        return wall - self._wall, cpu - self._cpu, self._wall - self._made


@dataclass
class Result:
    """What one contestant did in each round: amount, seconds, and CPU seconds of all threads.

    `seconds_before` passed before a contestant restarted the clock, and count for nothing else.
    """

    amounts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    seconds_before: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Amount per second of each round."""
        return [amount / s for amount, s in zip(self.amounts, self.seconds, strict=True)]

    @property
    def rate(self) -> float:
        """Their median."""
        return statistics.median(self.rates)

    @property
    def cpu_cost(self) -> float:
        """Median CPU seconds per unit of amount."""
        return statistics.median(
            s / amount for amount, s in zip(self.amounts, self.cpu_seconds, strict=True)
        )


def in_turns(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Result]:
    """Run every contestant once a round."""
    results = {name: Result() for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            clock = Clock()
            amount = contestant(clock)
            seconds, cpu_seconds, before = clock.stop()
            result = results[name]
            result.amounts.append(amount)
            result.seconds.append(seconds)
            result.cpu_seconds.append(cpu_seconds)
            result.seconds_before.append(before)
    return results


def ratios(results: Mapping[str, Result], name: str, to: str) -> list[float]:
    """One contestant's rate relative to another's, round by round."""
    pairs = zip(results[name].rates, results[to].rates, strict=True)
    return [one / other for one, other in pairs]
