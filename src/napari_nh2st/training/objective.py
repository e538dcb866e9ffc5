"""The published training objective."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from napari_nh2st.model.losses import contrastive_loss
from napari_nh2st.model.nh2st import NH2STOutputs
from napari_nh2st.training.defaults import ResolvedSettings


class Losses(NamedTuple):
    """Scalars of a batch; the first is what is minimized."""

    total: Tensor
    query: Tensor
    neighbor: Tensor
    mse: Tensor


def objective(outputs: NH2STOutputs, target: Tensor, settings: ResolvedSettings) -> Losses:
    """``w_q · query contrastive + w_n · neighbor contrastive + w_m · MSE`` (Qu et al. 2025).

    Parameters
    ----------
    outputs
        Outputs of :meth:`~napari_nh2st.model.nh2st.NH2ST.forward`, b rows each.
    target
        (b, panel) measured expression of the queries.
    settings
        Weights, temperature and off-diagonal factor.
    """
    temperature, off_diagonal = settings.temperature, settings.off_diagonal
    # In float32 whatever the precision of the network: logits are over a small temperature.
    query, neighbor = (
        contrastive_loss(image.float(), expression.float(), temperature, off_diagonal)
        for image, expression in (
            (outputs.query_image, outputs.query_expression),
            (outputs.neighbor_image, outputs.neighbor_expression),
        )
    )
    mse = functional.mse_loss(outputs.prediction.float(), target)
    total = (
        settings.query_weight * query
        + settings.neighbor_weight * neighbor
        + settings.mse_weight * mse
    )
    return Losses(total, query, neighbor, mse)
