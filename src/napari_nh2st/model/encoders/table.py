"""NH2ST's own image encoders by their keys."""

from collections.abc import Callable

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.base import Encoder
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, parse_key
from napari_nh2st.model.encoders.readers import read_encoder
from napari_nh2st.model.encoders.resnet import ResNet18Encoder

ENCODERS: dict[str, Callable[[int], Encoder]] = {DEFAULT_ENCODER: ResNet18Encoder}
"""By key: an encoder for tiles of some pixels a side, with random weights."""


def load_encoder(key: str = DEFAULT_ENCODER, tile_px: int = 224) -> Encoder:
    """Load the encoder of a key.

    Parameters
    ----------
    key
        Key of an encoder of this package or another library, see
        :mod:`napari_nh2st.model.encoders.key`.
    tile_px
        Side of the tiles in pixels, for an encoder of this package; others have their own.

    Raises
    ------
    InputError
        There is no encoder of that key, or it cannot be read.
    """
    parsed = parse_key(key)
    if parsed.kind is not None:
        return read_encoder(parsed)
    try:
        build = ENCODERS[key]
    except KeyError:
        raise InputError(
            f"encoder is {key!r}; this version has {', '.join(map(repr, ENCODERS))}, and reads "
            "transformers:…, timm:…, onnx:… and features:…"
        ) from None
    return build(tile_px)
