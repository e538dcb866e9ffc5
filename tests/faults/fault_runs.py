"""Faults put into small runs: where, what must hold afterwards, and how to see it again."""

import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import crash_cases
from crash_cases import Afterwards, Undisturbed
from forking import Ended, ForkServer, Raised
from watched_files import CrashAt, FailAt, Operation

_PREPARATION_S = 120.0
_OF_ONE_DRAFT = 24
"""Of the many operations of one kind with which one draft is filled, those that are tried."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run whose undisturbed course is known.

    Parameters
    ----------
    name
        Key into :data:`small_runs.RUNS`.
    template
        Folder with what is there before it.
    place
        Where it is copied to for each case: results name the slide's path.
    clean
        What it leaves.
    seconds
        That it takes.
    before, added, largest
        Bytes on the disk before it, those that come, and those of the largest file.
    """

    name: str
    template: Path
    place: Path
    clean: Undisturbed
    seconds: float
    before: int
    added: int
    largest: int


@dataclass
class Tally:
    """How the cases of a test ended.

    Parameters
    ----------
    counts
        By outcome.
    problems
        What must not be, in words, each with the number of its case.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, outcome: str, problem: str = "") -> None:
        """Count a case."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if problem:
            self.problems.append(problem)


def prepared(server: ForkServer, name: str, folder: Path) -> Prepared:
    """Write what a run needs, and do it once undisturbed."""
    template, place = folder / "template", folder / "case"
    ended = server.run(crash_cases.prepare, name, template, seconds=_PREPARATION_S)
    assert ended.how == "returned", ended.in_words()
    shutil.copytree(template, place)
    ended = server.run(crash_cases.undisturbed, name, place, seconds=_PREPARATION_S)
    assert ended.how == "returned", ended.in_words()
    before, after = _sizes(template), _sizes(place)
    added = max(4096 * 20, sum(after) - sum(before))
    return Prepared(
        name, template, place, ended.value, ended.seconds, sum(before), added, max(after)
    )


def _sizes(folder: Path) -> list[int]:
    """Bytes that files and folders take on the disk."""
    return [max(512 * path.stat().st_blocks, 4096) for path in folder.rglob("*")]


def fresh(run: Prepared) -> Path:
    """Everything as it was before the run, the times of files too."""
    shutil.rmtree(run.place, ignore_errors=True)
    return Path(shutil.copytree(run.template, run.place))


def crash_points(operations: Sequence[Operation]) -> list[tuple[int, bool]]:
    """Every (number, within) of :class:`~watched_files.CrashAt`, and the end.

    Of the many writes of one file, and the many files of one draft folder, some are taken.
    """
    changing = [operation for operation in operations if operation.changes]
    points: list[tuple[int, bool]] = []
    for first, last in _stretches(changing):
        for number in _spread(first, last):
            points.append((number, False))
            if changing[number].name in ("write", "pwrite"):
                points.append((number, True))
    return [*points, (len(changing), False)]


def error_points(operations: Sequence[Operation]) -> list[int]:
    """Numbers of the operations that fail; some where there are many of one draft."""
    return [n for first, last in _stretches(operations) for n in _spread(first, last)]


def _stretches(operations: Sequence[Operation]) -> Iterator[tuple[int, int]]:
    """First and last of operations that follow each other in one draft, else of each alone."""
    start = 0
    for number in range(1, len(operations) + 1):
        same = number < len(operations) and _draft(operations[number]) is not None
        if not same or _draft(operations[number]) != _draft(operations[start]):
            yield start, number - 1
            start = number


def _draft(operation: Operation) -> tuple[str, str] | None:
    """What an operation is a small part of: a hidden draft, or the writing of one file."""
    for part in Path(operation.path).parts:
        if part.startswith("."):
            return operation.name if part == operation.path else "", part
    return (operation.name, operation.path) if operation.name in ("write", "read") else None


