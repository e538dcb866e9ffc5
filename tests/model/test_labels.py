"""Labels of models: name, date, and what tells namesakes apart."""

import os
from pathlib import Path

import pytest

from napari_nh2st.model.config import read_config
from napari_nh2st.model.labels import model_labels
from small_configs import local, write_config

DATE = "2026-11-27T04:10+00:00"


def test_a_folder_is_called_by_its_name_and_when_it_was_trained(tmp_path: Path) -> None:
    dated, old = write_config(tmp_path / "a", "breast", DATE), write_config(tmp_path / "b", "lung")
    os.utime(old / "config.json", (0, 0))
    labels = model_labels([str(dated), str(old), "bundled", "own/er@abc"])
    assert list(labels.values()) == [f"breast · {local(DATE)}", "lung", "bundled", "own/er@abc"]


def test_namesakes_are_told_apart_by_the_shortest_end_of_their_paths(tmp_path: Path) -> None:
    places = ["x/m", "y/m", "y/other"]
    folders = [str(write_config(tmp_path / place, "breast")) for place in places]
    named = model_labels(folders)
    assert [named[folder] for folder in folders] == [f"breast · {Path(place)}" for place in places]
    assert model_labels(folders[:1]) == {folders[0]: "breast"}


def test_a_config_that_changes_is_read_again_and_one_that_is_broken_shows_the_path(
    tmp_path: Path,
) -> None:
    folder = write_config(tmp_path / "m", "before")
    assert model_labels([str(folder)]) == {str(folder): "before"}
    write_config(folder, "after")
    os.utime(folder / "config.json", (1, 1))
    assert model_labels([str(folder)]) == {str(folder): "after"}
    (folder / "config.json").write_text("no JSON", encoding="utf-8")
    assert model_labels([str(folder)]) == {str(folder): str(folder)}


@pytest.mark.parametrize("date", ["soon", "", "2026-13-01"])
def test_a_date_that_is_none_is_not_shown(tmp_path: Path, date: str) -> None:
    config = read_config(write_config(tmp_path / "m", "breast", date))
    assert config.trained_at is None
