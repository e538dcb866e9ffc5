"""The training objective's parts."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_ROWS_A_GROUP = 28
"""As published: 18 groups in batches of 512."""

_ROUNDS = 10
"""Of k-means."""


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


def soft_contrastive_loss(image: Tensor, expression: Tensor, temperature: float) -> Tensor:
    """Contrastive loss whose targets are how alike rows are, in both directions.

    Targets are the softmax, over rows, of the mean of image–image and expression–expression
    similarities over ``temperature``, and have no gradient: rows that are alike are not pushed
    apart (Xie et al. 2023, BLEEP; the instance term of Gene-DML, arXiv 2507.14670).

    Parameters
    ----------
    image, expression
        (b, dim), row i of one belongs to row i of the other.

    Returns
    -------
    Tensor
        Scalar, mean over rows and directions.
    """
    image, expression = (
        functional.normalize(image, dim=-1),
        functional.normalize(expression, dim=-1),
    )
    logits = image @ expression.T / temperature
    with torch.no_grad():
        alike = (image @ image.T + expression @ expression.T) / 2
        target = (alike / temperature).softmax(-1)
    # Alike is symmetric, but its softmax over rows is not: each direction has its own.
    of_image = functional.cross_entropy(logits, target)
    of_expression = functional.cross_entropy(logits.T, target)
    return (of_image + of_expression) / 2


def group_contrastive_loss(image: Tensor, expression: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of rows against groups of the other side.

    Each side is clustered within the batch; a row of one side is to be nearest the centroid of
    the group that its pair is in on the other (the group term of Gene-DML, arXiv 2507.14670).
    Centroids have no gradient. There is a group for each 28 rows, at least 2.

    Parameters
    ----------
    image, expression
        (b, dim), row i of one belongs to row i of the other.

    Returns
    -------
    Tensor
        Scalar, mean over rows and directions.
    """
    image, expression = (
        functional.normalize(image, dim=-1),
        functional.normalize(expression, dim=-1),
    )
    count = min(len(image), max(2, round(len(image) / _ROWS_A_GROUP)))
    losses = []
    for rows, others in ((image, expression), (expression, image)):
        centroids, group = _groups(others.detach(), count)
        losses.append(functional.cross_entropy(rows @ centroids.T / temperature, group))
    return (losses[0] + losses[1]) / 2


def branch_distillation_loss(
    branches: Sequence[Tensor], fused: Tensor, target: Tensor, share: float
) -> Tensor:
    """Squared errors of branches against the target and against the fused prediction.

    ``Σ (1 - share) · mse(branch, target) + share · mse(branch, fused)``, as published with TRIPLEX
    (Chung et al., CVPR 2024; share 0.3). The fused prediction has no gradient by it: it teaches.

    Parameters
    ----------
    branches
        (b, panel) each.
    fused, target
        (b, panel)
    share
        From 0 to 1.

    Returns
    -------
    Tensor
        Scalar, the sum over the branches.
    """
    taught = fused.detach()
    losses = [
        (1 - share) * functional.mse_loss(branch, target)
        + share * functional.mse_loss(branch, taught)
        for branch in branches
    ]
    return torch.stack(losses).sum()


def _groups(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Normalized centroids (count, dim) of k-means on unit rows, and the group (b,) of each row.

    The start is the row nearest the mean, then the one farthest from those that are taken: it
    does not depend on the order of the batch.
    """
    chosen = [int((rows @ rows.mean(0)).argmax())]
    while len(chosen) < count:
        chosen.append(int((rows @ rows[chosen].T).amax(1).argmin()))
    centroids = rows[chosen]
    for _ in range(_ROUNDS):
        member = functional.one_hot((rows @ centroids.T).argmax(1), count).to(rows)
        sums = member.T @ rows
        # A group that has lost its rows stays where it was.
        centroids = torch.where(
            member.sum(0)[:, None] > 0, functional.normalize(sums, dim=-1), centroids
        )
    return centroids, (rows @ centroids.T).argmax(1)
