"""Hypergraph convolution over the nine nodes of a neighborhood."""

import torch
from torch import Tensor, nn


def incidence_from_similarity(similarity: Tensor, others: int, mask: Tensor | None) -> Tensor:
    """Hyperedges that join each node with the nodes most like it.

    Parameters
    ----------
    similarity
        (b, n, n), by cosine.
    others
        Hyperedge i holds node i and the ``others`` most similar; fewer where the neighborhood has
        fewer.
    mask
        (b, n) bool, False for places of the neighborhood that are empty; None for all True. Empty
        nodes are on no hyperedge and have none.

    Returns
    -------
    Tensor
        (b, n, n), 1 where node (row) is on hyperedge (column), else 0.
    """
    nodes = similarity.shape[-1]
    eye = torch.eye(nodes, dtype=torch.bool, device=similarity.device)
    present = eye.new_ones(similarity.shape[:-1]) if mask is None else mask
    similarity = similarity.masked_fill(eye | ~present[:, None, :], -torch.inf)
    best = similarity.topk(min(others, nodes - 1), dim=-1).indices
    members = torch.zeros_like(similarity).scatter_(-1, best, 1.0).masked_fill_(eye, 1.0)
    # A row of `members` is one hyperedge. Drop what -inf let through, and edges of empty nodes.
    members *= present[:, None, :] & present[:, :, None]
    return members.mT


def convolution_operator(incidence: Tensor) -> Tensor:
    """D⁻¹ H B⁻¹ Hᵀ of each neighborhood, with 1/0 = 0: (b, n, n) → (b, n, n)."""
    node_degree = incidence.sum(-1, keepdim=True)
    edge_degree = incidence.sum(-2, keepdim=True)
    inverse = torch.where(edge_degree > 0, 1 / edge_degree.clamp(min=1), 0)
    operator = (incidence * inverse) @ incidence.mT
    return torch.where(node_degree > 0, operator / node_degree.clamp(min=1), 0)


class HypergraphConvolution(nn.Module):
    """``X' = D⁻¹ H W B⁻¹ Hᵀ X Θ + b`` (Bai et al. 2021, arXiv 1901.08150), unit edge weights W.

    H is the incidence matrix, D the nodes' and B the hyperedges' degrees.

    Shapes: X (b, n, in), operator D⁻¹ H B⁻¹ Hᵀ (b, n, n) → (b, n, out).
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_features, out_features, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, operator: Tensor) -> Tensor:
        return operator @ self.lin(x) + self.bias


class NeighborhoodEncoder(nn.Module):
    """Two hypergraph convolutions with ReLU, then the mean over the nodes.

    Shapes: nodes (b, n, in), operator (b, n, n), mask (b, n) or None → (b, out).
    """

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.conv1 = HypergraphConvolution(in_features, hidden)
        self.conv2 = HypergraphConvolution(hidden, out_features)

    def forward(self, x: Tensor, operator: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.from_projected(self.conv1.lin(x), operator, mask)

    def from_projected(self, x: Tensor, operator: Tensor, mask: Tensor | None = None) -> Tensor:
        """The convolution for nodes that went through the first convolution's Θ: (b, n, hidden)."""
        x = (operator @ x + self.conv1.bias).relu()
        x = self.conv2(x, operator).relu()
        return masked_mean(x, mask)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the present nodes: (b, n, d), (b, n) or None → (b, d)."""
    if mask is None:
        return x.mean(1)
    weights = mask.to(x.dtype)[..., None]
    return (x * weights).sum(1) / weights.sum(1).clamp(min=1)
