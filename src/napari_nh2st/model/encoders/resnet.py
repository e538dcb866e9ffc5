"""The image encoder: ResNet-18 up to its last feature map."""

from functools import cache

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MAP_CHANNELS = 512
"""Channels of the last feature map."""

MAP_STRIDE = 32
"""Tile pixels per feature map position."""

N_STAGES = 5
"""Stages of the encoder; all but the first two halve the size."""


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016, arXiv 1512.03385, fig. 2).

    ``y = relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``, where the shortcut is the
    identity or, where stride or channels change, a normalized 1×1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x))
        return (x + shortcut).relu()


class ResNet18Encoder(nn.Module):
    """ResNet-18 without pooling and classifier.

    Parameter names are those of torchvision's ``resnet18``, so that its state dicts load with
    ``strict=False``.

    Shapes: (n, 3, t, t) float, ImageNet-normalized → (n, 512, t / 32, t / 32).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(64, 64, 1)
        self.layer2 = self._stage(64, 128, 2)
        self.layer3 = self._stage(128, 256, 2)
        self.layer4 = self._stage(256, MAP_CHANNELS, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(in_channels: int, channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1)
        )

    @property
    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of the five stages: what stands before ``layer1``, and the four layers."""
        first = (self.conv1, self.bn1, self.maxpool)
        return first, (self.layer1,), (self.layer2,), (self.layer3,), (self.layer4,)

    def forward(self, tiles: Tensor) -> Tensor:
        return self.through(tiles, 0, N_STAGES)

    def through(self, x: Tensor, first: int, stop: int) -> Tensor:
        """Run the stages from ``first`` up to but without ``stop``."""
        for stage in range(first, stop):
            if stage == 0:
                x = self.maxpool(self.bn1(self.conv1(x)).relu())
            else:
                x = self.stages[stage][0](x)
        return x


def normalize_tiles(tiles: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn uint8 tiles into what the encoder takes.

    Parameters
    ----------
    tiles
        (n, height, width, 3), RGB in 0–255, uint8 or float, on any device.
    dtype
        Type of the result.

    Returns
    -------
    Tensor
        (n, 3, height, width) with ImageNet's mean and standard deviation taken out, in
        channels-last memory order (the order in which it came).
    """
    scale, offset = _normalization(tiles.device)
    return (tiles.to(torch.float32) * scale).sub_(offset).to(dtype).permute(0, 3, 1, 2)


@cache
def _normalization(device: torch.device) -> tuple[Tensor, Tensor]:
    """What pixels are multiplied by, and what is taken away then; made once for each device.

    To bring it there for each batch would mean to wait each time until the device is idle.
    """
    with torch.inference_mode(False):
        mean = torch.tensor(IMAGENET_MEAN, device=device)
        std = torch.tensor(IMAGENET_STD, device=device)
        return 1 / (255 * std), mean / std
