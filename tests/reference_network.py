"""The reference pass of `vectors/nh2st_forward`, regenerated from its salt."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray


def regenerated_state_dict(salt: str, shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The reference weights, key by key."""
    state = {}
    for key, shape in shapes.items():
        seed = zlib.crc32(f"{salt}/{key}".encode())
        z = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        if key.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif key.endswith("running_mean"):
            z = 0.1 * z
        elif z.ndim == 1:
            z = 1 + 0.1 * z if key.endswith("weight") else 0.1 * z
        else:
            z = z * np.sqrt(2 / np.prod(shape[1:]))
        state[key] = torch.from_numpy(np.asarray(z, np.float32))
    return state


@dataclass(frozen=True)
class ReferencePass:
    state_dict: dict[str, torch.Tensor]
    tiles: torch.Tensor
    """(18, 3, 224, 224)"""
    expression: torch.Tensor
    """(18, genes)"""
    neighborhoods: torch.Tensor
    """(2, 9)"""
    outputs: dict[str, NDArray[np.float32]]


def reference_pass(folder: Path) -> ReferencePass:
    described = json.loads((folder / "nh2st_forward.json").read_text(encoding="utf-8"))
    salt, genes = described["salt"], described["hyperparameters"]["num_genes"]
    random = np.random.RandomState(zlib.crc32(f"{salt}/inputs".encode()))
    x = random.standard_normal((2, 3, 224, 224)).astype(np.float32)
    e = random.uniform(0, 2, (2, genes)).astype(np.float32)
    n = random.standard_normal((2, 9, 3, 224, 224)).astype(np.float32)
    n[:, 0] = x
    ne = random.uniform(0, 2, (2, 9, genes)).astype(np.float32)
    ne[:, 0] = e
    with np.load(folder / "nh2st_forward.npz") as stored:
        outputs = dict(stored)
    return ReferencePass(
        regenerated_state_dict(salt, described["state_dict_shapes"]),
        torch.from_numpy(n.reshape(18, 3, 224, 224)),
        torch.from_numpy(ne.reshape(18, genes)),
        torch.arange(18).reshape(2, 9),
        outputs,
    )
