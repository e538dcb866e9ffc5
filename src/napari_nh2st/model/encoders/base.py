"""What an image encoder is: a module from tiles to feature maps, and the facts beside it."""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.key import FEATURES, parse_key

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class EncoderSpec:
    """What has to be known of an encoder besides its weights.

    Parameters
    ----------
    key
        Key by which :func:`~napari_nh2st.model.encoders.load_encoder` finds it.
    revision, sha256
        Revision and SHA-256 of weights from elsewhere; empty for the model's own weights.
    licence
        Licence of the weights, as their owner names it.
    tile_px
        Side of the tiles that it takes, in pixels.
    mpp
        µm/px at which it was trained; None if it takes any.
    mean, std
        Mean and standard deviation by which RGB values in 0–1 are normalized.
    n_features, map_side
        Shape of a map, (n, n_features, map_side, map_side); a side of 1 is a vector.
    """

    key: str
    revision: str = ""
    sha256: str = ""
    licence: str = ""
    tile_px: int = 224
    mpp: float | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    n_features: int = 512
    map_side: int = 7

    @property
    def takes_features(self) -> bool:
        """Whether it is fed with features that another tool computed, and not with tiles."""
        return parse_key(self.key).kind == FEATURES


class Encoder(nn.Module, ABC):
    """An image encoder.

    Shapes: (n, 3, t, t) float, normalized by :func:`normalize_tiles` → (n, d, h, h), see
    :class:`EncoderSpec`.
    """

    spec: EncoderSpec

    @abstractmethod
    def forward(self, tiles: Tensor) -> Tensor: ...

    @property
    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Modules that follow each other, of which the first can stay as they are in training.

        The whole encoder by default.
        """
        return ((self,),)

    def through(self, x: Tensor, first: int, stop: int) -> Tensor:
        """Run the stages from ``first`` up to but without ``stop``."""
        return self(x) if first < stop else x

    def prepared(self) -> nn.Module:
        """A copy for prediction alone, which may compute the same in a faster way."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def load_weights(self, path: Path) -> None:
        """Take over weights from a file.

        Raises
        ------
        InputError
            The encoder comes with weights of its own, or the file does not fit.
        """
        raise InputError(f"encoder {self.spec.key} comes with its own weights: leave out {path}")


def normalize_tiles(
    tiles: Tensor,
    dtype: torch.dtype = torch.float32,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """Turn uint8 tiles into what an encoder takes.

    Parameters
    ----------
    tiles
        (n, height, width, 3), RGB in 0–255, uint8 or float, on any device.
    dtype
        Type of the result.
    mean, std
        Of the encoder, see :class:`EncoderSpec`; ImageNet's by default.

    Returns
    -------
    Tensor
        (n, 3, height, width) with mean and standard deviation taken out, in channels-last memory
        order (the order in which it came).
    """
    scale, offset = _normalization(tiles.device, mean, std)
    return (tiles.to(torch.float32) * scale).sub_(offset).to(dtype).permute(0, 3, 1, 2)


def encoder_input(rows: Tensor, spec: EncoderSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """What an encoder is given for tiles, or for features that take their place.

    Parameters
    ----------
    rows
        (n, height, width, 3), as for :func:`normalize_tiles`; or (n, d) features.
    spec
        Of the encoder.
    dtype
        Type of the result.

    Returns
    -------
    Tensor
        (n, 3, height, width) normalized, or the features (n, d).
    """
    if spec.takes_features:
        return rows.to(dtype)
    return normalize_tiles(rows, dtype, spec.mean, spec.std)


def encoder_dtype(spec: EncoderSpec, dtype: torch.dtype) -> torch.dtype:
    """The type in which a prediction holds what an encoder gives, where `dtype` is asked for.

    Features that are given cost nothing to encode: to round them would only lose digits.
    """
    return torch.float32 if spec.takes_features else dtype


@cache
def _normalization(
    device: torch.device, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """What pixels are multiplied by, and what is taken away then; made once for each device.

    To bring it there for each batch would mean to wait each time until the device is idle.
    """
    with torch.inference_mode(False):
        means = torch.tensor(mean, device=device)
        stds = torch.tensor(std, device=device)
        return 1 / (255 * stds), means / stds
