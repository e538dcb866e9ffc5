"""The network, its model folders and where models come from."""

from napari_nh2st.model.config import PUBLISHED_TARGET, ModelConfig, read_config
from napari_nh2st.model.hub import PushedModel, pull_model, push_model
from napari_nh2st.model.sources import bundled_models, find_model, load_model

__all__ = [
    "PUBLISHED_TARGET",
    "ModelConfig",
    "PushedModel",
    "bundled_models",
    "find_model",
    "load_model",
    "pull_model",
    "push_model",
    "read_config",
]
