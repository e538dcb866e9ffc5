"""An operation on a file that fails ends in a sentence, and loses nothing."""

import errno
import random
from collections.abc import Callable

import pytest
from extent import Extent
from fault_runs import Prepared, Tally, error_points, fail
from forking import ForkServer
from small_runs import RUNS

CODES = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE)
"""Of a bad disk, a full one (which stays full), a permission, limits, and a share that is gone."""


@pytest.mark.parametrize("name", RUNS)
def test_an_operation_that_fails_loses_nothing(
    name: str,
    server: ForkServer,
    undisturbed: Callable[[str], Prepared],
    extent: Extent,
    tally: Tally,
) -> None:
    run = undisturbed(name)
    chance = random.Random(extent.seed)
    points = error_points(run.clean.operations)
    if not extent.all_points:
        points = chance.sample(points, min(extent.points, len(points)))
    for number in points:
        code = chance.choice(CODES)
        outcome, wrong = fail(server, run, number, code)
        operation = run.clean.operations[number]
        case = f"{errno.errorcode[code]} at operation {number} ({operation.name} {operation.path})"
        tally.add(outcome, wrong and f"{case}: {wrong}")
    assert not tally.problems, "\n\n".join(tally.problems)
