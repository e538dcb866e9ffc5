"""The closed-form start: the network's own forward pass gives what ridge regression gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from napari_nh2st.model.config import Context
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.encoders.resnet import N_STAGES
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training import ridge
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.inputs import StudyInputs, StudyTiles, TrainedPart
from napari_nh2st.training.ridge import PENALTIES, start_from_ridge
from napari_nh2st.training.study import SectionTiles
from napari_nh2st.training.validation import predict_section

GENES = 6


def section(name: str, spots: int, seed: int) -> SectionTiles:
    rng = np.random.default_rng(seed)
    # Tiles of different color, and a target that follows it: something to regress on.
    color = rng.uniform(60, 230, (spots, 1, 1, 3))
    tiles = np.clip(color + rng.normal(0, 20, (spots, 32, 32, 3)), 0, 255).astype(np.uint8)
    mixing = np.random.default_rng(0).normal(size=(3, GENES))
    target = (color[:, 0, 0] / 255) @ mixing + rng.normal(0, 0.05, (spots, GENES))
    centers = np.stack(np.divmod(np.arange(spots), 7), 1) * 100.0
    index, mask = neighborhoods(centers)
    return SectionTiles(
        name, "d", lambda: tiles, target.astype(np.float32), centers, index, mask, np.arange(spots)
    )


def prepared(
    context: Context, sections: list[SectionTiles], looks: int = 1, **shapes: int
) -> tuple[TrainedPart, StudyInputs]:
    torch.manual_seed(3)
    sizes = {"dim": 8, "heads": 2, "hidden": 8, "hypergraph_hidden": 8} | shapes
    network = NH2ST(NH2STHyperparameters(GENES, context=context, tile_px=32, **sizes))
    part = TrainedPart(network, N_STAGES)
    inputs = StudyInputs(
        StudyTiles(sections),
        part,
        AugmentationSettings(),
        looks=looks,
        seed=0,
        device=torch.device("cpu"),
    )
    part.eval()
    for _ in inputs.keep():
        pass
    return part, inputs


def design(part: TrainedPart, inputs: StudyInputs) -> NDArray[np.float64]:
    """Own and neighborhood's features by a loop over spots and nodes, from plain formulas."""
    study, network = inputs.study, part.network
    with torch.no_grad():
        maps = network.encode(normalize_tiles(study.tiles(np.arange(len(study)))))
    # What was kept is float16.
    flat = maps.half().double().flatten(1).numpy()
    if network.hyperparameters.context != "neighborhood":
        return flat
    rows = []
    for spot in range(len(study)):
        near = study.neighborhoods[spot][study.mask[spot]]
        unit = flat[near] / np.linalg.norm(flat[near], axis=1, keepdims=True)
        incidence = np.eye(len(near))
        for node in range(len(near)):
            alike = unit @ unit[node]
            alike[node] = -np.inf
            incidence[np.argsort(-alike)[:3], node] = 1
        operator = incidence @ np.diag(1 / incidence.sum(0)) @ incidence.T
        operator /= incidence.sum(1, keepdims=True)
        rows.append(np.concatenate([flat[spot], (operator @ operator @ flat[near]).mean(0)]))
    return np.array(rows)


@pytest.mark.parametrize("context", ["query", "neighborhood"])
def test_the_network_predicts_what_ridge_regression_predicts(context: Context) -> None:
    part, inputs = prepared(context, [section("a", 40, 1), section("b", 33, 2)])
    penalty = start_from_ridge(part, inputs)
    features = design(part, inputs)
    target = inputs.study.target.numpy()
    unit = np.square(features - features.mean(0)).sum(1).mean()
    expected = Ridge(alpha=penalty * unit).fit(features, target).predict(features)
    predicted = np.concatenate([predict_section(part, inputs, number) for number in (0, 1)])
    np.testing.assert_allclose(predicted, expected, atol=2e-3 * np.ptp(target))


def test_within_sections_it_regresses_differences_in_all_looks_alike() -> None:
    sections = [section("a", 40, 1), section("b", 33, 2)]
    # One section is more of everything, for a reason that its tiles do not show.
    sections[1] = replace(sections[1], target=sections[1].target + np.float32(5))
    part, inputs = prepared("query", sections, looks=3)
    penalty = start_from_ridge(part, inputs, within=True)
    every = np.arange(73)
    target, number = inputs.study.target.double().numpy(), inputs.study.section_of(every).numpy()
    features, expected = [], []
    for look in range(3):
        maps = inputs.in_look(every, look).double().numpy()
        assert look == 0 or np.abs(maps - inputs.plain(every).numpy()).max() > 0.01
        flat = maps.transpose(0, 2, 3, 1).reshape(73, -1)
        for one in (0, 1):
            rows = flat[number == one]
            features.append(rows - rows.mean(0))
            expected.append(target[number == one] - target[number == one].mean(0))
    joined = np.concatenate(features)
    unit = np.square(joined).sum(1).mean()
    fitted = Ridge(alpha=penalty * unit, fit_intercept=False).fit(joined, np.concatenate(expected))
    plain = np.concatenate(features[:2])  # what a section has in common does not count
    predicted = np.concatenate([predict_section(part, inputs, one) for one in (0, 1)])
    for one in (0, 1):
        got = predicted[number == one] - predicted[number == one].mean(0)
        wanted = fitted.predict(plain[number == one])
        np.testing.assert_allclose(got, wanted, atol=2e-3 * np.ptp(target))
    np.testing.assert_allclose(predicted.mean(0), target.mean(0), atol=1e-3)


