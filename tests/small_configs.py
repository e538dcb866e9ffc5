"""Configs of tiny models, which need no torch."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from napari_nh2st.model import PUBLISHED_TARGET, ModelConfig

PANEL = ("ERBB2", "EPCAM", "CD74", "COL1A1", "VIM")


def small_config(context: str = "query", **changed: Any) -> ModelConfig:
    hyperparameters = {"dim": 16, "heads": 2, "hidden": 8, "hypergraph_hidden": 12}
    fields: dict[str, Any] = {
        "name": "small",
        "architecture": "nh2st",
        "hyperparameters": hyperparameters | {"context": context},
        "panel": PANEL,
        "target": PUBLISHED_TARGET,
        "tile_px": 32,
        "mpp": 1.0,
        "pitch_um": 32.0,
        "neighborhood": {"size": 9, "layout": "square"},
        "training": {"trained": True, "summary": "Made for a test."},
    }
    return ModelConfig(**(fields | changed))


def write_config(folder: Path, name: str, date: str | None = None) -> Path:
    """A model folder with its config alone."""
    config = small_config()
    training = dict(config.training) | ({} if date is None else {"date": date})
    weights = {"file": "model.safetensors", "sha256": "0" * 64}
    config = replace(config, name=name, training=training, weights=weights)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()), encoding="utf-8")
    return folder


def local(date: str) -> str:
    """A date as lists show it, in this machine's time."""
    return f"{datetime.fromisoformat(date).astimezone():%Y-%m-%d %H:%M}"
