"""Models pushed to a Hub and pulled from it, which a server on this machine stands for."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hub_server import TOKEN, Hub, Repository, serving_hub
from napari_nh2st.errors import InputError
from napari_nh2st.model import load_model, pull_model, push_model, read_config
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.model.hub_licences import HUB_LICENCES
from small_models import small_model


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        # The library's own protocol of large files needs its server; this one has the open one.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield server


def files_of(hub: Hub, name: str = "me/tiny") -> dict[str, bytes]:
    repository = hub.repositories[name]
    return repository.commits[repository.newest]


def test_a_pushed_model_is_pulled_pinned_and_used_offline(
    hub: Hub, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model_folder / "notes.txt").write_text("mine", encoding="utf-8")
    try:
        pushed = push_model(model_folder, "hf:me/tiny", "cc-by-4.0", private=True)
    finally:
        (model_folder / "notes.txt").unlink()
    assert hub.repositories["me/tiny"].private
    assert pushed.name == f"me/tiny@{hub.repositories['me/tiny'].newest}"
    sent = files_of(hub)
    assert sent.keys() == {"config.json", "model.safetensors", "README.md"} == pushed.files.keys()
    assert "Not sent, since it is not the model's: notes.txt" in pushed.notices
    for file in ("config.json", "model.safetensors"):
        assert sent[file] == (model_folder / file).read_bytes()
    card = sent["README.md"].decode()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    assert (head["library_name"], head["pipeline_tag"]) == ("napari-nh2st", "other")
    assert {"nh2st", "histology", "spatial-transcriptomics"} <= set(head["tags"])
    assert "nh2st model pull hf:me/tiny" in card
    assert TOKEN not in card

    assert pull_model("hf:me/tiny", tmp_path / "copy") == pushed.name
    assert read_config(tmp_path / "copy") == read_config(model_folder)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    asked = len(hub.requests)
    for name in (pushed.name, f"hf:{pushed.name}"):
        assert load_model(name).config == read_config(model_folder)
    assert len(hub.requests) == asked


def test_a_model_is_replaced_by_a_commit_without_what_it_has_no_more(
    hub: Hub, model_folder: Path
) -> None:
    earlier = b'{"format": 0, "architecture": "of another version", "panel": []}'
    before = {"config.json": earlier, "heads.safetensors": b"old", "figure.png": b"theirs"}
    hub.repositories["me/tiny"] = Repository(False, {"a" * 40: before})
    push_model(model_folder, "me/tiny", "mit")
    assert len(hub.repositories["me/tiny"].commits) == 2
    assert files_of(hub).keys() == {
        *("config.json", "model.safetensors", "README.md", "figure.png")
    }


def test_a_dry_run_asks_nobody(hub: Hub, model_folder: Path) -> None:
    planned = push_model(model_folder, "hf:me/tiny", "mit", dry_run=True)
    assert (planned.name, planned.commit) == ("me/tiny", "")
    assert planned.files["model.safetensors"] == (model_folder / "model.safetensors").stat().st_size
    assert hub.requests == []


@pytest.mark.parametrize(
    ("pattern", "status", "words"),
    [
        ("/upload/", 400, "could not be reached on the Hub"),
        ("/commit/main", 403, "cannot be changed with your token"),
        ("/commit/main", 409, "was changed by somebody else"),
        ("/api/repos/create", 401, "needs a login"),
    ],
)
def test_a_push_that_fails_leaves_no_repository(
    hub: Hub, model_folder: Path, pattern: str, status: int, words: str
) -> None:
    hub.fails[pattern] = status
    with pytest.raises(InputError, match=words) as error:
        push_model(model_folder, "hf:me/tiny", "mit")
    assert TOKEN not in str(error.value)
    assert hub.repositories == {}


def test_a_repository_that_was_there_is_left_as_it_was(hub: Hub, model_folder: Path) -> None:
    ours = (model_folder / "config.json").read_bytes()
    cases = (
        ({"dataset.csv": b"1"}, {}, "holds something else than a model of nh2st"),
        ({"config.json": b'{"model_type": "bert"}'}, {}, "holds something else than a model"),
        ({"config.json": b"{"}, {}, "holds something else than a model"),
        ({"config.json": ours}, {"/commit/main": 400}, "could not be reached"),
    )
    for number, (files, fails, words) in enumerate(cases):
        commits = {str(number) * 40: files}
        hub.repositories["me/tiny"] = Repository(False, dict(commits))
        hub.fails = fails
        with pytest.raises(InputError, match=words):
            push_model(model_folder, "hf:me/tiny", "mit")
        assert hub.repositories["me/tiny"].commits == commits


def test_encoders_are_passed_on_only_where_their_licence_allows_it(
    tmp_path: Path, model_folder: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    (folder / "encoder").mkdir()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    encoder = {
        **{"key": "timm:owner/big@" + "a" * 40, "licence": "cc-by-nc-nd-4.0", "weights": "model"},
        **{"sha256": "0" * 64, "n_features": 8, "mpp": 0.5, "tile_px": 224, "revision": "a" * 40},
        **{"mean": [0, 0, 0], "std": [1, 1, 1], "recipe": {}, "name": "big", "url": ""},
    }
    from napari_nh2st.model import hub

    held = replace(read_config(folder), encoder=encoder)
    with pytest.raises(InputError, match=r"does not allow everybody to pass them on"):
        hub._checked_files(folder, held)
    elsewhere = replace(held, encoder=encoder | {"weights": "elsewhere", "adapter": {"rank": 4}})
    assert hub._checked_files(folder, elsewhere) == ("config.json", "model.safetensors")
    notices = " ".join(hub._notices(folder, elsewhere))
    assert "licence cc-by-nc-nd-4.0 does not allow everybody to pass them on" in notices
    assert "check whether its licence lets you pass on what is derived from it" in notices
    assert "Not sent, since it is not the model's: encoder" in notices
    assert config["weights"]["sha256"] in (folder / "config.json").read_text(encoding="utf-8")


def test_places_of_this_machine_are_pointed_out(model_folder: Path, tmp_path: Path) -> None:
    settings = {
        "start": "/home/me/secret",
        "sections": [r"C:\Users\me\a.csv"],
        "image_encoder": "timm:resnet18",
        "licence": "https://example.org/terms",
        "epochs": 3,
    }
    training = {"trained": True, "summary": "For a test.", "settings": settings}
    save_model_folder(small_model(training=training), tmp_path / "model")
    planned = push_model(tmp_path / "model", "hf:me/tiny", "mit", dry_run=True)
    (notice,) = planned.notices
    assert notice.endswith(r"/home/me/secret, C:\Users\me\a.csv")
    settings = {"image_encoder": "onnx:/home/me/e.onnx", "slide": "https://a.org/s.svs?sig=x"}
    model = small_model(training=training | {"settings": settings})
    save_model_folder(model, tmp_path / "other")
    (notice,) = push_model(tmp_path / "other", "hf:me/tiny", "mit", dry_run=True).notices
    assert notice.endswith("onnx:/home/me/e.onnx, https://a.org/s.svs?sig=x")


@pytest.mark.parametrize(
    ("name", "licence", "words"),
    [
        ("tiny", "mit", "is not a repository of the Hub"),
        ("hf:me/tiny@main", "mit", "leave @main out"),
        ("hf:me/tiny", "apache 2.0", "no licence 'apache 2.0'; did you mean apache-2.0"),
        ("hf:me/tiny", "house rules", "an identifier of its list, such as cc-by-4.0 or mit, or ot"),
        ("hf:me/tiny", "other", "give --license-name, .* and --license-link"),
    ],
)
def test_a_push_that_cannot_be_is_a_sentence(
    model_folder: Path, name: str, licence: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        push_model(model_folder, name, licence, dry_run=True)


def test_the_card_names_the_licence_as_the_hub_reads_it(model_folder: Path) -> None:
    def metadata(*licence: str | None) -> dict[str, object]:
        name, link = (*licence, None, None)[1:3]
        card = push_model(
            model_folder,
            "hf:me/tiny",
            str(licence[0]),
            licence_name=name,
            licence_link=link,
            dry_run=True,
        ).card
        found: dict[str, object] = yaml.safe_load(card.split("---")[1])
        return {key: value for key, value in found.items() if key.startswith("license")}

    assert metadata("CC-BY-4.0") == {"license": "cc-by-4.0"}  # as SPDX writes it
    assert metadata("other", "lab-1.0", "https://lab.org/terms") == {
        "license": "other",
        "license_name": "lab-1.0",
        "license_link": "https://lab.org/terms",
    }
    for wrong in (("mit", "lab-1.0"), ("other", "lab-1.0"), ("other", "a b", "https://lab.org")):
        with pytest.raises(InputError, match="--license-name"):
            metadata(*wrong)
    with pytest.raises(InputError, match="must be a URL"):
        metadata("other", "lab-1.0", "terms.txt")


def test_the_licences_are_those_that_the_hub_lists() -> None:
    listed = set(HUB_LICENCES)
    assert len(listed) == len(HUB_LICENCES)
    assert {"apache-2.0", "mit", "cc-by-nc-4.0", "openrail++", "lppl-1.3c", "other"} <= listed
    assert all(each == each.lower() and " " not in each for each in listed)


def test_a_damaged_folder_is_not_pushed(model_folder: Path, tmp_path: Path, hub: Hub) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(InputError, match=r"is not the file that config\.json was written with"):
        push_model(folder, "hf:me/tiny", "mit")
    assert hub.requests == []


def test_what_is_pulled_is_checked(hub: Hub, model_folder: Path, tmp_path: Path) -> None:
    good = {file.name: file.read_bytes() for file in model_folder.iterdir()}
    hub.repositories["me/pickled"] = Repository(
        False, {"a" * 40: {"config.json": b"{}", "pytorch_model.bin": b"x"}}
    )
    hub.repositories["me/damaged"] = Repository(
        False, {"b" * 40: {**good, "model.safetensors": good["model.safetensors"][:-1] + b"\x01"}}
    )
    hub.repositories["me/tiny"] = Repository(True, {"c" * 40: good})
    for name, words in (
        ("hf:me/pickled", "it has no model.safetensors. Pickled weights are never loaded"),
        ("hf:me/damaged", f"me/damaged@{'b' * 40} is damaged, and was removed again"),
        ("hf:me/none", "is not on the Hub, or the Hub does not show it to you"),
        ("hf:me/tiny@v2", "has no such revision"),
    ):
        with pytest.raises(InputError, match=words):
            pull_model(name, tmp_path / "copy")
        assert not (tmp_path / "copy").exists()
    assert not list((tmp_path / "cache").glob("models--me--damaged/snapshots/*"))
    (tmp_path / "copy").mkdir()
    with pytest.raises(InputError, match="already exists"):
        pull_model("hf:me/tiny", tmp_path / "copy")
    assert pull_model(f"hf:me/tiny@{'c' * 40}") == f"me/tiny@{'c' * 40}"


def test_a_model_whose_card_was_not_fetched_is_copied_without(
    hub: Hub, model_folder: Path, tmp_path: Path
) -> None:
    import huggingface_hub

    good = {file.name: file.read_bytes() for file in model_folder.iterdir()}
    hub.repositories["me/tiny"] = Repository(False, {"c" * 40: good})
    for file in ("config.json", "model.safetensors"):  # as by another program, or a stopped one
        huggingface_hub.hf_hub_download("me/tiny", file, revision="c" * 40, endpoint=hub.url)
    pull_model("hf:me/tiny", tmp_path / "copy")
    assert read_config(tmp_path / "copy") == read_config(model_folder)


def test_a_private_model_needs_the_users_token(
    hub: Hub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {file.name: file.read_bytes() for file in model_folder.iterdir()}
    hub.repositories["me/tiny"] = Repository(True, {"c" * 40: good})
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    with pytest.raises(InputError, match="is not on the Hub, or the Hub does not show it to you"):
        pull_model("hf:me/tiny")
