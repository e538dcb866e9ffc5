"""A run that ends at any operation on a file loses nothing, and the next one gives the same."""

import random
from collections.abc import Callable

import pytest
from extent import Extent
from fault_runs import Prepared, Tally, crash, crash_points
from forking import ForkServer
from small_runs import RUNS


@pytest.mark.parametrize("name", RUNS)
def test_a_kill_at_any_operation_loses_nothing(
    name: str,
    server: ForkServer,
    undisturbed: Callable[[str], Prepared],
    extent: Extent,
    tally: Tally,
) -> None:
    run = undisturbed(name)
    points = crash_points(run.clean.operations)
    if not extent.all_points:
        points = random.Random(extent.seed).sample(points, min(extent.points, len(points)))
    changing = [operation for operation in run.clean.operations if operation.changes]
    for number, within in points:
        wrong = crash(server, run, number, within)
        at = "the end"
        if number < len(changing):
            at = f"{changing[number].name} {changing[number].path}"
        tally.add(
            "lost" if wrong else "went on",
            wrong and f"{'in' if within else 'before'} operation {number} ({at}): {wrong}",
        )
    assert not tally.problems, "\n\n".join(tally.problems)
