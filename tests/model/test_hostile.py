"""Model folders and checkpoints made to use up a machine are refused before anything is built."""

import hashlib
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_nh2st.errors import InputError
from napari_nh2st.json_text import parse_json
from napari_nh2st.model import load_model, read_config
from napari_nh2st.model.config import first_repeated
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.model.importing import import_checkpoint
from napari_nh2st.model.weights_file import read_state_dict
from small_models import small_model

HUGE = {"dim": 16_384, "heads": 8, "hidden": 65_536, "hypergraph_hidden": 65_536}
"""Each within its bounds; together terabytes."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def write_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    edit(folder, lambda config: config["weights"].update(sha256=sha256))


# --- configs ---


def test_sizes_are_compared_with_the_weights_before_the_network_is_built(folder: Path) -> None:
    edit(folder, lambda config: config["hyperparameters"].update(HUGE))
    edit(folder, lambda config: config.update(tile_px=4096))
    with pytest.raises(InputError, match=r"does not fit config\.json: .* has shape"):
        load_model(folder)


@pytest.mark.parametrize("name", ["dim", "depth", "heads", "hidden", "hypergraph_hidden"])
@pytest.mark.parametrize("value", [10**6, 10**9])
def test_numbers_without_reason_are_refused(folder: Path, name: str, value: int) -> None:
    edit(folder, lambda config: config["hyperparameters"].update({name: value}))
    with pytest.raises(InputError, match=rf"hyperparameters\.{name} is {value}; .* at most"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda config: config["hyperparameters"].update(mlp_ratio=1e9), "mlp_ratio"),
        (lambda config: config["neighborhood"].update(size=10**9), "neighborhood.size"),
        (lambda config: config.update(tile_px=32 * 10**6), "tile_px"),
        (lambda config: config["target"].update(scale_to=1e300), "target.scale_to"),
    ],
)
def test_other_numbers_without_reason_are_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    edit(folder, change)
    with pytest.raises(InputError, match=named):
        load_model(folder)


def test_a_gene_that_is_there_twice_is_found_in_one_pass() -> None:
    class Name(str):
        __slots__ = ()
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [Name(f"G{number}") for number in range(2000)]
    assert first_repeated(names) is None
    assert first_repeated([*names, Name("G7"), Name("G3")]) == "G7"
    assert Name.compared < 2000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deeply"),
        ("[1e999]", "1e999 is too large"),
        ("[-1e999]", "too large"),
        ("[" + "9" * 5000 + "]", "too large"),
        ("[NaN]", "NaN is not a number"),
        ('["\\ud800"]', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
    ],
)
def test_json_that_cannot_be_computed_with_is_refused(folder: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_json(text)
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"config\.json is not JSON: .*{words}"):
        read_config(folder)


def test_other_json_is_what_pythons_own_reader_makes_of_it() -> None:
    text = '{"a": [1, -2.5, 1e-400, 9223372036854775807, null, true, "\\ud83d\\ude00 é"], "b": {}}'
    assert parse_json(text) == json.loads(text)


def test_a_config_is_a_file_of_a_bounded_size(folder: Path) -> None:
    config = folder / "config.json"
    with config.open("r+b") as file:
        file.truncate(20 * 1024**2)
    with pytest.raises(InputError, match=r"config\.json has 20 MB"):
        read_config(folder)
    config.unlink()
    config.mkdir()
    with pytest.raises(InputError, match="is not a file"):
        read_config(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs on Windows")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_fifo_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError):
        load_model(folder)


# --- weights ---


def test_weights_without_reason_are_not_read(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5 * 1024**3)  # of which the disk holds nothing
    with pytest.raises(InputError, match=r"model\.safetensors has 5\.0 GB"):
        load_model(folder)


@pytest.mark.parametrize("length", [2**24 + 1, 2**40, 2**64 - 1])
def test_a_header_without_reason_is_not_read(folder: Path, length: int) -> None:
    write_weights(folder, struct.pack("<Q", length) + b"{}" * 100)
    with pytest.raises(InputError, match="not a safetensors file"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**9, 10**9]},
        {"data_offsets": [0, 10**12]},
        {"data_offsets": [0, 4]},
        {"data_offsets": [8, 4]},
        {"dtype": "BOOL"},
        {"dtype": "F8_E4M3"},
        {"shape": [2**64]},
    ],
    ids=str,
)
def test_a_tensor_that_is_not_what_it_says_is_refused(folder: Path, change: dict[str, Any]) -> None:
    content = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    header["decoder.1.weight"].update(change)
    text = json.dumps(header).encode()
    write_weights(folder, struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_model(folder)


# --- checkpoints ---


def released(**changed: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint that tell the sizes of its network."""
    sizes = {
        "fc.weight": (16, 512),
        "decoder.fc1.bias": (8,),
        "decoder.fc2.bias": (5,),
        "cross_encoder.fusion_layer.layers.0.1.fn.net.0.weight": (16, 16),
        "cross_encoder.fusion_layer.layers.0.1.fn.net.0.bias": (16,),
        "neighbor_encoder.layer1.conv.bias": (8,),
    }
    return {name: torch.zeros(size) for name, size in sizes.items()} | changed


def load(path: Path) -> Any:
    return import_checkpoint(path, tuple("ABCDE"), name="n", mpp=0.5, pitch_um=100)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1, 1).expand(10**5, 512 * 49),
        torch.zeros(4, 2).to_sparse(),
        torch.empty(10**6, 512, device="meta"),
    ],
    ids=["one number for all", "sparse", "without values"],
)
def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": released(**{"fc.weight": tensor})}, path)
    with pytest.raises(InputError, match=r"a\.ckpt"):
        load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"decoder.fc1.bias": torch.zeros(10**6)},
        {"neighbor_encoder.layer1.conv.bias": torch.zeros(60_000)},
        {"fc.weight": torch.zeros(0, 0)},
        {"fc.weight": torch.zeros(3)},
        {"decoder.fc2.bias": torch.tensor(1.0)},
    ],
    ids=["hidden", "hypergraph", "nothing", "a row", "a number"],
)
def test_sizes_of_a_checkpoint_are_compared_before_the_network_is_built(
    tmp_path: Path, changed: dict[str, torch.Tensor]
) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": released(**changed)}, path)
    with pytest.raises(InputError, match="NH2ST"):
        load(path)


def test_a_checkpoint_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": released()}, tmp_path / "a.ckpt")
    read_state_dict(tmp_path / "a.ckpt", ("state_dict",))
    with (
        zipfile.ZipFile(tmp_path / "a.ckpt") as good,
        zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in good.namelist():
            bomb.writestr(name, good.read(name))
        bomb.writestr("a/data/99", bytes(10**7))
    with pytest.raises(InputError, match="is compressed"):
        load(tmp_path / "bomb.ckpt")
