"""The objective: terms by name, each with its weight."""

import pytest
import torch

from napari_nh2st.model.losses import (
    contrastive_loss,
    group_contrastive_loss,
    soft_contrastive_loss,
)
from napari_nh2st.model.network import Outputs
from napari_nh2st.training import TrainSettings
from napari_nh2st.training.defaults import resolved_settings
from napari_nh2st.training.objective import objective

PREDICTION, TARGET = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]])


def test_without_pairs_the_squared_error_is_all_there_is() -> None:
    settings = resolved_settings(TrainSettings(mse_weight=4.0), None, ("GENE",))
    losses = objective(Outputs(PREDICTION), TARGET, settings)
    assert losses.named() == {"total": 10.0, "mse": 2.5}


def test_each_pair_has_its_own_weight() -> None:
    given = TrainSettings(query_weight=0.5, neighbor_weight=3.0, mse_weight=0.0)
    generator = torch.Generator().manual_seed(0)
    pairs = {
        name: torch.randn((2, 8, 6), generator=generator).unbind() for name in ("query", "neighbor")
    }
    settings = resolved_settings(given, None, ("GENE",))
    losses = objective(Outputs(PREDICTION, pairs=pairs), TARGET, settings)
    expected = {
        name: contrastive_loss(*pair, settings.temperature, settings.off_diagonal)
        for name, pair in pairs.items()
    }
    assert float(losses.total) == pytest.approx(
        float(0.5 * expected["query"] + 3 * expected["neighbor"])
    )


def test_further_contrastive_terms_are_added_with_their_weights() -> None:
    given = {"query_weight": 0.5, "neighbor_weight": 0.0, "temperature": 0.3}
    pair = torch.randn((2, 40, 6), generator=torch.Generator().manual_seed(0)).unbind()
    outputs = Outputs(PREDICTION, pairs={"query": pair})
    plain = resolved_settings(TrainSettings(**given), None, ("GENE",))
    more = resolved_settings(
        TrainSettings(**given, soft_weight=0.7, group_weight=0.2), None, ("GENE",)
    )
    before, now = (objective(outputs, TARGET, settings) for settings in (plain, more))
    assert list(before.terms) == ["query_contrastive", "mse"]
    assert list(now.terms)[1:3] == ["query_soft_contrastive", "query_group_contrastive"]
    added = 0.7 * soft_contrastive_loss(*pair, 0.3) + 0.2 * group_contrastive_loss(*pair, 0.3)
    assert float(now.total) == pytest.approx(float(before.total + added))


def test_branches_learn_from_the_target_and_from_what_is_fused_of_them() -> None:
    settings = resolved_settings(TrainSettings(mse_weight=2.0, distillation=0.25), None, ("GENE",))
    fused = PREDICTION.clone().requires_grad_(True)
    branch = torch.tensor([[0.0], [4.0]], requires_grad=True)
    losses = objective(Outputs(fused, branches={"a": branch, "b": TARGET}), TARGET, settings)
    # a: of the target (0 + 9) / 2, of the fused (1 + 1) / 2; b: 0, and (1 + 4) / 2.
    distillation = 0.75 * 4.5 + 0.25 * 1 + 0.25 * 2.5
    expected = {"total": 2 * (2.5 + distillation), "mse": 2.5, "branch_distillation": distillation}
    assert {name: value.item() for name, value in losses.terms.items()} | {
        "total": losses.total.item()
    } == expected
    losses.total.backward()
    # What is fused learns from the target alone.
    torch.testing.assert_close(fused.grad, 2 * (fused.detach() - TARGET))
    of_branch = 2 * (0.75 * torch.tensor([[0.0], [3.0]]) + 0.25 * torch.tensor([[-1.0], [1.0]]))
    torch.testing.assert_close(branch.grad, of_branch)