def test_a_narrow_head_keeps_the_strongest_directions() -> None:
    wide, inputs = prepared("query", [section("a", 40, 1), section("b", 33, 2)])
    start_from_ridge(wide, inputs)
    full = predict_section(wide, inputs, 0)
    narrow, inputs = prepared("query", [section("a", 40, 1), section("b", 33, 2)], hidden=3)
    start_from_ridge(narrow, inputs)
    # The target follows three colors: three directions hold nearly all of it.
    assert np.square(predict_section(narrow, inputs, 0) - full).mean() < 0.02 * full.var(0).mean()


def test_the_penalty_is_chosen_on_sections_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    part, inputs = prepared("query", [section("a", 40, 1), section("b", 33, 2)])
    features, target = design(part, inputs), inputs.study.target.numpy()
    number = inputs.study.section_of(np.arange(len(target))).numpy()
    unit = np.square(features - features.mean(0)).sum(1).mean()
    errors = []
    for penalty in PENALTIES:
        each = []
        for left_out in (0, 1):
            seen, tested = number != left_out, number == left_out
            fitted = Ridge(alpha=penalty * unit).fit(features[seen], target[seen])
            each.append(np.square(fitted.predict(features[tested]) - target[tested]).mean())
        errors.append(np.mean(each))
    assert start_from_ridge(part, inputs) == PENALTIES[int(np.argmin(errors))]


def test_one_section_and_a_selection_of_spots_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "_MOST_SPOTS", 30)
    part, inputs = prepared("neighborhood", [section("a", 60, 1)])
    assert start_from_ridge(part, inputs) in PENALTIES
    own = inputs.study.target.numpy()
    predicted = predict_section(part, inputs, 0)
    assert np.square(predicted - own).mean() < np.square(own - own.mean(0)).mean()


def test_the_rest_of_the_network_stays_as_it_is() -> None:
    part, inputs = prepared("neighborhood", [section("a", 40, 1), section("b", 33, 2)])
    kept = ("image_encoder", "expression_encoder", "neighbor_expression_encoder", "cross_encoder")
    before = {n: t.clone() for n, t in part.network.state_dict().items() if n.startswith(kept)}
    start_from_ridge(part, inputs)
    after = part.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_many_spots_with_few_features_are_solved_by_the_features() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat([0, 1, 2], 20)
    features = rng.normal(2, 1, (60, 7)) * np.array([9, 3, 1, 1, 0.3, 0.1, 0.01])
    features += 20.0 * np.array([0, 1, 3])[group, None]  # stains differ between sections
    target = features @ rng.normal(size=(7, GENES)) + rng.normal(0, 3, (60, GENES))
    centered = features - features.mean(0)
    penalty, weights = ridge._by_features(centered, target, group)
    unit = np.square(centered).sum(1).mean()
    fitted = Ridge(alpha=penalty * unit).fit(features, target)
    np.testing.assert_allclose(weights.T, fitted.coef_, rtol=1e-6, atol=1e-9)
    same, dual, predicted = ridge._by_spots(centered, target, group)
    assert same == penalty
    np.testing.assert_allclose(centered.T @ dual, weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(predicted, centered @ weights, rtol=1e-6, atol=1e-9)


def test_a_study_with_more_spots_than_features_starts_from_the_same_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features of a tiny encoder, of which there are fewer than spots."""
    part, inputs = prepared("query", [section("a", 40, 1), section("b", 33, 2)])
    whole = part.network.ridge_design
    monkeypatch.setattr(
        part.network, "ridge_design", lambda maps: (whole(maps)[0] * (torch.arange(512) < 20),)
    )
    start_from_ridge(part, inputs)
    by_spots = predict_section(part, inputs, 0)

    class Narrow:
        def __call__(self, maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (whole(maps)[0][:, :20],)

    monkeypatch.setattr(part.network, "ridge_design", Narrow())
    fill = part.network.start_from_ridge
    solutions = []
    monkeypatch.setattr(part.network, "start_from_ridge", lambda s, maps: solutions.append(s))
    start_from_ridge(part, inputs)
    (solution,) = solutions
    wide = torch.zeros(len(solution.factors[0]), 512)
    wide[:, :20] = solution.factors[0]
    with torch.no_grad():
        fill(replace(solution, factors=[wide]), [])
    np.testing.assert_allclose(predict_section(part, inputs, 0), by_spots, atol=1e-4)
