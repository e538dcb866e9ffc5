"""Broken and hostile tables, AnnData and GeoJSON are refused in a sentence, or read."""

import shutil
from pathlib import Path

import hostile_cases
import pytest
from extent import Extent
from fault_runs import Tally, wrong_words
from forking import ForkServer

_HDF5 = (".h5ad", ".h5")
"""Where the bytes of such a file are damaged, its library may run in a circle: see
docs/reliability.md."""


@pytest.fixture(scope="module")
def whole(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as they should be."""
    folder = tmp_path_factory.mktemp("data") / "whole"
    ended = server.run(hostile_cases.write_data, folder)
    assert ended.how == "returned", ended.in_words()
    return folder


@pytest.mark.parametrize("name", hostile_cases.DATA)
def test_hostile_data(
    name: str, server: ForkServer, whole: Path, extent: Extent, tally: Tally, tmp_path: Path
) -> None:
    ended = server.run(hostile_cases.use_data, whole, name)
    assert ended.how == "returned", ended.in_words()
    number = hostile_cases.DATA.index(name)
    folder = tmp_path / "data"
    for seed in (s for s in extent.seeds if s % len(hostile_cases.DATA) == number):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        how = hostile_cases.spoil_data(folder, name, seed)
        ended = server.run(hostile_cases.use_data, folder, name)
        if ended.how == "hung" and name.endswith(_HDF5):
            tally.add("hung in HDF5")
            continue
        case = f"--faults=1 --faults-seed={seed} ({how}): "
        wrong = "" if ended.how == "returned" else wrong_words(ended)
        outcome = str(ended.value) if ended.how == "returned" else "refused"
        tally.add(ended.how if wrong else outcome, wrong and case + wrong)
    assert not tally.problems, "\n\n".join(tally.problems)
