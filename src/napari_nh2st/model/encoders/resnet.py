"""The published image encoder: ResNet-18 up to its last feature map."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.base import Encoder, EncoderSpec
from napari_nh2st.model.weights_file import read_state_dict

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


class ResNet18Encoder(Encoder):
    """ResNet-18 without pooling and classifier.

    Parameter names are those of torchvision's ``resnet18``, so that its state dicts load with
    ``strict=False``.

    Shapes: (n, 3, t, t) float, ImageNet-normalized → (n, 512, t / 32, t / 32).

    Parameters
    ----------
    tile_px
        Side t of the tiles.
    """

    def __init__(self, tile_px: int = 224) -> None:
        super().__init__()
        self.spec = EncoderSpec(
            "resnet18", tile_px=tile_px, n_features=MAP_CHANNELS, map_side=tile_px // MAP_STRIDE
        )
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

    def prepared(self) -> nn.Sequential:
        """A copy in eval mode with its BatchNorms folded into the convolutions before them."""
        encoder = copy.deepcopy(self).eval().requires_grad_(False)
        blocks = (block for block in encoder.modules() if isinstance(block, BasicBlock))
        return nn.Sequential(
            fuse_conv_bn_eval(encoder.conv1, encoder.bn1),
            nn.ReLU(inplace=True),
            encoder.maxpool,
            *(_FoldedBlock(block) for block in blocks),
        )

    def load_weights(self, path: Path) -> None:
        """Take over the weights of a ResNet-18 from a file.

        Parameters
        ----------
        path
            ``.safetensors``, or a pickled state dict read with ``weights_only=True``; by itself or
            under ``"state_dict"``, ``"model"`` or ``"encoder"``. Names are torchvision's, with or
            without a prefix in front of all of them, such as ``"backbone."``; the classifier
            ``fc`` is left out.

        Raises
        ------
        InputError
            It cannot be read, or is not a ResNet-18.
        """
        state = _without_prefix(read_state_dict(path, ("state_dict", "model", "encoder")))
        wanted = self.state_dict()
        for name, tensor in wanted.items():
            if name not in state:
                if name.endswith("num_batches_tracked"):  # older files do without
                    state[name] = tensor
                    continue
                raise InputError(f"{path} is not a ResNet-18: it has no {name}")
            if state[name].shape != tensor.shape:
                raise InputError(
                    f"{path} is not a ResNet-18: {name} has shape {tuple(state[name].shape)} "
                    f"instead of {tuple(tensor.shape)}"
                )
        self.load_state_dict({name: state[name] for name in wanted})


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors, whatever stands in front of torchvision's names."""
    prefixes = [
        name.removesuffix("conv1.weight") for name in state if name.endswith("conv1.weight")
    ]
    prefix = min(prefixes, key=len, default="")
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


class _FoldedBlock(nn.Module):
    """A BasicBlock without its BatchNorms.

    In place: where activations are large, fresh memory for them costs more than computing them.
    """

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.conv1 = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.conv2 = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.downsample: nn.Module | None = None
        if isinstance(block.downsample, nn.Sequential):
            convolution, norm = cast(tuple[nn.Conv2d, nn.BatchNorm2d], tuple(block.downsample))
            self.downsample = fuse_conv_bn_eval(convolution, norm)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv2(self.conv1(x).relu_())
        return x.add_(shortcut).relu_()
