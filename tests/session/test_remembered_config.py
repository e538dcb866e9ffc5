"""Values that docks begin with: what was chosen, else what the user's configuration says."""

from pathlib import Path
from typing import Any

import pytest
from napari.utils.notifications import notification_manager

from napari_nh2st.session.remembered import restored_values, usual_values
from napari_nh2st.user_config import VARIABLE


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def keeps(**kept: Any) -> Any:
    return lambda name, default: kept.get(name, default)


def test_what_was_chosen_goes_before_the_configuration(config: Path) -> None:
    config.write_text(
        "[predict]\nstep_um = 55\nall_tiles = true\nmin_tissue = 0.5\n", encoding="utf-8"
    )
    begun = restored_values("predict", keeps())
    assert (begun["step_um"], begun["tissue_only"], begun["min_tissue"]) == (55, False, 0.5)
    assert restored_values("cohort", keeps())["step_um"] == 55
    chosen = restored_values("predict", keeps(step_um=40.0, min_tissue=0.75))
    assert (chosen["step_um"], chosen["min_tissue"]) == (40, 0.75)
    assert "min_tissue" not in restored_values("genes", keeps())


def test_a_configuration_that_cannot_be_is_shown_and_left_alone(config: Path) -> None:
    config.write_text("[predict]\nstep = 55\n", encoding="utf-8")
    before = len(notification_manager.records)
    assert usual_values("predict") == {}
    (shown,) = list(notification_manager.records)[before:]
    assert "there is no setting step; did you mean step_um?" in shown.message
    assert restored_values("train", keeps())["epochs"] == 200
