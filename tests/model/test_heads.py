"""Heads predict what their own networks would, around one encoder; their file is read with care."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_nh2st.errors import InputError
from napari_nh2st.model import load_model, read_config
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.config import CONTEXTS, Context, ModelConfig
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, new_model, save_model_folder
from napari_nh2st.model.heads import stacked_heads
from napari_nh2st.model.network import Network
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.model.prepared import Prepared
from small_configs import small_config
from small_models import model_with_heads, small_model

GENES = [4, 0, 2]


def rows(
    model: Model, tiles: torch.Tensor, around: torch.Tensor, mask: torch.Tensor, with_heads: bool
) -> torch.Tensor:
    """What the prepared network gives for every tile."""
    heads = model.heads if with_heads else None
    prepared = model.architecture.prepare(
        model.network, GENES, torch.device("cpu"), torch.float32, heads
    )
    encoded = prepared.encode(tiles)
    if prepared.reach == "tile":
        (found,) = encoded
        return found
    return prepared.combine(tuple(each[around] for each in encoded), mask)


@pytest.mark.parametrize("context", CONTEXTS)
@torch.inference_mode()
def test_spread_is_that_of_the_networks_with_these_heads(context: Context) -> None:
    model = model_with_heads(context, count=4)
    network, heads = model.network, model.heads
    assert isinstance(network, NH2ST)
    assert heads is not None
    tiles = torch.randint(0, 256, (12, 32, 32, 3), dtype=torch.uint8)
    around = torch.stack([torch.randperm(12)[:9] for _ in range(12)])
    around[:, 0] = torch.arange(12)
    mask = torch.rand(12, 9) < 0.7
    mask[:, 0] = True
    maps = network.encode(normalize_tiles(tiles))
    by_head = []
    for number in range(4):
        other = new_model(model.config, 100 + number).network
        assert isinstance(other, NH2ST)
        by_head.append(other.predict(maps, around, mask)[:, GENES].double().numpy())
    values = np.std(by_head, axis=0)
    assert values.min() > 1e-3, "heads that agree would show nothing"

    found = rows(model, tiles, around, mask, with_heads=True)
    assert found.shape == (12, 7)
    np.testing.assert_allclose(found[:, 3:6], values, rtol=1e-3, atol=1e-5)
    off = maps.mean((2, 3)).double().numpy() - heads.mean.double().numpy()
    distance = [np.linalg.norm(one @ heads.whitening.double().numpy()) for one in off]
    np.testing.assert_allclose(found[:, 6], distance, rtol=1e-4)
    # The model's own values do not know of heads.
    torch.testing.assert_close(
        found[:, :3], rows(model, tiles, around, mask, with_heads=False), rtol=0, atol=0
    )


@pytest.mark.parametrize("key", [key for key in CATALOGUE if key != "nh2st"])
@torch.inference_mode()
def test_architectures_over_pooled_features_have_heads_as_well(key: str, tmp_path: Path) -> None:
    narrow: dict[str, Any] = {"linear": {}, "rings": {"neighbors": 8}}.get(key, {"hidden": 8})
    if key.startswith("triplex"):
        narrow = {"dim": 8, "heads": 2, "guides": "boundary"}
    config = small_config(architecture=key, hyperparameters=narrow)
    networks = [drawn_network(config, seed) for seed in range(3)]
    architecture = ARCHITECTURES[key]
    parts, n = architecture.head_parts(config), architecture.n_features(config)
    heads = stacked_heads(networks, parts, torch.rand(n), torch.randn(n, n) / 100)
    model = replace(new_model(config, 0), network=drawn_network(config, 9), heads=heads)
    save_model_folder(model, tmp_path / "model")
    model = load_model_folder(tmp_path / "model")

    tiles = torch.randint(0, 256, (12, 32, 32, 3), dtype=torch.uint8)
    around = torch.stack([torch.randperm(12)[:9] for _ in range(12)])
    around[:, 0] = torch.arange(12)
    mask = torch.rand(12, 9) < 0.7
    mask[:, 0] = True
    offsets = 100 * torch.randn(12, 9, 2)
    offsets[:, 0] = 0
    assert isinstance(model.network, Network)
    maps = model.network.encode(normalize_tiles(tiles))
    centers = torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0))
    of_slide = networks[0].reach == "slide"
    by_head = [
        (
            each.predict_slide(maps, centers)
            if of_slide
            else each.predict(maps, around, mask, offsets)
        )[:, GENES]
        for each in networks
    ]
    found = []
    for with_heads, keeps_values in ((False, False), (True, False), (True, True)):
        prepared = architecture.prepare(
            model.network,
            GENES,
            torch.device("cpu"),
            torch.float32,
            model.heads if with_heads else None,
        )
        assert isinstance(prepared, Prepared)
        prepared.keeps_head_values = keeps_values
        encoded = prepared.encode(tiles)
        if prepared.reach == "neighborhood":
            encoded = (prepared.combine(tuple(row[around] for row in encoded), mask, offsets),)
        elif of_slide:
            preview = encoded[1]
            encoded = (prepared.combine_slide(encoded[0], centers),)
            assert preview.shape == encoded[0].shape
        found.append(encoded[0])
    torch.testing.assert_close(found[2][:, 7:], torch.cat(by_head, dim=1), rtol=1e-4, atol=1e-4)
    spread = torch.stack(by_head).std(0, correction=0)
    assert spread.min() > 1e-3, "heads that agree would show nothing"
    torch.testing.assert_close(found[1][:, 3:6], spread, rtol=1e-3, atol=1e-4)
    off = maps.mean((2, 3))[:, :n].double() - heads.mean.double()  # whatever guides there are
    distance = torch.linalg.vector_norm(off @ heads.whitening.double(), dim=1)
    torch.testing.assert_close(found[1][:, 6].double(), distance, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1][:, :3], found[0], rtol=0, atol=0)
    torch.testing.assert_close(found[2][:, :7], found[1], rtol=0, atol=0)


def drawn_network(config: ModelConfig, seed: int) -> Network:
    """With every weight that follows the encoder drawn, and one encoder."""
    network = new_model(config, 0).network
    assert isinstance(network, Network)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.named_parameters():
        if not name.startswith("image_encoder"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    return network.eval()


@pytest.mark.parametrize("context", CONTEXTS)
def test_heads_come_back_from_a_model_folder(tmp_path: Path, context: Context) -> None:
    model = model_with_heads(
        context,
        interval_90={"VIM": 0.25, "CD74": None},
        usual_spread={"VIM": 0.05, "CD74": None},
        reliability_of="other sections",
    )
    written = save_model_folder(model, tmp_path / "model")
    read = load_model_folder(tmp_path / "model")
    assert read.config == written.config
    about = written.config.heads
    assert about is not None
    content = (tmp_path / "model" / "heads.safetensors").read_bytes()
    assert about["sha256"] == hashlib.sha256(content).hexdigest()
    assert about["count"] == 3
    assert read.heads is not None
    assert model.heads is not None
    expected, found = model.heads.tensors(), read.heads.tensors()
    assert found.keys() == expected.keys()
    # The neighbors' side of a network that does not look at them would take half the file.
    assert any("neighbor_image" in name for name in found) == (context == "neighborhood")
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_half_precision_is_for_heads_and_not_for_features(tmp_path: Path) -> None:
    save_model_folder(model_with_heads(), tmp_path / "model", torch.float16)
    tensors = load_file(tmp_path / "model" / "heads.safetensors")
    for name, tensor in tensors.items():
        assert tensor.dtype == (torch.float16 if name.startswith("heads.") else torch.float32)
    read = load_model_folder(tmp_path / "model").heads
    assert read is not None
    assert {tensor.dtype for tensor in read.tensors().values()} == {torch.float32}


def test_a_model_without_heads_leaves_no_file_of_earlier_ones(tmp_path: Path) -> None:
    save_model_folder(model_with_heads(), tmp_path / "model")
    save_model_folder(small_model(), tmp_path / "model", overwrite=True)
    assert not (tmp_path / "model" / "heads.safetensors").exists()
    assert load_model_folder(tmp_path / "model").heads is None
    # What earlier versions cannot read is not in the config.
    assert not {"heads", "interval_90", "usual_spread", "reliability_of"} & set(
        json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    )


def test_a_new_model_has_nothing_of_the_heads_of_another() -> None:
    trusted = replace(
        model_with_heads().config,
        interval_90={"VIM": 1.0},
        usual_spread={"VIM": 0.1},
        reliability_of="others",
    )
    config = new_model(trusted, 0).config
    assert (config.heads, config.interval_90, config.reliability_of) == (None, None, None)
    assert config.usual_spread is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model_folder(model_with_heads("neighborhood"), tmp_path / "model")
    return tmp_path / "model"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def edit_heads(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change tensors, and the config's sha256 with them."""
    path = folder / "heads.safetensors"
    tensors = load_file(path)
    change(tensors)
    path.unlink()
    save_file(tensors, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder, lambda config: config["heads"].update(sha256=sha256))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("features.mean"), r"it lacks features\.mean"),
        (lambda t: t.pop("heads.decoder.1.bias"), r"it lacks heads\.decoder\.1\.bias"),
        (lambda t: t.update(more=torch.ones(1)), "it has more, which does not belong"),
        (
            lambda t: t.update({"features.whitening": torch.ones(512, 8)}),
            r"features\.whitening has shape \(512, 8\)",
        ),
        (
            lambda t: t.update({"heads.query_head.bias": torch.ones(2, 16)}),
            r"heads\.query_head\.bias has shape \(2, 16\).* \(3, 16\)",
        ),
        (
            lambda t: t["heads.decoder.0.weight"].view(-1)[-1].fill_(torch.nan),
            r"heads\.decoder\.0\.weight has values that are not finite",
        ),
        (
            lambda t: t["features.whitening"].view(-1)[5].fill_(torch.inf),
            r"features\.whitening has values that are not finite",
        ),
    ],
    ids=["no mean", "no bias", "unknown", "whitening", "fewer heads", "NaN", "infinite"],
)
def test_a_wrong_tensor_is_named(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    edit_heads(folder, change)
    with pytest.raises(InputError, match=message) as raised:
        load_model(folder)
    assert "heads.safetensors" in str(raised.value)


def test_other_heads_than_the_configs_are_refused(folder: Path) -> None:
    about = dict(read_config(folder).heads or {})
    edit_heads(folder, lambda tensors: tensors["features.mean"].add_(1))
    edit(folder, lambda config: config.update(heads=about))
    with pytest.raises(InputError, match=r"heads\.safetensors is not the file .*heads\.sha256"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 100, None])
