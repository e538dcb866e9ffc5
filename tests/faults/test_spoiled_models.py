"""Models that are made to do harm, or are broken, are refused in a sentence or do no harm."""

import shutil
from pathlib import Path

import hostile_cases
from extent import Extent
from fault_runs import Tally, wrong_words
from forking import ForkServer


def test_hostile_models(server: ForkServer, extent: Extent, tally: Tally, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "model"
    ended = server.run(hostile_cases.write_model, whole)
    assert ended.how == "returned", ended.in_words()
    for seed in extent.seeds:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        how = hostile_cases.spoil_model(folder, seed)
        ended = server.run(hostile_cases.use_model, folder)
        case = f"--faults=1 --faults-seed={seed} ({how}): "
        if ended.how == "returned":
            tally.add(ended.value)
            continue
        wrong = wrong_words(ended)
        tally.add(ended.how if wrong else "refused", wrong and case + wrong)
    assert not tally.problems, "\n\n".join(tally.problems)
