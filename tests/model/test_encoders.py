"""Image encoders of other libraries: keys, reading, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from encoder_folders import MEAN, SIDE, STD, write_dinov2, write_onnx
from napari_nh2st.errors import InputError
from napari_nh2st.extras import import_problem
from napari_nh2st.model.encoders.foreign import token_features
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.licences import may_be_stored
from napari_nh2st.model.encoders.readers import build_described, describe, read_encoder
from napari_nh2st.model.weights_file import file_sha256


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dinov2(tmp_path_factory.mktemp("encoders") / "dinov2", licence="apache-2.0")


@pytest.fixture
def changed(dinov2: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(dinov2, tmp_path / "dinov2")


TILES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("features", ["cls", "pooled", "cls+mean"])
def test_features_are_those_that_the_library_gives(dinov2: Path, features: str) -> None:
    import transformers

    encoder = read_encoder(parse_key(f"transformers:{dinov2}?features={features}"))
    output = transformers.Dinov2Model.from_pretrained(dinov2).eval()(TILES)
    hidden = output.last_hidden_state
    expected = {
        "cls": hidden[:, 0],
        "pooled": output.pooler_output,
        "cls+mean": torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1),
    }[features]
    torch.testing.assert_close(encoder(TILES)[:, :, 0, 0], expected)
    assert encoder.spec.n_features == expected.shape[1]


def test_registers_are_no_patches() -> None:
    # The class token, four registers, and patches, as of DINOv2 with registers, UNI 2 or Virchow 2.
    hidden = torch.cat([torch.full((2, 1, 3), 7.0), torch.full((2, 4, 3), 1e6)], 1)
    hidden = torch.cat([hidden, torch.ones(2, 2, 3), torch.full((2, 2, 3), 2.0)], 1)
    assert token_features(hidden, "cls", 5).tolist() == 2 * [[7.0] * 3]
    assert token_features(hidden, "cls+mean", 5).tolist() == 2 * [[7.0] * 3 + [1.5] * 3]


def test_a_folder_says_how_its_tiles_are_made(dinov2: Path) -> None:
    spec = read_encoder(parse_key(f"transformers:{dinov2}?mpp=0.5")).spec
    assert (spec.tile_px, spec.mean, spec.std, spec.mpp) == (SIDE, MEAN, STD, 0.5)
    assert (spec.licence, spec.revision, spec.map_side) == ("apache-2.0", "", 1)
    assert spec.sha256 == file_sha256(dinov2 / "model.safetensors")


def test_an_encoder_is_built_again_from_its_description(dinov2: Path) -> None:
    encoder = read_encoder(parse_key(f"transformers:{dinov2}"))
    description = json.loads(json.dumps(describe(encoder)))
    again = build_described(description).eval()
    assert not torch.allclose(again(TILES), encoder(TILES))
    again.read_weights(dinov2)
    torch.testing.assert_close(again(TILES), encoder(TILES))
    assert again.spec == encoder.spec


def test_other_weights_than_a_model_was_made_with_are_refused(dinov2: Path, tmp_path: Path) -> None:
    description = describe(read_encoder(parse_key(f"transformers:{dinov2}")))
    other = write_dinov2(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="not those that the model was made with"):
        build_described(description).read_weights(other)


def test_weights_as_a_pickle_hold_tensors_alone(changed: Path) -> None:
    from safetensors.torch import load_file

    safe = read_encoder(parse_key(f"transformers:{changed}"))
    state = load_file(changed / "model.safetensors")
    (changed / "model.safetensors").unlink()
    torch.save(state, changed / "pytorch_model.bin")
    pickled = read_encoder(parse_key(f"transformers:{changed}"))
    torch.testing.assert_close(pickled(TILES), safe(TILES))
    torch.save(state | {"more": Path("more")}, changed / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be read as an encoder"):
        read_encoder(parse_key(f"transformers:{changed}"))


def test_weights_that_lack_a_layer_are_refused(changed: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(changed / "model.safetensors")
    del state["layernorm.weight"]
    save_file(state, changed / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"it lacks layernorm\.weight"):
        read_encoder(parse_key(f"transformers:{changed}"))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"model_type": "bert"}, "of type 'bert'"),
        ({"model_type": "hibou", "auto_map": {"AutoModel": "code.Model"}}, "never run"),
        ({"image_size": "wide"}, "image_size|its config.json is wrong"),
    ],
)
def test_what_is_no_vision_transformer_is_refused(
    changed: Path, edit: dict[str, object], message: str
) -> None:
    path = changed / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | edit), encoding="utf-8"
    )
    with pytest.raises(InputError, match=message):
        read_encoder(parse_key(f"transformers:{changed}"))


def test_normalization_that_nobody_says_is_asked_for(changed: Path) -> None:
    (changed / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"\?mean=0\.485,0\.456,0\.406&std="):
        read_encoder(parse_key(f"transformers:{changed}"))
    key = f"transformers:{changed}?mean=0.5,0.5,0.5&std=0.1,0.2,0.3"
    assert read_encoder(parse_key(key)).spec.std == (0.1, 0.2, 0.3)


def test_normalization_is_not_guessed(changed: Path) -> None:
    path = changed / "preprocessor_config.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps({n: v for n, v in said.items() if n != "image_mean"}), encoding="utf-8"
    )
    with pytest.raises(InputError, match="how tiles are normalized"):
        read_encoder(parse_key(f"transformers:{changed}"))
    path.write_text(json.dumps(said | {"do_rescale": False}), encoding="utf-8")
    with pytest.raises(InputError, match="do_rescale is off"):
        read_encoder(parse_key(f"transformers:{changed}"))


def test_a_config_makes_the_library_run_and_read_nothing_else(changed: Path) -> None:
    path = changed / "config.json"
    elsewhere = {"attn_implementation": "owner/kernel", "transformers_weights": "other.safetensors"}
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | elsewhere), encoding="utf-8"
    )
    encoder = read_encoder(parse_key(f"transformers:{changed}"))
    assert not elsewhere.keys() & encoder.recipe["config"].keys()
    description = describe(encoder)
    description["recipe"]["config"] |= elsewhere  # as a stranger's model may say
    build_described(description).read_weights(changed)
    (changed / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="would change the encoder"):
        build_described(description).read_weights(changed)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("transformer:x", "did you mean transformers:"),
        ("timm:", "must follow timm:"),
        ("onnx:file?side=3", "'side=3' is not an option"),
        ("transformers:x?features=mean", "nothing|folder"),
    ],
)
def test_a_wrong_key_is_refused_in_a_sentence(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_encoder(parse_key(key))


def test_what_is_on_the_hub_and_not_here_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", _no_network)
    key = f"transformers:owner/name@{'0' * 40}"
    with pytest.raises(InputError, match=f"`nh2st model fetch-encoder '{key}'` downloads it"):
        read_encoder(parse_key(key))
    with pytest.raises(InputError, match="full commit hash"):
        read_encoder(parse_key("transformers:owner/name@main"))


def _no_network(*_: object) -> None:
    raise AssertionError("it went to the network")


@pytest.mark.parametrize(
    ("licence", "stored"),
    [
        ("mit", True),
        ("Apache-2.0", True),
        ("cc-by-nc-nd-4.0", False),
        ("", False),
        ("gpl-3.0", False),
    ],
)
def test_weights_are_passed_on_where_a_licence_is_known_to_allow_it(
    licence: str, stored: bool
) -> None:
    assert may_be_stored(licence) is stored


# --- ONNX ---


def test_a_side_that_an_encoder_cannot_take_is_refused_when_it_is_read(tmp_path: Path) -> None:
    folder = write_dinov2(tmp_path / "dino")
    assert read_encoder(parse_key(f"transformers:{folder}?tile_px=42")).spec.tile_px == 42
    with pytest.raises(InputError, match=r"tile_px=5 cannot take tiles of 5 px: "):
        read_encoder(parse_key(f"transformers:{folder}?tile_px=5"))


def test_an_onnx_file_encodes_tiles(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "means.onnx")
    encoder = read_encoder(parse_key(f"onnx:{path}?mpp=1&licence=mit"))
    weights = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[1])
    expected = TILES.mean((2, 3)) @ torch.from_numpy(weights.copy())
    torch.testing.assert_close(encoder(TILES)[:, :, 0, 0], expected)
    torch.testing.assert_close(encoder.prepared()(TILES)[:, :, 0, 0], expected)
    assert (encoder.spec.tile_px, encoder.spec.mpp, encoder.spec.n_features) == (SIDE, 1, 5)


def test_an_onnx_file_that_takes_no_tiles_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be run as an encoder"):
        read_encoder(parse_key(f"onnx:{damaged}"))
    fixed = write_onnx(tmp_path / "fixed.onnx", batch=1)
    with pytest.raises(InputError, match="dynamic first axis"):
        read_encoder(parse_key(f"onnx:{fixed}"))
    with pytest.raises(InputError, match="tiles of 28 px, and not of 32"):
        read_encoder(parse_key(f"onnx:{write_onnx(tmp_path / 'm.onnx')}?tile_px=32"))


# --- timm, where it can be imported ---


def test_timm_is_not_told_to_read_other_weights() -> None:
    from napari_nh2st.model.encoders.timm_models import checked_recipe

    recipe = {
        "architecture": "vit_tiny_patch16_224.a_tag",
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "source": "hf-hub", "hf_hub_id": "owner/name"},
        "arguments": {"depth": 1, "checkpoint_path": "a.pth", "pretrained_cfg_overlay": {}},
    }
    expected = "vit_tiny_patch16_224.a_tag", {"mean": [0.5, 0.5, 0.5]}, {"depth": 1}
    assert checked_recipe("timm:x", recipe) == expected
    with pytest.raises(InputError, match="not an architecture of timm"):
        checked_recipe("timm:x", recipe | {"architecture": "hf-hub:owner/name"})


def test_timm_that_cannot_be_imported_is_a_sentence(tmp_path: Path) -> None:
    problem = import_problem("timm")
    if problem is None:
        pytest.skip("timm can be imported here")
    with pytest.raises(InputError, match=r"needs timm.*napari-nh2st\[timm\]"):
        read_encoder(parse_key(f"timm:{tmp_path}"))


@pytest.mark.skipif(import_problem("timm") is not None, reason="timm cannot be imported here")
@pytest.mark.parametrize("features", ["pooled", "cls+mean"])
def test_features_are_those_that_timm_gives(tmp_path: Path, features: str) -> None:
    import timm
    from safetensors.torch import save_file

    name, small = "vit_tiny_patch16_224", {"img_size": 32, "depth": 1, "embed_dim": 24}
    model = timm.create_model(name, num_classes=3, **small).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    cfg = {"input_size": [3, 32, 32], "mean": MEAN, "std": STD, "classifier": "head"}
    cfg |= {"num_classes": 3, "license": "mit"}
    config = {"architecture": name, "model_args": small, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    encoder = read_encoder(parse_key(f"timm:{tmp_path}?features={features}"))
    tiles = torch.randn(2, 3, 32, 32)
    hidden = model.forward_features(tiles)
    expected = hidden[:, 0]
    if features == "cls+mean":
        expected = torch.cat([expected, hidden[:, 1:].mean(1)], 1)
    torch.testing.assert_close(encoder(tiles)[:, :, 0, 0], expected)
    assert (encoder.spec.tile_px, encoder.spec.std) == (32, STD)


def test_the_list_of_encoders_says_which_can_run_here(capsys: pytest.CaptureFixture[str]) -> None:
    from napari_nh2st.cli.main import main

    main(["model", "list", "--encoders", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed["resnet18"]["problem"] == ""
    assert "apache-2.0" in listed["timm:bioptimus/H-optimus-0"]["about"]
    assert "weights stay out of models" in listed["timm:MahmoodLab/UNI"]["about"]
    assert listed["transformers:owkin/phikon"]["problem"]
