"""A model folder comes back as it was written, and names what is wrong with it."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_nh2st.errors import InputError
from napari_nh2st.model import ModelConfig, load_model, read_config
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import (
    Model,
    file_sha256,
    load_model_folder,
    new_model,
    save_model_folder,
)
from napari_nh2st.model.sources import find_model
from small_configs import PANEL, small_config
from small_models import small_model

Config = dict[str, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model("neighborhood"), folder, dtype=torch.float16)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A good model folder, to be damaged; its weights are not to be written in place."""
    (tmp_path / "small").mkdir()
    shutil.copy(saved / "config.json", tmp_path / "small")
    (tmp_path / "small" / "model.safetensors").hardlink_to(saved / "model.safetensors")
    return tmp_path / "small"


def edit(folder: Path, change: Callable[[Config], object]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change tensors, and the config's sha256 with them."""
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    path.unlink()
    save_file(state, path)
    sign(folder)


def sign(folder: Path) -> None:
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    edit(folder, lambda config: config["weights"].update(sha256=sha256))


@pytest.mark.parametrize("context", ["query", "average", "neighborhood"])
def test_a_model_comes_back_as_it_was_saved(tmp_path: Path, context: str) -> None:
    model = small_model(context, reliability={"VIM": 0.25, "CD74": None})
    written = save_model_folder(model, tmp_path / "new" / "model")
    read = load_model_folder(tmp_path / "new" / "model")
    assert read.config == written.config
    assert read.config.to_json() | {"weights": {}} == model.config.to_json()
    assert read.config.panel == PANEL
    assert not read.network.training
    expected = model.network.state_dict()
    assert read.network.state_dict().keys() == expected.keys()
    for name, tensor in read.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_half_precision_takes_two_bytes_a_weight_and_rounds_it(saved: Path) -> None:
    expected = small_model("neighborhood").network.state_dict()
    count = sum(tensor.numel() for tensor in expected.values())
    assert (saved / "model.safetensors").stat().st_size == pytest.approx(2 * count, rel=0.01)
    read = load_model_folder(saved)
    for name, tensor in expected.items():
        found = read.network.state_dict()[name]
        assert found.dtype == tensor.dtype
        torch.testing.assert_close(found, tensor, rtol=1e-3, atol=1e-4)


def test_weights_hash_is_that_of_the_file(saved: Path) -> None:
    content = (saved / "model.safetensors").read_bytes()
    expected = hashlib.sha256(content).hexdigest()
    assert read_config(saved).weights == {"file": "model.safetensors", "sha256": expected}
    assert file_sha256(saved / "model.safetensors") == expected


def test_folder_holds_config_weights_and_card(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    assert [path.name for path in saved.parent.iterdir()] == ["small"]


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="already exists"):
        save_model_folder(small_model(), tmp_path / "model")


def test_a_failed_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_nh2st.model.folder.save_file", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save_model_folder(small_model(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


REQUIRED = [
    "format",
    "name",
    "architecture",
    "hyperparameters",
    "panel",
    "target",
    "tile_px",
    "mpp",
    "pitch_um",
    "neighborhood",
    "training",
    "weights",
]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_field_is_named(folder: Path, name: str) -> None:
    edit(folder, lambda config: config.pop(name))
    with pytest.raises(InputError, match=f"{name}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": 2}, "format"),
        ({"name": ""}, "name"),
        ({"extra": 1}, "'extra' was unexpected"),
        ({"panel": []}, "panel"),
        ({"panel": [*PANEL[:4], "ERBB2"]}, "panel: 'ERBB2' occurs more than once"),
        ({"panel": [["a"], ["a"]]}, "panel"),
        ({"panel": [*PANEL[:4], 5]}, "panel[4]"),
        ({"panel": {str(i): i for i in range(300)}}, "panel"),
        ({"tile_px": 100}, "tile_px"),
        ({"tile_px": "32"}, "tile_px"),
        ({"mpp": 0}, "mpp"),
        ({"mpp": [0.5, 0.5]}, "mpp"),
        ({"pitch_um": -1}, "pitch_um"),
        ({"target": {"description": "x"}}, "target: 'scale_to'"),
        ({"neighborhood": {"size": 9, "layout": "round"}}, "neighborhood.layout"),
        ({"neighborhood": {"size": 7, "layout": "square"}}, "neighborhood.size is 7"),
        ({"training": {"trained": "yes", "summary": "x"}}, "training.trained"),
        ({"reliability": {"VIM": 1.5}}, "reliability.VIM"),
        ({"reliability": {"VIM": 0.5, "OTHER": 0.5}}, "reliability names genes that are not in"),
        ({"weights": {"file": "../x", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "model.safetensors", "sha256": "0"}}, "weights.sha256"),
        ({"weights": {"file": "model.safetensors", "sha256": "0" * 64}}, "weights.sha256"),
        ({"architecture": "other"}, "architecture is 'other'; this version has 'nh2st'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_field_is_named(folder: Path, change: Config, named: str) -> None:
    edit(folder, lambda config: config.update(change))
    with pytest.raises(InputError) as raised:
        load_model(folder)
    message = str(raised.value)
    assert named in message
    assert str(folder) in message
    assert len(message) < 300 + len(str(folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context", "everything"),
        ("dim", 0),
        ("dim", "16"),
        ("dim", 16.5),
        ("dim", True),
        ("dim", 17),
        ("depth", -1),
        ("heads", 0),
        ("hidden", 0.5),
        ("hypergraph_hidden", None),
        ("neighbors", 0),
        ("hyperedge_others", 2.5),
        ("mlp_ratio", 0),
        ("dropout", 1),
        ("panel_size", 5),
        ("tile_px", 32),
        ("layers", 3),
    ],
)
def test_a_wrong_hyperparameter_is_named(folder: Path, name: str, value: object) -> None:
    edit(folder, lambda config: config["hyperparameters"].update({name: value}))
    with pytest.raises(InputError, match=rf"config\.json: hyperparameters\.{name}"):
        load_model(folder)


def test_whole_floats_are_taken_for_integers(folder: Path) -> None:
    edit(folder, lambda config: config.update(tile_px=32.0))
    config = load_model(folder).config
    assert type(config.tile_px) is int


def test_hyperparameters_and_weights_have_to_fit(folder: Path) -> None:
    edit(folder, lambda config: config["hyperparameters"].update(dim=32))
    with pytest.raises(
        InputError, match=r"expression_encoder\.0\.weight has shape \(16, 5\).*\(32, 5\)"
    ):
        load_model(folder)


def test_panel_and_weights_have_to_fit(folder: Path) -> None:
    edit(folder, lambda config: config["panel"].append("ONE_MORE"))
    with pytest.raises(InputError, match=r"has shape .*5.*panel and hyperparameters make .*6"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("decoder.1.bias"), r"it lacks decoder\.1\.bias"),
        (lambda state: state.update(more=torch.ones(1)), "it has more, which does not belong"),
        (
            lambda state: state.update({"decoder.1.bias": torch.ones(6)}),
            r"decoder\.1\.bias has shape \(6,\)",
        ),
        (
            lambda state: state["image_encoder.layer3.0.conv1.weight"].view(-1)[7].fill_(torch.nan),
            r"image_encoder\.layer3\.0\.conv1\.weight has values that are not finite",
        ),
        (
            lambda state: state["query_head.weight"].view(-1)[-1].fill_(torch.inf),
            r"query_head\.weight has values that are not finite",
        ),
    ],
    ids=["missing", "unknown", "shape", "NaN", "infinite"],
)
def test_a_wrong_tensor_is_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    edit_weights(folder, change)
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_other_weights_than_the_configs_are_refused(folder: Path) -> None:
    sha256 = read_config(folder).weights["sha256"]
    edit_weights(folder, lambda state: state["decoder.1.bias"].add_(1))
    edit(folder, lambda config: config["weights"].update(sha256=sha256))
    with pytest.raises(InputError, match=r"model\.safetensors is not the file .*weights\.sha256"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
def test_damaged_weights_are_refused(folder: Path, content: bytes | None) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()[:-1000] if content is None else content
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(InputError, match="sha256"):
        load_model(folder)
    sign(folder)
    with pytest.raises(InputError, match=r"model\.safetensors is not a safetensors file"):
        load_model(folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"is not a model folder: it has no config\.json"):
        load_model(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b'{"mpp": NaN}', b'{"mpp": Infinity}']
)
def test_a_config_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        load_model(folder)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"'])
def test_a_config_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="the top level"):
        load_model(folder)


