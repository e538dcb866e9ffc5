"""The manifest and the documentation say of each option what its dataclass says."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_nh2st.session.remembered import SECTIONS, remembered_values, restored_values

SCRIPT = Path(__file__).parents[1] / "scripts" / "write_options.py"


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_manifest_and_tables_are_as_the_options_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (0, ""), "run scripts/write_options.py"


def test_another_text_or_default_would_be_seen(script: dict[str, Any]) -> None:
    text = script["MANIFEST"].read_text(encoding="utf-8")
    assert script["manifest"](text) == text
    assert script["manifest"](text.replace("default: 0.25", "default: 0.5")) == text
    assert script["manifest"](text.replace("name: napari-nh2st", "name: another")) != text


def test_remembered_keys_are_those_that_napari_has_kept_so_far(script: dict[str, Any]) -> None:
    declared = yaml.safe_load(script["MANIFEST"].read_text(encoding="utf-8"))["contributions"]
    keys = {
        section: {name: field["default"] for name, field in part["properties"].items()}
        for section, part in declared["configurations"].items()
    }
    predict = {
        "model": "",
        "device": "auto",
        "step_um": 0.0,
        "pitch_um": 0.0,
        "min_tissue": 0.25,
        "all_tiles": False,
        "any_stain": False,
        "head_values": False,
        "image_features": False,
        "nuclei": False,
        "keep": True,
        "keep_gb": 4.0,
    }
    genes = {
        "reliable_from": 0.2,
        "only_reliable": False,
        "colormap": "magma",
        "opacity": 0.7,
        "smooth": False,
        "fade": False,
        "low_percentile": 1.0,
        "high_percentile": 99.0,
        "shared_limits": False,
    }
    train = {
        "start": "",
        "from_random": False,
        "encoder": "",
        "context": "",
        "epochs": 200,
        "validation": "auto",
        "device": "auto",
    }
    compare = {"model": "", "device": "auto"}
    cohort = {
        **{name: value for name, value in predict.items() if not name.startswith("keep")},
        "folder": "",
        "format": "h5ad",
        "workers": 0,
        "scheduler": "",
    }
    assert keys == {
        "predict": predict,
        "cohort": cohort,
        "compare": compare,
        "genes": genes,
        "train": train,
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_kept_comes_back(section: str) -> None:
    defaults = restored_values(section, lambda _key, default: default)
    assert defaults == {setting.name: setting.default for setting in SECTIONS[section]}
    kept = remembered_values(section, defaults)
    assert restored_values(section, kept.get) == defaults


def test_what_was_kept_and_cannot_be_is_the_default() -> None:
    kept: dict[str, Any] = {
        "device": "cpu",
        "pitch_um": 50.0,
        "min_tissue": 7.0,
        "all_tiles": True,
        "keep_gb": 2.0,
    }
    found = restored_values("predict", lambda key, default: kept.get(key, default))
    assert (found["device"], found["pitch_um"], found["tissue_only"]) == ("cpu", 50.0, False)
    assert (found["min_tissue"], found["keep_gb"]) == (0.25, 2.0)
    other = {"context": "seen", "encoder": "whole", "epochs": 0}
    found = restored_values("train", lambda key, default: other.get(key, default))
    assert (found["context"], found["encoder"], found["epochs"]) == (None, "whole", 200)
