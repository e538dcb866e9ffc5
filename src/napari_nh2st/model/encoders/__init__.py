"""Image encoders: tiles to feature maps.

Another encoder of ours is a file here with a subclass of :class:`Encoder`, and an entry in
:data:`ENCODERS`; another library that reads encoders, one with a subclass of
:class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder` and an entry in
:data:`~napari_nh2st.model.encoders.readers.READERS`. Names are loaded when first used: what is
known of encoders by their keys needs no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.model.encoders.base import (
        IMAGENET_MEAN,
        IMAGENET_STD,
        Encoder,
        EncoderSpec,
        encoder_dtype,
        encoder_input,
        normalize_tiles,
    )
    from napari_nh2st.model.encoders.resnet import ResNet18Encoder
    from napari_nh2st.model.encoders.table import ENCODERS, load_encoder

__all__ = [
    "ENCODERS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Encoder",
    "EncoderSpec",
    "ResNet18Encoder",
    "encoder_dtype",
    "encoder_input",
    "load_encoder",
    "normalize_tiles",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": [
            *("IMAGENET_MEAN", "IMAGENET_STD", "Encoder", "EncoderSpec"),
            *("encoder_dtype", "encoder_input", "normalize_tiles"),
        ],
        "resnet": ["ResNet18Encoder"],
        "table": ["ENCODERS", "load_encoder"],
    },
)