def _spread(first: int, last: int) -> list[int]:
    n = last - first + 1
    if n <= _OF_ONE_DRAFT:
        return list(range(first, last + 1))
    return sorted({first + round(i * (n - 1) / (_OF_ONE_DRAFT - 1)) for i in range(_OF_ONE_DRAFT)})


def crash(server: ForkServer, run: Prepared, number: int, within: bool) -> str:
    """Kill a run at one operation and do it again; what is wrong then, or ``""``."""
    place = fresh(run)
    ended = server.run(
        crash_cases.disturbed, run.name, place, CrashAt(number, within), seconds=_PREPARATION_S
    )
    if ended.how != "returned" and ended.signal != signal.SIGKILL:
        return ended.in_words()
    return wrong_afterwards(server, run)


def fail(server: ForkServer, run: Prepared, number: int, code: int) -> tuple[str, str]:
    """Let one operation fail and do the run again; the outcome, and what is wrong with it."""
    place = fresh(run)
    ended = server.run(
        crash_cases.disturbed, run.name, place, FailAt(number, code), seconds=_PREPARATION_S
    )
    if ended.how == "returned":
        looked = server.run(crash_cases.look, run.name, place, seconds=_PREPARATION_S)
        if looked.how != "returned":
            return "done", looked.in_words()
        if looked.value.contents == run.clean.contents:
            return "done", ""
        # A part of a slide that could not be read is left out, and said to be.
        silent = set(ended.value) <= set(run.clean.told)
        return ("done", "other results") if silent else ("marked", "")
    wrong = wrong_words(ended)
    return ("refused" if not wrong else ended.how), wrong or wrong_afterwards(server, run)


def kill(server: ForkServer, run: Prepared, seed: int) -> tuple[str, str]:
    """Kill a run at up to three random moments and do it again; the outcome and what is wrong."""
    moments = random.Random(seed)
    place = fresh(run)
    outcome = "done before"
    for _ in range(moments.randint(1, 3)):
        after = moments.uniform(0, run.seconds)
        ended = server.run(
            crash_cases.disturbed, run.name, place, None, seconds=_PREPARATION_S, kill_after=after
        )
        if ended.how == "returned":
            break
        # The kill before came when all was written: the next run says so, and looks at it below.
        if outcome == "killed" and not wrong_words(ended):
            break
        if ended.how != "killed":
            return ended.how, ended.in_words()
        outcome = "killed"
    return outcome, wrong_afterwards(server, run)


def wrong_words(ended: Ended) -> str:
    """What is wrong with how a run was refused: it has to be a short text for the user."""
    raised = ended.value
    if ended.how != "raised" or not isinstance(raised, Raised):
        return ended.in_words()
    if not {"InputError", "OSError", "SegmentError"} & set(raised.kind):
        return ended.in_words()
    text = raised.message
    if not text or len(text.splitlines()) > 4 or "Traceback" in text:
        return f"is told as {text!r}"
    return ""


def wrong_afterwards(server: ForkServer, run: Prepared) -> str:
    """Do a run that was disturbed again; what is wrong with what it finds or leaves, or ``""``."""
    ended = server.run(
        crash_cases.run_again, run.name, run.place, run.clean, seconds=_PREPARATION_S
    )
    if ended.how != "returned":
        return f"the next run: {ended.in_words()}"
    after: Afterwards = ended.value
    if after.lost:
        return f"lost: {'; '.join(after.lost)}"
    if after.contents != run.clean.contents:
        other = [
            name for name, digest in after.contents.items() if run.clean.contents[name] != digest
        ]
        return f"the next run has other results: {', '.join(other)}"
    litter = set(after.listing) - set(run.clean.listing)
    if litter:
        return f"litter after the next run: {', '.join(sorted(litter)[:4])} {after.refused}"
    missing = set(run.clean.listing) - set(after.listing)
    return f"not there after the next run: {', '.join(sorted(missing)[:4])}" if missing else ""
