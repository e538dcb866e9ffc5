"""``nh2st config``, and commands that begin with the defaults of the user's configuration."""

import argparse
import json
from pathlib import Path

import pytest

from command_results import Nh2st
from napari_nh2st.cli.arguments import parser
from napari_nh2st.cli.options import given_settings
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.user_config import VARIABLE


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home" / "own.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_a_file_is_begun_shown_and_never_overwritten(nh2st: Nh2st, config: Path) -> None:
    assert nh2st("config", "path").out == f"{config}\n"
    begun = nh2st("config", "init")
    assert begun.code == 0, begun.err
    assert "# min_tissue = 0.25\n" in config.read_text(encoding="utf-8")
    config.write_text('[predict]\nstep_um = 55\ndevice = "cpu"\n', encoding="utf-8")
    again = nh2st("config", "init")
    assert (again.code, again.out) == (2, "")
    assert "already exists" in again.err
    assert nh2st("config", "show").out == f'# {config}\n[predict]\nstep_um = 55.0\ndevice = "cpu"\n'
    told = json.loads(nh2st("config", "show", "--json").out)
    assert told == {
        "path": str(config),
        "exists": True,
        "tables": {"predict": {"step_um": 55.0, "device": "cpu"}},
    }
    config.write_text('[train]\nrule = "mean"\n', encoding="utf-8")
    assert nh2st("config", "show").out == f'# {config}\n[train]\npanel = "mean"\n'  # as --panel
    config.write_text("[predict]\nstep = 55\n", encoding="utf-8")
    for command in (("config", "show"), ("predict", "a.svs", "-o", "a.h5ad"), ("predict", "-h")):
        refused = nh2st(*command)
        assert refused.code == 2
        assert refused.err == (
            f"nh2st: {config}, [predict]: there is no setting step; did you mean step_um?\n"
        )
    assert nh2st("config", "path").code == 0
    assert nh2st("domains", "-h").code == 0  # which that table does not concern


def test_without_a_file_there_is_none_to_show_and_a_folder_that_is_none_is_refused(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(tmp_path / "home"))
    path = tmp_path / "home" / "config.toml"
    shown = nh2st("config", "show")
    assert shown.out == f"# {path} does not exist; `nh2st config init` writes one\n"
    assert json.loads(nh2st("config", "show", "--json").out)["exists"] is False
    (tmp_path / "home").write_text("a file", encoding="utf-8")
    refused = nh2st("config", "init")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)


def arguments(*given: str) -> argparse.Namespace:
    return parser().parse_args(given)


def test_what_is_given_goes_before_the_file_and_this_before_the_default(config: Path) -> None:
    config.parent.mkdir()
    config.write_text(
        "[predict]\nstep_um = 55\nnuclei = true\nall_tiles = true\nworkers = 2\nmodel = 'own'\n",
        encoding="utf-8",
    )
    args = arguments("predict", "a.svs")
    assert args.model == "own"
    settings = PredictSettings(**given_settings(args, PredictSettings) | {"region": ()})
    assert settings == PredictSettings(step_um=55, nuclei=True, tissue_only=False)
    assert CohortSettings(**given_settings(args, CohortSettings)).workers == 2
    args = arguments(
        *("predict", "a.svs", "--step-um", "40", "--no-nuclei", "--no-all-tiles", "--model", "m")
    )
    assert args.model == "m"
    given = PredictSettings(**given_settings(args, PredictSettings) | {"region": ()})
    assert given == PredictSettings(step_um=40)


def test_help_shows_the_default_that_holds(nh2st: Nh2st, config: Path) -> None:
    config.parent.mkdir()
    config.write_text(
        "[predict]\nmin_tissue = 0.5\nnuclei = true\nspread = false\n", encoding="utf-8"
    )
    text = "".join(nh2st("predict", "--help").out.split())  # which breaks lines at hyphens
    assert "(default:0.5;fromyourconfiguration)" in text
    assert "(default:on;offwith--no-nuclei;fromyourconfiguration)" in text
    assert "(default:on;offwith--spread;fromyourconfiguration)" in text
    assert "0.25" not in text


def test_defaults_of_a_panel_do_not_replace_the_start_models(config: Path) -> None:
    config.parent.mkdir()
    config.write_text("[train]\nn_genes = 40\nepochs = 3\n", encoding="utf-8")
    common = ("train", "--sections", "s.csv", "-o", "out")
    own = train_settings(arguments(*common))
    assert own.panel is not None
    assert (own.panel.n_genes, own.epochs) == (40, 3)
    started = train_settings(arguments(*common, "--start", "her2-breast-demo"))
    assert (started.panel, started.epochs) == (None, 3)
    config.write_text("", encoding="utf-8")
    started = train_settings(arguments(*common, "--start", "her2-breast-demo"))
    assert (started.panel, started.epochs) == (None, 200)


def test_an_option_goes_before_a_default_that_excludes_it(
    nh2st: Nh2st, config: Path, tmp_path: Path
) -> None:
    config.parent.mkdir()
    config.write_text("[predict]\nworkers = 2\nall_tiles = true\n", encoding="utf-8")
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").write_bytes(b"none")
    # Nobody listens there: it is the scheduler that is asked for.
    result = nh2st(
        *("predict", tmp_path / "slides", "-o", tmp_path / "out"),
        *("--scheduler", "tcp://127.0.0.1:9"),
    )
    assert result.code == 2
    assert "cannot be combined" not in result.err
    result = nh2st("predict", tmp_path / "slides" / "a.svs", "-o", tmp_path / "a.h5ad",
                   "--tissue", tmp_path / "none.png")  # fmt: skip
    assert "cannot be combined" not in result.err
