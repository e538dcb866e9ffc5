"""Killed at random moments, up to three times in a row, a run goes on and comes to the same."""

from collections.abc import Callable

import pytest
from extent import Extent
from fault_runs import Prepared, Tally, kill
from forking import ForkServer


@pytest.mark.parametrize("name", ["predict", "train", "crossval", "export-zarr"])
def test_kills_lose_nothing(
    name: str,
    server: ForkServer,
    undisturbed: Callable[[str], Prepared],
    extent: Extent,
    tally: Tally,
) -> None:
    run = undisturbed(name)
    for seed in extent.kills:
        outcome, wrong = kill(server, run, seed)
        tally.add(outcome, wrong and f"--faults=20 --faults-seed={seed}: {wrong}")
    assert not tally.problems, "\n\n".join(tally.problems)