def test_a_damaged_file_is_refused(folder: Path, content: bytes | None) -> None:
    path = folder / "heads.safetensors"
    content = path.read_bytes()[:-1000] if content is None else content
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"heads\.sha256"):
        load_model(folder)
    sha256 = hashlib.sha256(content).hexdigest()
    edit(folder, lambda config: config["heads"].update(sha256=sha256))
    with pytest.raises(InputError, match=r"heads\.safetensors is not a safetensors file"):
        load_model(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "heads.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no heads\.safetensors, which config\.json names"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"heads": {"file": "../x", "sha256": "0" * 64, "count": 3}}, "heads.file"),
        ({"heads": {"file": "heads.safetensors", "sha256": "0", "count": 3}}, "heads.sha256"),
        ({"heads": {"file": "heads.safetensors", "sha256": "0" * 64, "count": 1}}, "heads.count"),
        ({"heads": {"file": "heads.safetensors", "sha256": "0" * 64, "count": 65}}, "heads.count"),
        ({"heads": {"file": "heads.safetensors", "sha256": "0" * 64}}, "heads: 'count'"),
        ({"interval_90": {"VIM": -0.1}}, "interval_90.VIM"),
        ({"usual_spread": {"VIM": 0}}, "usual_spread.VIM"),
        ({"usual_spread": {"VIM": "1"}}, "usual_spread.VIM"),
        ({"usual_spread": {"OTHER": 0.5}}, "usual_spread names genes that are not in"),
        ({"interval_90": {"VIM": 0.5, "OTHER": 0.5}}, "interval_90 names genes that are not in"),
        ({"reliability_of": ""}, "reliability_of"),
        ({"reliability_of": "x" * 201}, "reliability_of"),
    ],
)
def test_a_wrong_field_is_named(folder: Path, change: dict[str, Any], named: str) -> None:
    edit(folder, lambda config: config.update(change))
    with pytest.raises(InputError) as raised:
        load_model(folder)
    assert named in str(raised.value)


def test_an_architecture_with_one_head_has_no_file_of_more(
    folder: Path, mean_color: object
) -> None:
    edit(
        folder,
        lambda config: config.update(
            architecture="mean-color", hyperparameters={"context": "query"}
        ),
    )
    weights = {"weight": torch.zeros(1)}
    save_file(weights, folder / "model.safetensors")
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    edit(folder, lambda config: config["weights"].update(sha256=sha256))
    with pytest.raises(InputError, match="'mean-color' cannot have several"):
        load_model(folder)
