"""Models in whose tiles nuclei can be counted."""

from napari_nh2st.model.config import ModelConfig

COARSEST_MPP = 3.0
"""µm/px of a tile above which a nucleus has too few pixels to be counted."""


def why_no_nuclei(config: ModelConfig) -> str:
    """Say why nuclei cannot be counted in a model's tiles; empty where they can.

    Parameters
    ----------
    config
        Of the model.
    """
    if config.takes_features:
        return (
            f"{config.name} predicts from features, and nuclei are counted in the pixels of tiles, "
            "which it does not read"
        )
    if config.mpp > COARSEST_MPP:
        return (
            f"{config.name} sees tiles at {config.mpp:g} µm/px, where nuclei cannot be counted "
            f"({COARSEST_MPP:g} at most)"
        )
    return ""
