"""Checkpoints and the table of a run's epochs."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint
from napari_nh2st.training.curves import earlier_epochs
from napari_nh2st.training.events import EpochDone
from napari_nh2st.training.run_state import RunFolder

START = EpochDone(0, 9, None, {}, 0.0, 0.1, 0.5, 0.6, 0, math.nan)
FIRST = EpochDone(1, 9, 1.5, {"query_contrastive": 1.25, "mse": 0.25}, 1e-3, 0.2, 0.4, 0.6, 1, 8.0)


def test_the_table_has_a_column_for_each_term_and_is_read_back(tmp_path: Path) -> None:
    RunFolder(tmp_path, "run").save_history([START, FIRST])
    header, start, _ = (tmp_path / "history.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("epoch,epochs,loss,query_contrastive,mse,learning_rate,")
    assert start.startswith("0,9,,,,0,")
    read = earlier_epochs(tmp_path, 1)
    assert [replace(epoch, seconds_left=0.0) for epoch in read] == [
        replace(epoch, seconds_left=0.0) for epoch in (START, FIRST)
    ]


def test_a_run_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "run")
    run.save({"epoch": 1}, [FIRST], None)
    last = run.load_last()
    assert last is not None
    assert EpochDone(**last["history"][0]) == FIRST
    path = tmp_path / "last.pt"
    earlier = read_checkpoint(path)
    del earlier["format"]
    write_checkpoint(path, earlier)
    with pytest.raises(InputError, match="a stopped run of an earlier version"):
        run.load_last()
