"""The user's configuration file: what it may say, and what is said of one that cannot be."""

import re
from pathlib import Path

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.user_config import (
    TABLES,
    VARIABLE,
    config_path,
    config_settings,
    configured,
    key_of,
    sample_config,
    toml_value,
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own.toml"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_settings_are_taken_by_the_name_of_the_field_or_of_the_option(config: Path) -> None:
    config.write_text(
        "[predict]\nstep-um = 55\nall_tiles = true\nno_spread = false\nworkers = 2\nmodel = 'm'\n"
        "[train]\nlearning_rate = 1e-3\npanel = 'variable'\n",
        encoding="utf-8",
    )
    assert configured("predict") == {
        "step_um": 55.0,
        "tissue_only": False,
        "spread": True,
        "workers": 2,
        "model": "m",
    }
    assert configured("train").items() >= {"learning_rate": 1e-3, "rule": "variable"}.items()
    assert configured("domains") == {}


def test_pairs_of_numbers_are_arrays(config: Path) -> None:
    config.write_text("[export]\npercentiles = [2, 98.5]\n", encoding="utf-8")
    assert configured("export") == {"percentiles": (2.0, 98.5)}
    for value in ("3", "[3]", "[1, 2, 3]", "['1', '2']", "[true, 2]"):
        config.write_text(f"[export]\nlimits = {value}\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"limits is .*; it must be a list of two numbers$"):
            configured("export")
    config.write_text("[export]\nlimits = [3, 0]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"\[export\]: limits is 3 0; it must be two numbers, the"):
        configured("export")


def test_a_file_that_windows_wrote_is_read(config: Path) -> None:
    config.write_text("[domains]\r\nseed = 3\r\n", encoding="utf-8-sig", newline="")
    assert configured("domains") == {"seed": 3}


def test_without_a_file_there_are_no_defaults_of_ones_own(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"NH2ST_CONFIG names .*own\.toml, which does not exist"):
        configured("predict")
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(config.parent / "no"))
    monkeypatch.setenv(VARIABLE, "")
    assert config_path() == config.parent / "no" / "config.toml"
    assert configured("predict") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[domains]\nn_domain = 3", r"own\.toml, \[domains\]: there is no setting n_domain; did "),
        ("[domains]\nn_domain = 3", r"did you mean n_domains\?"),
        ("[domains]\nseed = '3'", r'own\.toml, \[domains\]: seed is "3"; it must be a number'),
        ("[domains]\nseed = true", r"seed is true; it must be a number"),
        ("[domains]\nseed = -1", r"\[domains\]: seed is -1; it must be from 0"),
        ("[domains]\nseed = 1.5", r"seed is 1\.5; it must be a whole number"),
        ("[domains]\nmethod = 'best'", r"method is 'best'; it must be one of"),
        ("[domains]\nmethod = 2", r"method is 2; it must be a text"),
        ("[domain]\nseed = 3", r"there is no table domain; did you mean domains\?"),
        ("seed = 3", r"own\.toml: seed is in no table; it belongs below one of \[predict\], "),
        ("domains = 3", r"domains is a value; it must be a table, \[domains\]"),
        ("[domains]\nseed = 3\nseed = 4", r"own\.toml is not TOML: "),
        (f"[domains]\nseed = {'1' * 5000}", r"own\.toml is not TOML: "),
        (f"[domains]\nimage_weight = 1{'0' * 400}", r"image_weight is far too large"),
        ("[domains\n", r"own\.toml is not TOML: .*line 1"),
    ],
)
def test_what_cannot_be_is_a_sentence(config: Path, text: str, words: str) -> None:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as error:
        configured("domains")
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_a_sentence(config: Path) -> None:
    config.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not a text file in UTF-8"):
        configured("domains")
    config.unlink()
    config.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        configured("domains")


def test_a_key_and_its_option_together_are_refused(config: Path) -> None:
    config.write_text("[predict]\ntissue_only = true\nall_tiles = true\n", encoding="utf-8")
    with pytest.raises(InputError, match="tissue_only is given twice, as all_tiles as well"):
        configured("predict")
    config.write_text("[predict]\nstep-um = 55\nstep_um = 60\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"step_um is given twice$"):
        configured("predict")
    config.write_text("[predict]\nnuclei = 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="nuclei is 1; it must be true or false"):
        configured("predict")


def test_a_list_of_genes_is_no_default(config: Path) -> None:
    config.write_text("[train]\npanel = 'given'\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"one of mean, variable, spatial$"):
        configured("train")


def test_the_sample_has_every_setting_and_says_nothing_until_it_is_edited(config: Path) -> None:
    text = sample_config()
    config.write_text(text, encoding="utf-8")
    assert all(configured(table) == {} for table in TABLES)
    config.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M), encoding="utf-8")
    for table in TABLES:
        defaults = {name: s.default for name, s in config_settings(table).items()}
        assert configured(table) == {n: value for n, value in defaults.items() if value is not None}
        for name, setting in config_settings(table).items():
            assert f"# {setting.option.negative or key_of(name)} =" in text


@pytest.mark.parametrize("value", [True, 3, 1e-05, ("a", 'b"'), 'C:\\x "y"\n\x7f', "µm"])
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    import tomllib

    read = tomllib.loads(f"key = {toml_value(value)}")["key"]
    assert (tuple(read) if isinstance(read, list) else read) == value
