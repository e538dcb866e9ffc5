"""NH2ST made ready to predict: the same numbers from less work."""

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.heads import Heads
from napari_nh2st.model.hypergraph import (
    convolution_operator,
    incidence_from_similarity,
    masked_mean,
)
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.nh2st_heads import PreparedHeads
from napari_nh2st.model.prepared import Prepared


class PreparedNH2ST(Prepared):
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
        super().__init__(network, device, dtype)
        p, dtype = network.hyperparameters, self.dtype
        self.context = p.context
        self._others = p.hyperedge_others

        query, neighbor, bias = _linear_chain(network, genes)
        self.weight = query.to(device, torch.float32)
        self.bias = bias.to(device, torch.float32)
        if p.context == "neighborhood":
            self.neighbor_weight = neighbor.to(device, torch.float32)
            self.around = copy.deepcopy(network.neighbor_image_encoder).to(device, torch.float32)
            # Flattened (d, h, w) in the network; a channels-last map flattens as (h, w, d).
            theta = self.around.conv1.lin.weight.detach()
            side = network.image_encoder.spec.map_side
            theta = theta.reshape(len(theta), -1, side, side).permute(0, 2, 3, 1).flatten(1)
            self.theta = theta.to(dtype).contiguous()
            # Hyperedges depend on which similarity is larger: bfloat16's 8 bits are too few.
            self._unit_dtype = torch.float16 if dtype == torch.bfloat16 else dtype
        self.heads = None if heads is None else PreparedHeads(heads, p, genes, device, dtype)

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        maps = self._maps(tiles)
        flat = maps.permute(0, 2, 3, 1).flatten(1)
        full = flat.float()
        values = functional.linear(full, self.weight, self.bias)
        kept = () if self.heads is None else self.heads.encode(maps, flat)
        if self.context == "query" and self.heads is not None:
            return (torch.cat([values, self.heads.of_tiles(kept, self.keeps_head_values)], dim=1),)
        if self.context != "neighborhood":
            return values, *kept
        unit = functional.normalize(full, dim=-1).to(self._unit_dtype)
        return values, functional.linear(flat, self.theta).float(), unit, *kept

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *_: Tensor) -> Tensor:
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
        said = self.heads.of_neighborhoods(kept, mask, operator, self.keeps_head_values)
        return torch.cat([predicted, said], dim=1)


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


def _prepare(
    network: nn.Module,
    genes: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
    heads: Heads | None,
) -> PreparedNH2ST:
    assert isinstance(network, NH2ST)
    return PreparedNH2ST(network, genes, device, dtype, heads)


def _head_parts(config: ModelConfig) -> tuple[str, ...]:
    around = ("neighbor_image_encoder.",) if config.context == "neighborhood" else ()
    return ("query_head.", *around, "decoder.")


ARCHITECTURE = trainable(NH2STHyperparameters, NH2ST, _prepare, _head_parts, MAP_CHANNELS)
