"""The training objective's parts."""

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    image: Tensor, expression: Tensor, temperature: float = 0.05, off_diagonal: float = 0.1
) -> Tensor:
    """Contrastive loss of paired rows, image to expression, as published with NH2ST.

    Rows are L2-normalized; their similarities over ``temperature`` are logits, of which those of
    other pairs are multiplied by ``off_diagonal``; cross-entropy to the own pair, in one
    direction (Qu et al. 2025, arXiv 2506.23827).

    Parameters
    ----------
    image, expression
        (b, dim), row i of one belongs to row i of the other.

    Returns
    -------
    Tensor
        Scalar, mean over rows.
    """
    logits = functional.normalize(image, dim=-1) @ functional.normalize(expression, dim=-1).T
    logits = logits / temperature
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = torch.where(own, logits, logits * off_diagonal)
    return functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