class Unpickled:
    """Says so if it ever is."""

    happened = False

    @classmethod
    def tell(cls) -> None:
        cls.happened = True

    def __reduce__(self) -> tuple[Any, ...]:
        return Unpickled.tell, ()


def test_pickles_are_never_opened(folder: Path) -> None:
    pickle.loads(pickle.dumps(Unpickled()))
    assert Unpickled.happened, "the test itself does not work"
    Unpickled.happened = False
    checkpoint = folder / "checkpoint.pt"
    torch.save({"state_dict": Unpickled()}, checkpoint)
    with pytest.raises(InputError, match=r"is a file; a model is a folder.*never loaded"):
        load_model(checkpoint)
    (folder / "model.safetensors").unlink()
    shutil.copy(checkpoint, folder / "model.safetensors")
    sign(folder)
    with pytest.raises(InputError, match="is not a safetensors file"):
        load_model(folder)
    assert not Unpickled.happened


def same_weights(first: Model, second: Model) -> bool:
    pairs = zip(
        first.network.state_dict().values(), second.network.state_dict().values(), strict=True
    )
    return all(torch.equal(a, b) for a, b in pairs)


def test_new_models_are_their_seeds() -> None:
    first = new_model(small_config(), 3)
    assert same_weights(first, new_model(small_config(), 3))
    assert not same_weights(first, new_model(small_config(), 4))


