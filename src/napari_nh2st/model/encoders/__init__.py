"""Image encoders: tiles to feature maps.

Another encoder is a file here with a subclass of :class:`Encoder`, and an entry in
:data:`ENCODERS`.
"""

from collections.abc import Callable

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Encoder,
    EncoderSpec,
    normalize_tiles,
)
from napari_nh2st.model.encoders.resnet import ResNet18Encoder

__all__ = [
    "ENCODERS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Encoder",
    "EncoderSpec",
    "ResNet18Encoder",
    "load_encoder",
    "normalize_tiles",
]

DEFAULT_ENCODER = "resnet18"

ENCODERS: dict[str, Callable[[int], Encoder]] = {DEFAULT_ENCODER: ResNet18Encoder}
"""By key: an encoder for tiles of some pixels a side."""


def load_encoder(key: str = DEFAULT_ENCODER, tile_px: int = 224) -> Encoder:
    """The encoder of a key, for tiles of ``tile_px`` pixels a side.

    Raises
    ------
    InputError
        There is none of that key.
    """
    try:
        build = ENCODERS[key]
    except KeyError:
        raise InputError(
            f"encoder is {key!r}; this version has {', '.join(map(repr, ENCODERS))}"
        ) from None
    return build(tile_px)
