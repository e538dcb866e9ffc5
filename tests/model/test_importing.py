"""Checkpoints of the released code become models, and nothing in them is executed."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_nh2st.cli import main
from napari_nh2st.errors import InputError
from napari_nh2st.model import load_model
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.model.importing import import_checkpoint
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST
from reference_network import reference_pass

GENES = tuple(f"G{number}" for number in range(250))


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def released(vectors: Path) -> dict[str, torch.Tensor]:
    return reference_pass(vectors).state_dict


def load(path: Path, panel: tuple[str, ...] = GENES) -> Any:
    return import_checkpoint(path, panel, name="imported", mpp=0.5, pitch_um=200)


def test_an_imported_checkpoint_predicts_the_reference(vectors: Path, tmp_path: Path) -> None:
    reference = reference_pass(vectors)
    path = save(tmp_path / "best.ckpt", {"state_dict": reference.state_dict, "epoch": 3})
    model = load(path)
    assert model.config.context == "query"
    assert model.config.training["trained"] is True
    save_model_folder(model, tmp_path / "model")
    network = load_model(tmp_path / "model").network
    assert isinstance(network, NH2ST)
    with torch.inference_mode():
        maps = network.encode(reference.tiles[[0, 9]])
        found = network.predict(maps)
    expected = torch.from_numpy(reference.outputs["prediction"])
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-4
    PreparedNH2ST(network, range(250), torch.device("cpu"), torch.float32)


RELEASED = {  # what our names begin with, and those of the released code
    **{f"image_encoder.layer{n}.": f"target_encoder.{n + 3}." for n in (1, 2, 3, 4)},
    "image_encoder.conv1.": "target_encoder.0.",
    "image_encoder.bn1.": "target_encoder.1.",
    "expression_encoder.": "exp_encoder.",
    "query_head.": "fc.",
    "neighbor_image_encoder.conv": "neighbor_encoder.layer",
    "neighbor_expression_encoder.conv": "neighbor_exp_encoder.layer",
    "decoder.0.": "decoder.fc1.",
    "decoder.1.": "decoder.fc2.",
    "norm_attention.": "0.norm.",
    "attention.to_out.": "0.fn.to_out.0.",
    "attention.": "0.fn.",
    "norm_mlp.": "1.norm.",
    "mlp.": "1.fn.net.",
}


def released_name(name: str) -> str:
    """The name that a tensor of ours has in the released code."""
    start, rest = "", name
    if name.startswith("cross_encoder.layers."):
        depth, rest = name.removeprefix("cross_encoder.layers.").split(".", 1)
        start = f"cross_encoder.fusion_layer.layers.{depth}."
    ours = next((each for each in RELEASED if rest.startswith(each)), "")
    theirs = RELEASED.get(ours, "") + rest.removeprefix(ours)
    if name.startswith("neighbor_"):
        theirs = re.sub(r"(layer\d)\.", r"\1.conv.", theirs)
    return start + theirs


def test_the_shapes_of_a_checkpoint_say_how_its_network_is_built(tmp_path: Path) -> None:
    made = NH2STHyperparameters(
        5, tile_px=64, dim=16, depth=2, heads=2, mlp_ratio=0.5, hidden=8, hypergraph_hidden=12
    )
    state = NH2ST(made).state_dict()
    path = save(
        tmp_path / "small.ckpt", {"state_dict": {released_name(n): t for n, t in state.items()}}
    )
    model = import_checkpoint(path, GENES[:5], name="small", mpp=1.0, pitch_um=64, heads=2)
    assert model.config.tile_px == 64
    assert isinstance(model.network, NH2ST)
    assert model.network.hyperparameters == made
    found = model.network.state_dict()
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor), name


def test_the_command_imports(
    released: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "best.ckpt", {"state_dict": released})
    (tmp_path / "genes").write_text("\n".join(GENES), encoding="utf-8")
    arguments = ["model", "import", str(path), "--genes-file", str(tmp_path / "genes")]
    arguments += ["--mpp", "0.69", "--pitch-um", "200", "-o", str(tmp_path / "model")]
    assert main(arguments) == 0, capsys.readouterr().err
    config = load_model(tmp_path / "model").config
    assert (config.mpp, config.pitch_um, config.panel) == (0.69, 200, GENES)
    assert main(arguments) == 2, "the folder exists by now"


class Trap:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"echo caught > {self.marker}",)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, plain_pickle: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "evil.ckpt"
    content = {"state_dict": {}, "extra": Trap(marker)}
    if plain_pickle:
        path.write_bytes(pickle.dumps(content))
    else:
        save(path, content)
    with pytest.raises(InputError, match="executed"):
        load(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Trap(marker)))
    assert marker.exists(), "the trap works: the test could have failed"


def test_the_panel_has_to_fit(released: dict[str, torch.Tensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="250 genes, the list has 3"):
        load(save(tmp_path / "best.ckpt", {"state_dict": released}), ("A", "B", "C"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"other.weight": torch.zeros(2)}}, "other.weight"),
        ({"state_dict": {"fc.weight": torch.zeros(512, 25088)}}, "lacks"),
        ({"state_dict": {}}, "lacks"),
        ({"epoch": 3}, "no state_dict"),
        ([1, 2], "no state_dict"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(save(tmp_path / "other.ckpt", content))


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.ckpt cannot be read"):
        load(tmp_path / "gone.ckpt")
    for content in (b"", b"not a checkpoint", b"PK\x03\x04 cut off"):
        (tmp_path / "bad.ckpt").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.ckpt"):
            load(tmp_path / "bad.ckpt")


def test_a_wrong_shape_is_named(released: dict[str, torch.Tensor], tmp_path: Path) -> None:
    released = released | {"exp_encoder.0.weight": torch.zeros(512, 3)}
    with pytest.raises(InputError, match="expression_encoder"):
        load(save(tmp_path / "best.ckpt", {"state_dict": released}))
