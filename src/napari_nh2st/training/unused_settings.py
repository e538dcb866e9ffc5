"""Settings that a training does not use, by its architecture and image encoder.

Nothing here needs torch.
"""

from napari_nh2st.model.catalogue import CATALOGUE, entry_of
from napari_nh2st.model.encoders.key import EncoderKind
from napari_nh2st.training.start_settings import TrainedEncoder

_OF_STEPS = (
    *("epochs", "patience", "batch_size", "patch_spots", "checkpoint_minutes", "learning_rate"),
    *("weight_decay", "warm_up", "gradient_clip", "averaging", "mse_weight"),
)
_OF_PAIRS = (
    *("query_weight", "neighbor_weight", "soft_weight", "group_weight"),
    *("temperature", "off_diagonal"),
)
_OF_PIXELS = (
    *("stain", "mpp", "guides", "frozen_looks"),
    *("flips", "quarter_turns", "stain_jitter", "stain_colors"),
)
_WITH_ADAPTERS: tuple[EncoderKind, ...] = ("transformers", "timm")


def unused_settings(
    architecture: str,
    image_encoder: EncoderKind | None = None,
    trained: TrainedEncoder = "frozen",
    adapter_rank: int = 0,
) -> frozenset[str]:
    """Settings of a training that change nothing, or that would be refused.

    Parameters
    ----------
    architecture
        Its key.
    image_encoder
        What reads the image encoder; None for NH2ST's own.
    trained
        How much of the image encoder is trained.
    adapter_rank
        Rank of the adapters that are trained in it; 0 for none.

    Returns
    -------
    frozenset of str
        Fields of :class:`~napari_nh2st.training.TrainSettings`, and of the settings inside it.
    """
    entry = entry_of(architecture)
    shapes = {name for each in CATALOGUE.values() for name in each.settings}
    unused = shapes - set(entry.settings)
    if not entry.pairs:
        unused |= set(_OF_PAIRS)
    if not entry.branches:
        unused.add("distillation")
    if entry.closed_form:
        unused |= set(_OF_STEPS)
    if entry.reach == "slide":  # a step takes a whole section
        unused |= {"batch_size", "patch_spots"}
    if image_encoder is not None:
        unused |= {"encoder_weights", "tile_px"}
    if image_encoder == "features":
        unused |= set(_OF_PIXELS)
    has_own_part = image_encoder is None and entry.reach != "slide" and not entry.closed_form
    if not has_own_part:
        unused.add("encoder")
    can_adapt = image_encoder in _WITH_ADAPTERS
    if not can_adapt or entry.reach == "slide" or entry.closed_form:
        unused |= {"adapter_rank", "gradient_checkpointing"}
    elif adapter_rank:  # the encoder runs in every step
        unused.add("frozen_looks")
    if has_own_part and trained == "whole":
        unused.add("frozen_looks")
    return frozenset(unused)
