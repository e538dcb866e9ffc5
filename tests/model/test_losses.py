"""Terms of the objective, from their formulas in a loop."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_nh2st.model.losses import (
    branch_distillation_loss,
    group_contrastive_loss,
    soft_contrastive_loss,
)

ROWS, DIM, TEMPERATURE = 75, 5, 0.2


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(values) / np.exp(values).sum()


@pytest.fixture
def sides() -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds of pairs, the expression side a noisy turn of the image side."""
    generator = torch.Generator().manual_seed(1)
    middle = 3 * torch.randn((3, DIM), generator=generator, dtype=torch.float64)
    image = middle.repeat_interleave(ROWS // 3, 0)
    image = image + torch.randn((ROWS, DIM), generator=generator, dtype=torch.float64)
    noise = torch.randn((ROWS, DIM), generator=generator, dtype=torch.float64)
    return image, image.roll(1, 1) + noise


def test_soft_targets_are_how_alike_rows_are(sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, expression = (unit(side.numpy()) for side in sides)
    losses = []
    for own, other in ((image, expression), (expression, image)):
        for i in range(ROWS):
            alike = [(image[i] @ image[j] + expression[i] @ expression[j]) / 2 for j in range(ROWS)]
            target = softmax(np.array(alike) / TEMPERATURE)
            predicted = softmax(np.array([own[i] @ other[j] for j in range(ROWS)]) / TEMPERATURE)
            losses.append(-(target * np.log(predicted)).sum())
    found = soft_contrastive_loss(*sides, TEMPERATURE)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-9)


def test_groups_are_clusters_of_the_other_side(sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    image, expression = (unit(side.numpy()) for side in sides)
    losses = []
    for rows, others in ((image, expression), (expression, image)):
        middle = others.mean(0)
        chosen = [max(range(ROWS), key=lambda i: others[i] @ middle)]
        for _ in range(2):  # one for each 28 of 75 rows are nearly three
            nearest = [max(others[i] @ others[j] for j in chosen) for i in range(ROWS)]
            chosen.append(int(np.argmin(nearest)))
        centers = others[chosen]
        for _ in range(10):
            group = [int(np.argmax([row @ center for center in centers])) for row in others]
            centers = unit(np.array([others[np.equal(group, g)].sum(0) for g in range(3)]))
        group = [int(np.argmax([row @ center for center in centers])) for row in others]
        for i, row in enumerate(rows):
            predicted = softmax(np.array([row @ center for center in centers]) / TEMPERATURE)
            losses.append(-np.log(predicted[group[i]]))
    found = group_contrastive_loss(*sides, TEMPERATURE)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-9)


def test_a_group_without_rows_stays_where_it_was() -> None:
    # Rows that are all alike are in the first of two groups, whose centers cannot be told apart.
    rows = torch.ones((9, DIM))
    assert float(group_contrastive_loss(rows, rows, TEMPERATURE)) == pytest.approx(np.log(2))


def test_branches_learn_from_the_fused_prediction_which_does_not_learn_from_them() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second, fused, target = torch.randn((4, 6, 3), generator=generator)
    for each in (first, second, fused):
        each.requires_grad_()
    loss = branch_distillation_loss((first, second), fused, target, 0.3)
    a, b, f, t = (each.detach().double().numpy() for each in (first, second, fused, target))
    squares = [0.7 * np.mean((each - t) ** 2) + 0.3 * np.mean((each - f) ** 2) for each in (a, b)]
    assert float(loss) == pytest.approx(sum(squares))
    loss.backward()
    assert fused.grad is None
    assert first.grad is not None
    np.testing.assert_allclose(first.grad, 2 * (0.7 * (a - t) + 0.3 * (a - f)) / 18, rtol=1e-5)


@pytest.mark.parametrize("term", [soft_contrastive_loss, group_contrastive_loss])
def test_the_order_of_a_batch_does_not_matter_and_targets_have_no_gradient(
    term: type[torch.Tensor], sides: tuple[torch.Tensor, torch.Tensor]
) -> None:
    image, expression = sides
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    loss = term(image, expression, TEMPERATURE)
    assert float(term(image[order], expression[order], TEMPERATURE)) == pytest.approx(float(loss))
    image = image.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], 0.05)
    for _ in range(20):
        optimizer.zero_grad()
        term(image, expression, TEMPERATURE).backward()
        optimizer.step()
    assert term(image, expression, TEMPERATURE).item() < float(loss)
