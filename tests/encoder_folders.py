"""Folders with tiny image encoders of the real libraries, their weights random."""

import json
from pathlib import Path

import numpy as np
import pytest

SIDE = 28
MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.5)


def write_dinov2(folder: Path, *, licence: str | None = None, seed: int = 0) -> Path:
    """A DINOv2 of two layers and 16 features for tiles of 28 px, as transformers writes it."""
    transformers = pytest.importorskip("transformers")
    import torch

    config = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=SIDE,
        patch_size=14,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModel.from_config(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    describe(folder, licence)
    return folder


def describe(folder: Path, licence: str | None) -> None:
    """What lies beside weights: how tiles are normalized, and the card."""
    said = {"crop_size": {"height": SIDE, "width": SIDE}, "do_center_crop": True}
    said |= {"size": {"shortest_edge": 32}, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(said), encoding="utf-8")
    if licence is not None:
        (folder / "README.md").write_text(
            f"---\nlicense: {licence}\n---\n# An encoder\n", encoding="utf-8"
        )


def write_onnx(path: Path, *, features: int = 5, batch: str | int = "n") -> Path:
    """A file that gives random sums of a tile's channel means."""
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, onnx.numpy_helper
    weights = np.random.default_rng(0).normal(size=(3, features)).astype(np.float32)
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["tiles", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["features"]),
        ],
        "means",
        [helper.make_tensor_value_info("tiles", kind, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("features", kind, [batch, features])],
        [
            numbers.from_array(np.array([2, 3]), "axes"),
            numbers.from_array(weights, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path
