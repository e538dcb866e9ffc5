"""Heads of an NH2ST model made ready to predict: spread and unfamiliarity of encoded tiles."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from napari_nh2st.model.heads import Heads, head_columns, unfamiliarity
from napari_nh2st.model.hypergraph import masked_mean
from napari_nh2st.model.nh2st import NH2STHyperparameters


class PreparedHeads:
    """Further heads of a network, on one device, for some genes of the panel.

    All heads go through a tile together, and to the genes last: a tile keeps ``dim`` numbers of
    each head until then.

    Parameters
    ----------
    heads
        Left as they are.
    hyperparameters
        Of the network they are of.
    genes
        Positions in the panel.
    device, dtype
        As for the network. What the heads are compared by, the products with the genes, is in
        float32.
    """

    def __init__(
        self,
        heads: Heads,
        hyperparameters: NH2STHyperparameters,
        genes: Sequence[int],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        p, state = hyperparameters, heads.state
        self._context, self._heads = p.context, heads.count

        def on_device(tensor: Tensor) -> Tensor:
            return tensor.to(device, torch.float32).contiguous()

        rows = torch.as_tensor(list(genes), dtype=torch.long)
        last = state["decoder.1.weight"][:, rows].double()
        bias = (last @ state["decoder.0.bias"].double()[..., None])[..., 0]
        self._to_genes = on_device(last @ state["decoder.0.weight"].double())
        self._bias = on_device(bias + state["decoder.1.bias"][:, rows])
        # One product takes a map to all heads, and to both of their branches.
        first = [state["query_head.weight"].flatten(0, 1)]
        self._query_bias = on_device(state["query_head.bias"].flatten())
        if p.context == "neighborhood":
            start = "neighbor_image_encoder."
            # Flattened (d, h, w) in the network; a channels-last map flattens as (h, w, d).
            side = p.tile_px // 32
            theta = state[f"{start}conv1.lin.weight"].flatten(0, 1)
            first.append(theta.reshape(len(theta), -1, side, side).permute(0, 2, 3, 1).flatten(1))
            self._first_bias = on_device(state[f"{start}conv1.bias"].flatten())
            second = state[f"{start}conv2.lin.weight"]
            self._second_weight = second.to(device, dtype).contiguous()
            self._second_bias = on_device(state[f"{start}conv2.bias"].flatten())
        self._first_weight = torch.cat(first).to(device, dtype).contiguous()
        self._mean, self._whitening = on_device(heads.mean), on_device(heads.whitening)

    def encode(self, maps: Tensor, flat: Tensor) -> tuple[Tensor, ...]:
        """What is kept of tiles.

        Parameters
        ----------
        maps
            (n, 512, h, w) of the encoder, channels last.
        flat
            (n, h · w · 512) of the same.

        Returns
        -------
        tuple of Tensor
            Of n rows each, float32; what :meth:`of_tiles` and :meth:`of_neighborhoods` take.
        """
        distance = unfamiliarity(maps.float().mean((2, 3)), self._mean, self._whitening)
        seen = functional.linear(flat, self._first_weight).float()
        query = seen[:, : len(self._query_bias)] + self._query_bias
        if self._context != "neighborhood":
            return distance, query
        return distance, query, seen[:, len(self._query_bias) :]

    def of_tiles(self, kept: tuple[Tensor, ...], keep_values: bool) -> Tensor:
        """What heads say where a tile is looked at alone, as :func:`head_columns` has it."""
        distance, query = kept
        return head_columns(self._values(self._by_head(query)), distance, keep_values)

    def of_neighborhoods(
        self, gathered: tuple[Tensor, ...], mask: Tensor, operator: Tensor | None, keep_values: bool
    ) -> Tensor:
        """What heads say of the first tile of neighborhoods, as :func:`head_columns` has it.

        Parameters
        ----------
        gathered
            What was kept, (b, 9, ...) each.
        mask
            (b, 9) places that are filled.
        operator
            (b, 9, 9) convolution operator of the network; not looked at where the context is
            ``"average"``.
        keep_values
            Whether each head's values are wanted.
        """
        if self._context != "neighborhood":
            distance, query = gathered
            seen = self._by_head(masked_mean(query, mask))
        else:
            distance, query, projected = gathered
            assert operator is not None
            around = (operator @ projected + self._first_bias).relu_()
            hidden = self._by_head(around.to(self._second_weight.dtype))
            second = torch.cat(list(map(functional.linear, hidden, self._second_weight)), dim=-1)
            around = (operator @ second.float() + self._second_bias).relu_()
            branches = map(self._by_head, (query[:, 0], masked_mean(around, mask)))
            seen = [torch.cat(pair, dim=1) for pair in zip(*branches, strict=True)]
        return head_columns(self._values(seen), distance[:, 0], keep_values)

    def _by_head(self, rows: Tensor) -> Sequence[Tensor]:
        """(..., heads · numbers) → for each head (..., numbers)."""
        return [part.contiguous() for part in rows.chunk(self._heads, dim=-1)]

    def _values(self, seen: Sequence[Tensor]) -> list[Tensor]:
        """Values of each head, (n, inputs) → (n, genes)."""
        return list(map(functional.linear, seen, self._to_genes, self._bias))
