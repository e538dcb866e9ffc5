"""Configs of tiny models, which need no torch."""

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
