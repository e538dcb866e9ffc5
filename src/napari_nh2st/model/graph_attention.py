"""Graph attention in plain torch: gathers only, so that the same input gives the same bits."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.model.slide_graph import SlideGraph

_SLOPE = 0.2
"""Of the leaky rectifier over the scores, as published."""


class GraphAttention(nn.Module):
    """Mean of a node's neighbors, itself among them, weighted by attention.

    After Veličković et al. (ICLR 2018): head ``h`` weights neighbor ``j`` of node ``i`` by the
    softmax over the neighbors of ``leaky_relu(sᵀW x_j + rᵀW x_i)``. Heads are joined.

    Parameters
    ----------
    inputs
        Numbers of a node.
    width
        Numbers that a head gives.
    heads
        Number of heads.
    dropout
        On the weights: edges that a training step goes without.
    """

    def __init__(self, inputs: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, heads * width, bias=False)
        self.sender = nn.Parameter(torch.empty(heads, width))
        self.receiver = nn.Parameter(torch.empty(heads, width))
        self.bias = nn.Parameter(torch.zeros(heads * width))
        self.dropout = nn.Dropout(dropout)
        for weight in (self.linear.weight, self.sender, self.receiver):
            nn.init.xavier_uniform_(weight)

    def forward(self, nodes: Tensor, graph: SlideGraph) -> Tensor:
        """(n, inputs) → (n, heads · width)."""
        values = self.linear(nodes)
        by_head = values.unflatten(1, self.sender.shape)
        sent = (by_head * self.sender).sum(-1)
        received = (by_head * self.receiver).sum(-1)
        # Each block to its place at once: kept until the last, small results between large
        # intermediate ones would hold the memory that is free around them.
        result = torch.empty_like(values)
        for own, neighbors, mask in graph.blocks:
            score = _rows(sent, neighbors) + _rows(received, own)[:, None]
            score = functional.leaky_relu(score, _SLOPE)
            weight = score.masked_fill(~mask[:, :, None], -torch.inf).softmax(1)
            gathered = _rows(values, neighbors).unflatten(2, self.sender.shape)
            result[own] = torch.einsum("bkh,bkhw->bhw", self.dropout(weight), gathered).flatten(1)
        return result + self.bias


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table, whose gradient is added up in a fixed order, unlike that of indexing."""
    return functional.embedding(index, table)
