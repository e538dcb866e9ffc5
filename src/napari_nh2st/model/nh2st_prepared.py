"""NH2ST made ready to predict: the same numbers from less work."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_nh2st.model.encoders.resnet import BasicBlock, ResNet18Encoder, normalize_tiles
from napari_nh2st.model.heads import Heads
from napari_nh2st.model.hypergraph import (
    convolution_operator,
    incidence_from_similarity,
    masked_mean,
)
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.model.nh2st_heads import PreparedHeads


class PreparedNH2ST:
    """A network for prediction only, on one device, for some genes of the panel.

    Against :meth:`NH2ST.predict <napari_nh2st.model.nh2st.NH2ST.predict>` in eval mode:

    - BatchNorm is folded into the convolutions, which run channels-last in ``dtype``;
    - the linear layers from the flattened map to the genes, which have no activation in between,
      are one matrix of as many rows as genes are wanted, applied in float32;
    - for ``context="neighborhood"`` the first hypergraph convolution's linear map is applied once
      per tile, not once per neighborhood that the tile is in.

    Relative to the largest predicted value, the result differs by less than 1e-4 in float32 and
    3e-2 in bfloat16 and float16 (the tests hold it to that).

    Parameters
    ----------
    network
        Left as it is.
    genes
        Positions in the panel, in the order of the result's columns.
    device, dtype
        Where and in which type the convolutions run.
    heads
        Give the spread and the unfamiliarity, in further columns; the values are the same to the
        bit with and without.
    """

    def __init__(
        self,
        network: NH2ST,
        genes: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
        heads: Heads | None = None,
    ) -> None:
        p = network.hyperparameters
        self.context = p.context
        self.uses_neighborhood = p.context != "query"
        self.dtype = dtype
        self._others = p.hyperedge_others
        self.encoder: nn.Module = _folded(network.image_encoder).to(device, dtype)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        query, neighbor, bias = _linear_chain(network, genes)
        self.weight = query.to(device, torch.float32)
        self.bias = bias.to(device, torch.float32)
        if p.context == "neighborhood":
            self.neighbor_weight = neighbor.to(device, torch.float32)
            self.around = copy.deepcopy(network.neighbor_image_encoder).to(device, torch.float32)
            # Flattened (d, h, w) in the network; a channels-last map flattens as (h, w, d).
            theta = self.around.conv1.lin.weight.detach()
            side = p.tile_px // 32
            theta = theta.reshape(len(theta), -1, side, side).permute(0, 2, 3, 1).flatten(1)
            self.theta = theta.to(dtype).contiguous()
            # Hyperedges depend on which similarity is larger: bfloat16's 8 bits are too few.
            self._unit_dtype = torch.float16 if dtype == torch.bfloat16 else dtype
        self.heads = None if heads is None else PreparedHeads(heads, p, genes, device, dtype)

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        maps = self.encoder(normalize_tiles(tiles, self.dtype))
        flat = maps.permute(0, 2, 3, 1).flatten(1)
        full = flat.float()
        values = functional.linear(full, self.weight, self.bias)
        kept = () if self.heads is None else self.heads.encode(maps, flat)
        if self.context == "query" and self.heads is not None:
            return (torch.cat([values, self.heads.of_tiles(kept)], dim=1),)
        if self.context != "neighborhood":
            return values, *kept
        unit = functional.normalize(full, dim=-1).to(self._unit_dtype)
        return values, functional.linear(flat, self.theta).float(), unit, *kept

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        if self.context != "neighborhood":
            predicted, operator, kept = masked_mean(gathered[0], mask), None, gathered[1:]
        else:
            values, projected, unit, *kept_rows = gathered
            unit = unit.float()
            incidence = incidence_from_similarity(unit @ unit.mT, self._others, mask)
            operator, kept = convolution_operator(incidence), tuple(kept_rows)
            neighbor = self.around.from_projected(projected, operator, mask)
            predicted = values[:, 0] + functional.linear(neighbor, self.neighbor_weight)
        if self.heads is None:
            return predicted
        return torch.cat([predicted, self.heads.of_neighborhoods(kept, mask, operator)], dim=1)


def _linear_chain(network: NH2ST, genes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Multiply out the head: map → genes, neighbor branch → genes, and the bias.

    In float64, since products of three matrices lose digits.
    """
    first, last = cast(tuple[nn.Linear, nn.Linear], tuple(network.decoder))
    head = network.query_head
    rows = torch.as_tensor(list(genes), dtype=torch.long)
    with torch.no_grad():
        last_weight = last.weight.cpu().double()[rows]
        to_genes = last_weight @ first.weight.cpu().double()
        dim = head.out_features
        query = to_genes[:, :dim] @ head.weight.cpu().double()
        bias = (
            to_genes[:, :dim] @ head.bias.cpu().double()
            + last_weight @ first.bias.cpu().double()
            + last.bias.cpu().double()[rows]
        )
    return query, to_genes[:, dim:], bias


def _folded(encoder: ResNet18Encoder) -> nn.Sequential:
    """The encoder in eval mode with its BatchNorms folded into the convolutions before them."""
    encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    blocks = (block for block in encoder.modules() if isinstance(block, BasicBlock))
    return nn.Sequential(
        fuse_conv_bn_eval(encoder.conv1, encoder.bn1),
        nn.ReLU(inplace=True),
        encoder.maxpool,
        *(_FoldedBlock(block) for block in blocks),
    )


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
