"""The model picker knows a model on the Hub by its card, without fetching its weights."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, errors
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_nh2st.errors import InputError
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.widgets.model_picker import ModelPicker, add_model
from small_configs import PANEL, local, write_config
from small_models import small_model

DATE = "2026-11-27T04:10+00:00"
ID = f"a/b@{'0123456789' * 4}"


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which files a stand-in for the Hub was asked for."""
    asked: list[str] = []
    save_model_folder(small_model(), tmp_path / "small")
    (tmp_path / "small" / "README.md").write_text("# Of another model", encoding="utf-8")

    def hf_hub_download(_id: str, file: str, *, revision: str, endpoint: str | None) -> str:
        asked.append(file)
        if revision.startswith("f"):
            raise ConnectionError("no route")
        return str(tmp_path / "small" / file)

    module: Any = types.ModuleType("huggingface_hub")
    module.hf_hub_download = hf_hub_download
    module.errors, module.constants = errors, constants
    module.try_to_load_from_cache = lambda *_, **__: None
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


@pytest.fixture
def picker(qtbot: QtBot) -> ModelPicker:
    picker = ModelPicker()
    qtbot.addWidget(picker)
    return picker


def test_a_long_folder_that_is_chosen_is_shown_from_its_beginning(picker: ModelPicker) -> None:
    picker.choose("/somewhere/" + 20 * "deeper/")
    line = picker.name.lineEdit()
    assert line is not None
    assert line.cursorPosition() == 0


def test_the_config_of_a_pinned_model_is_fetched_in_a_thread(
    qtbot: QtBot, picker: ModelPicker, fetched: list[str]
) -> None:
    told: list[Any] = []
    picker.changed.connect(told.append)
    picker.choose(ID)
    assert picker.config is None
    assert not picker.card.isEnabled()
    qtbot.waitUntil(lambda: picker.config is not None, timeout=20_000)
    assert fetched == ["config.json"]
    assert [config and config.panel for config in told] == [None, PANEL]
    assert picker.card.isEnabled()
    assert picker.card_text() == model_card(picker.config)
    assert picker.value() == ID


def test_an_answer_that_comes_late_does_not_replace_a_later_choice(
    qtbot: QtBot, picker: ModelPicker, fetched: list[str]
) -> None:
    bundled = picker.config
    assert bundled is not None
    name = picker.text
    picker.choose(ID)
    picker.choose(name)
    qtbot.waitUntil(lambda: bool(fetched), timeout=20_000)
    qtbot.wait(0)
    assert picker.config == bundled


def test_why_it_could_not_be_fetched_stands_below(
    qtbot: QtBot, picker: ModelPicker, fetched: list[str]
) -> None:
    picker.choose(f"a/b@{'f' * 40}")
    qtbot.waitUntil(lambda: "could not be fetched" in picker.note.text(), timeout=20_000)
    assert picker.config is None


@pytest.mark.parametrize("name", ["a/b@abc", "a/b@main", "a/b"])
def test_an_id_that_is_not_pinned_is_refused_as_it_is_typed(
    picker: ModelPicker, fetched: list[str], name: str
) -> None:
    picker.choose(name)
    assert "full commit hash" in picker.note.text()
    with pytest.raises(InputError, match="full commit hash"):
        picker.value()
    assert fetched == []


def test_models_are_listed_by_name_and_date_and_found_by_their_folder(
    qtbot: QtBot, tmp_path: Path
) -> None:
    folders = [write_config(tmp_path / name, "breast", DATE) for name in ("one", "two")]
    picker = ModelPicker()
    qtbot.addWidget(picker)
    changes: list[Any] = []
    picker.changed.connect(changes.append)
    add_model(folders[0])
    row = picker.name.count() - 1
    assert picker.name.itemText(row) == f"breast · {local(DATE)}"
    picker.choose(str(folders[0]))
    assert picker.name.currentText() == f"breast · {local(DATE)}"
    assert (picker.text, picker.value()) == (str(folders[0]), str(folders[0]))
    assert str(folders[0]) in picker.name.lineEdit().toolTip()
    assert len(changes) == 1
    add_model(folders[1])
    texts = [picker.name.itemText(each) for each in (row, row + 1)]
    assert texts == [f"breast · {local(DATE)} · one", f"breast · {local(DATE)} · two"]
    assert picker.name.itemData(row + 1, Qt.ItemDataRole.ToolTipRole) == str(folders[1])
    assert picker.text == str(folders[0]), "it stays chosen, with its new label"
    assert len(changes) == 1
    picker.name.setEditText(str(folders[1]))  # a path can still be typed
    assert picker.text == str(folders[1])
    assert picker.config is not None
    picker.name.setEditText("being typed")
    add_model(tmp_path / "three")
    assert picker.name.currentText() == "being typed"
