"""Encoder in int8: weights by channel, activations by what they are on some tiles."""

import copy
import warnings

import torch
from torch import Tensor, nn

from napari_nh2st.model.encoders import normalize_tiles

_ENGINE = "onednn"
_TILES_A_PASS = 8


class _Unshifted(nn.Module):
    """An encoder whose maps have the mean of each channel corrected.

    Rounding does not average out: without this, the values of whole genes are shifted.
    """

    shift: Tensor

    def __init__(self, encoder: nn.Module, shift: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.encoder(x)
        return maps + self.shift


def has_int8() -> bool:
    """Whether this torch computes convolutions in int8 on this machine."""
    try:
        import torch.ao.quantization.quantize_fx as _  # noqa: F401
    except ImportError:  # it is to leave torch for a package of its own
        return False
    return _ENGINE in torch.backends.quantized.supported_engines


def int8_encoder(encoder: nn.Module, tiles: Tensor) -> nn.Module:
    """An encoder that computes in int8, from float32 to float32.

    Parameters
    ----------
    encoder
        That of a :class:`~napari_nh2st.model.nh2st_prepared.PreparedNH2ST` in float32, on the CPU;
        left as it is.
    tiles
        (n, tile, tile, 3) RGB tiles in 0–255, from which the ranges of the activations are taken:
        other tiles give other values.
    """
    from torch.ao.quantization import QConfig, QConfigMapping
    from torch.ao.quantization.observer import MinMaxObserver, default_per_channel_weight_observer
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    # The whole range: what lies beyond is cut off, which on large activations costs more than
    # finer steps give.
    settings = QConfig(
        MinMaxObserver.with_args(dtype=torch.quint8, reduce_range=False),
        default_per_channel_weight_observer,
    )
    mapping = QConfigMapping().set_global(settings)
    for name in ("add_", "relu_"):
        # What goes past the convolutions is not rounded again at each block, at no cost.
        mapping = mapping.set_object_type(name, None)
    torch.backends.quantized.engine = _ENGINE
    parts = [normalize_tiles(part, torch.float32) for part in tiles.split(_TILES_A_PASS)]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # that it is to leave torch
        observed = prepare_fx(copy.deepcopy(encoder), mapping, (parts[0],))
        exact = [observed(part) for part in parts]
        quantized = convert_fx(observed)
        # A part at a time, since all maps together may be large.
        shifts = [maps - quantized(part) for maps, part in zip(exact, parts, strict=True)]
        shift = torch.cat(shifts).mean((0, 2, 3), keepdim=True)
    return _Unshifted(quantized, shift)
