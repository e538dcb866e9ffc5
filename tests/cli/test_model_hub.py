"""``nh2st model push``, ``pull`` and ``list --remote``."""

import json
from pathlib import Path

import pytest

from command_results import Nh2st
from file_server import FileServer
from hub_server import TOKEN, serving_hub
from napari_nh2st.model import bundled_models
from napari_nh2st.model.index import index_url, packaged_index, parse_index
from napari_nh2st.training.known_models import known_models


def test_a_model_is_pushed_and_pulled(
    nh2st: Nh2st, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        push = ["model", "push", model_folder, "hf:me/tiny", "--license", "mit"]
        dry = nh2st(*push, "--dry-run")
        assert dry.code == 0
        assert "license: mit" in dry.out
        assert dry.out.endswith("me/tiny: nothing was sent\n")
        assert hub.requests == []
        log = tmp_path / "run.log"
        pushed = nh2st(*push, "-vv", "--log-file", log)
        assert pushed.code == 0, pushed.err
        name = f"me/tiny@{hub.repositories['me/tiny'].newest}"
        assert pushed.out == f"{name}: published; this name always means that commit\n"
        assert "Sending config.json, model.safetensors, README.md" in pushed.err
        assert TOKEN not in pushed.err + pushed.out + log.read_text(encoding="utf-8")
        pulled = nh2st("model", "pull", "hf:me/tiny", "-o", tmp_path / "own")
        assert (pulled.code, pulled.err) == (0, "")
        assert pulled.out == f"{name}: downloaded; use it with --model {name}\n"
        assert str(tmp_path / "own") in known_models()
        assert json.loads(nh2st("model", "pull", f"hf:{name}", "--json").out)["model"] == name
        assert nh2st("model", "check", name).code == 0
        hub.fails["me/tiny"] = 403
        for command in (push, ["model", "pull", "hf:me/tiny"], ["model", "pull", "tiny"]):
            refused = nh2st(*command)
            assert (refused.code, refused.out) == (2, "")
            assert "Traceback" not in refused.err
    assert nh2st(*push[:-2]).code == 2  # without a licence


INDEX = """
format = 1
[[model]]
name = "lung"
source = "hf:lab/lung@%s"
about = "Lung"
species = "human"
tissue = "lung"
licence = "cc-by-4.0"
"""


def test_the_list_of_today_is_shown_or_that_of_this_version(
    nh2st: Nh2st, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NH2ST_MODEL_INDEX", f"{server.url}/index.toml")
    file = server.folder / "index.toml"
    file.write_text(INDEX % ("a" * 40), encoding="utf-8")
    shown = nh2st("model", "list", "--remote")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == f"lung  Lung; human, lung; licence cc-by-4.0; hf:lab/lung@{'a' * 40}\n"
    own = nh2st("model", "list", "--remote", "--offline")
    assert (own.code, own.err) == (0, "")
    assert "bundled" in own.out
    server.status = 503
    fallen_back = nh2st("model", "list", "--remote")
    assert (fallen_back.code, fallen_back.out) == (0, own.out)
    assert "today's list cannot be reached" in fallen_back.err
    server.status = 0
    file.write_text(INDEX % "main", encoding="utf-8")
    broken = nh2st("model", "list", "--remote", "--json")
    assert (broken.code, broken.out, broken.err.count("\n")) == (2, "", 1)
    assert "index.toml is broken: model.1.source: " in broken.err
    assert nh2st("model", "list", "--offline").code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html>", "it is not TOML"),
        (f"format = {'1' * 5000}", "it is not TOML"),
        ((INDEX % ("a" * 40)).replace('"lung"', r'"lung\n"', 1), "does not match"),
        ("format = 2", "its format is 2, not 1"),
        ("format = 1\nmodels = []", "'models' was unexpected"),
        ("format = 1\n[[model]]\nname = 'a'", "is a required property"),
        (INDEX % ("a" * 40) + (INDEX % ("b" * 40)).replace("format = 1", ""), "two models lung"),
        ((INDEX % ("a" * 40)) + 'url = "file:///etc/passwd"', "does not match"),
    ],
)
def test_a_broken_list_is_a_sentence(text: str, words: str) -> None:
    from napari_nh2st.errors import InputError

    with pytest.raises(InputError, match=words) as error:
        parse_index(text, "the list")
    assert "\n" not in str(error.value)


def test_the_packages_own_list_names_models_that_there_are() -> None:
    models = packaged_index()
    bundled = {each.name for each in models if each.source == "bundled"}
    assert bundled == set(bundled_models())
    url = index_url()
    assert url is None or url.startswith("https://raw.githubusercontent.com/")
