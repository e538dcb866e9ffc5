"""The training objective: named terms, each with its weight from the settings."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from napari_nh2st.model.losses import (
    branch_distillation_loss,
    contrastive_loss,
    group_contrastive_loss,
    soft_contrastive_loss,
)
from napari_nh2st.model.network import Outputs
from napari_nh2st.training.defaults import ResolvedSettings


class Losses(NamedTuple):
    """Scalars of a batch: what is minimized, and the terms that it is the weighted sum of."""

    total: Tensor
    terms: dict[str, Tensor]

    def named(self) -> dict[str, float]:
        """All of them as numbers, the total as ``"total"``."""
        return {name: float(value) for name, value in {"total": self.total, **self.terms}.items()}


def objective(outputs: Outputs, target: Tensor, settings: ResolvedSettings) -> Losses:
    """The weighted sum of the terms that the outputs of a network allow.

    ``mse``, and for each pair of an image and an expression side, such as NH2ST's ``query`` and
    ``neighbor``, ``<pair>_contrastive``: with both, the published objective (Qu et al. 2025). With
    weights of their own, also ``<pair>_soft_contrastive`` and ``<pair>_group_contrastive``. Where
    there are branches, ``branch_distillation``, with the weight of ``mse``.

    Parameters
    ----------
    outputs
        Outputs of a network's :meth:`~napari_nh2st.model.network.Network.outputs`, b rows each.
    target
        (b, panel) measured expression of the queries.
    settings
        Weights, temperature and off-diagonal factor.
    """
    pair_weights = {"query": settings.query_weight, "neighbor": settings.neighbor_weight}
    weighted: list[tuple[str, float, Tensor]] = []
    # In float32 whatever the precision of the network: logits are over a small temperature.
    for name, (image, expression) in outputs.pairs.items():
        loss = contrastive_loss(
            image.float(), expression.float(), settings.temperature, settings.off_diagonal
        )
        weighted.append((f"{name}_contrastive", pair_weights[name], loss))
        for kind, extra, compute in (
            ("soft", settings.soft_weight, soft_contrastive_loss),
            ("group", settings.group_weight, group_contrastive_loss),
        ):
            if extra:
                loss = compute(image.float(), expression.float(), settings.temperature)
                weighted.append((f"{name}_{kind}_contrastive", extra, loss))
    mse = functional.mse_loss(outputs.prediction.float(), target)
    weighted.append(("mse", settings.mse_weight, mse))
    if outputs.branches:
        branches = [branch.float() for branch in outputs.branches.values()]
        loss = branch_distillation_loss(
            branches, outputs.prediction.float(), target, settings.distillation
        )
        weighted.append(("branch_distillation", settings.mse_weight, loss))
    _, weight, term = weighted[0]
    total = weight * term
    for _, weight, term in weighted[1:]:
        total = total + weight * term
    return Losses(total, {name: term for name, _, term in weighted})