def test_new_models_leave_the_random_state_as_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    new_model(small_config(), 3)
    assert torch.equal(torch.rand(3), expected)


def test_new_models_say_that_they_are_untrained() -> None:
    model = new_model(small_config(reliability={"VIM": 0.5}), 3)
    assert not model.config.trained
    assert model.config.reliability is None
    assert "UNTRAINED" in model.config.training["summary"]
    assert "UNTRAINED" in model_card(model.config)


def test_card_tells_panel_target_scale_and_trust() -> None:
    config = small_config("average", reliability={"VIM": 0.5, "CD74": 0.1, "EPCAM": None})
    card = model_card(config)
    assert "UNTRAINED" not in card
    for part in (
        "context `average`",
        "5 genes: ERBB2, EPCAM",
        str(config.target["description"]),
        "32 px at 1 µm/px (32 µm)",
        "mean 0.30 over 2 genes, from 0.10 to 0.50",
        "Made for a test.",
    ):
        assert part in card
    assert "Not measured" in model_card(small_config())


def test_config_survives_json(saved: Path) -> None:
    config = read_config(saved)
    text = json.dumps(config.to_json())
    assert ModelConfig.from_json(json.loads(text), "again") == config


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_folder_hidden_by_a_kill_while_it_was_replaced_is_found(
    tmp_path: Path, is_whole: bool
) -> None:
    """Between the two renames of a replacement there is none under the name."""
    folder, work = tmp_path / "model", tmp_path / ".model.nh2st-abcdefgh"
    save_model_folder(small_model(), folder)
    (work / "new").mkdir(parents=True)
    folder.rename(work / "old")
    if is_whole:
        save_model_folder(small_model(reliability={"VIM": 0.5}), work / "new" / "model")
    found = load_model_folder(find_model(folder))
    assert found.config.reliability == ({"VIM": 0.5} if is_whole else None)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
