"""Intervals by spread: nothing that calibrates or checks them has seen what it is told of."""

from contextlib import closing
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_nh2st.analysis.intervals import conformal_half_width, covered
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import crossval, evaluate
from napari_nh2st.evaluation.crossval import (
    CrossValidation,
    cross_validate,
    cross_validate_events,
)
from napari_nh2st.evaluation.events import FoldProgress, SpotsPredicted
from napari_nh2st.evaluation.settings import CrossValidateSettings
from napari_nh2st.evaluation.spread_intervals import (
    LeftOutPredictions,
    further_subsets,
    in_words,
)
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.prediction.half_widths import half_widths
from napari_nh2st.spots import read_sections
from napari_nh2st.synthetic import write_synthetic_study
from napari_nh2st.training.events import TrainEvent, TrainStarted
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection, load_study
from small_models import small_model

NAMES = "ABCD"


def drawn(seed: int = 0) -> LeftOutPredictions:
    """Predictions of four parts, by every model that has not seen them."""
    rng = np.random.default_rng(seed)
    result = LeftOutPredictions(frozenset(NAMES))
    for number, name in enumerate(NAMES):
        result.measured[name] = rng.normal(0, 1 + number, (40, 3))
        for left_out in [(name,), *(s for s in further_subsets(NAMES) if name in s)]:
            result.predicted[name, frozenset(left_out)] = rng.normal(0, 0.3, (40, 3))
    return result


def by_hand(
    found: LeftOutPredictions, parts: str, also_out: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Mean spread, and half width over spread + mean, of a study of some parts."""
    errors, spreads = [], []
    for part in parts:
        without = {part, *also_out}
        errors.append(found.measured[part] - found.predicted[part, frozenset(without)])
        heads = [found.predicted[part, frozenset(without | {o})] for o in parts if o != part]
        spreads.append(np.std(heads, axis=0))
    error, spread = np.concatenate(errors), np.concatenate(spreads)
    return spread.mean(0), conformal_half_width(error / (spread + spread.mean(0)))


def test_half_widths_come_from_heads_that_have_not_seen_the_part() -> None:
    found = drawn()
    usual, half = found.half_widths(found.names)
    mean, factor = by_hand(found, NAMES)
    np.testing.assert_allclose(usual, mean)
    np.testing.assert_allclose(half, 2 * mean * factor)


def test_coverage_of_a_part_is_of_what_has_never_seen_it() -> None:
    found = drawn()
    coverage = found.coverage()
    assert list(coverage) == sorted(NAMES)
    for part in NAMES:
        others = NAMES.replace(part, "")
        mean, factor = by_hand(found, others, also_out=part)
        heads = [found.predicted[part, frozenset({part, other})] for other in others]
        errors = found.measured[part] - found.predicted[part, frozenset(part)]
        share = covered(errors, factor * (np.std(heads, axis=0) + mean))
        assert coverage[part].mean == pytest.approx(share.mean())
    # Whatever has seen D does not count for it.
    changed = drawn()
    for (part, left_out), values in changed.predicted.items():
        if "D" not in left_out:
            changed.predicted[part, left_out] = values + 100
    assert changed.coverage()["D"] == coverage["D"]
    assert changed.coverage()["A"] != coverage["A"]


def test_every_two_and_every_three_are_left_out() -> None:
    assert len(further_subsets("ABCDE")) == 20
    assert further_subsets(NAMES) == [*combinations(NAMES, 2), *combinations(NAMES, 3)]
    assert [in_words(names) for names in ("A", "AB", "ABC")] == ["A", "A and B", "A, B and C"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    """Four sections of one donor."""
    folder = tmp_path_factory.mktemp("study")
    table = write_synthetic_study(
        folder, (1, 2, 3, 4), donors=("A",) * 4, size_um=(1400, 1400), mpp=4.0
    )
    return load_study(read_sections(table), trust_positions=True)


@pytest.fixture(scope="module")
def settings(
    study: tuple[MeasuredSection, ...], tmp_path_factory: pytest.TempPathFactory
) -> TrainSettings:
    start = tmp_path_factory.mktemp("start") / "model"
    genes = tuple(study[0].spots.var_names[:5])
    save_model_folder(small_model("query", panel=genes), start)
    return TrainSettings(
        start=str(start),
        encoder="frozen",
        epochs=1,
        batch_size=32,
        validation="none",
        device="cpu",
        frozen_looks=1,
    )


class Trainings:
    """Keeps what each training was left without, and on what it was done."""

    def __init__(self) -> None:
        self.sections: dict[str, set[str]] = {}

    def __call__(self, left_out: str, event: TrainEvent) -> None:
        if isinstance(event, TrainStarted):
            self.sections[left_out] = set(event.training)


@pytest.fixture(scope="module")
def validated(
    study: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CrossValidation, Trainings, Path]:
    folder, heard = tmp_path_factory.mktemp("out") / "cv", Trainings()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossval, "write_evaluation", lambda *_: None)  # figures take their time
        result = cross_validate(
            study,
            settings,
            folder=folder,
            leave="section",
            intervals="spread",
            on_event=heard,
        )
    return result, heard, folder


def test_a_cross_validation_trains_without_every_two_and_three(
    validated: tuple[CrossValidation, Trainings, Path], study: tuple[MeasuredSection, ...]
) -> None:
    _, heard, _ = validated
    names = [section.name for section in study]
    expected = [(), *((name,) for name in names), *further_subsets(names)]
    assert heard.sections == {
        in_words(left_out) if left_out else "": set(names) - set(left_out) for left_out in expected
    }


def test_its_model_has_intervals_that_follow_the_spread(
    validated: tuple[CrossValidation, Trainings, Path], study: tuple[MeasuredSection, ...]
) -> None:
    result, _, folder = validated
    model = load_model_folder(folder / "model")
    config = model.config
    assert config.usual_spread is not None
    assert config.interval_90 is not None
    assert set(config.usual_spread) == set(config.interval_90) == set(config.panel)
    kept = config.training["held_out"]["coverage"]
    assert kept == {name: each.to_json() for name, each in result.coverage.items()}
    assert set(kept) == {section.name for section in study}
    assert "where the heads differ as usual" in model_card(config)
    evaluation = evaluate(model, study[:1], bootstrap=0)
    (prediction,) = evaluation.predictions.values()
    each = half_widths(prediction)
    usual = prediction.var["usual_spread"].to_numpy()
    spread = prediction.layers["spread"]
    np.testing.assert_allclose(
        each, prediction.var["interval_90"].to_numpy() * (1 + spread / usual) / 2, rtol=1e-5
    )
    assert np.ptp(each, axis=0).min() > 0
    errors = prediction.layers["measured"] - prediction.X
    (coverage,) = evaluation.coverage.values()
    assert coverage.mean == pytest.approx((np.abs(errors) <= each).mean())


def test_what_is_trained_is_taken_by_the_next_run(
    validated: tuple[CrossValidation, Trainings, Path],
    study: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, _, folder = validated
    (folder / "model").rename(folder.parent / "first")
    monkeypatch.setattr(crossval, "write_evaluation", lambda *_: None)
    plan = CrossValidateSettings("section", intervals="spread")
    with closing(cross_validate_events(study, settings, plan, folder=folder)) as events:
        for event in events:
            assert isinstance(event, FoldProgress)
            assert isinstance(event.event, SpotsPredicted), "nothing is trained again"
            if " and " in event.left_out:
                break
    assert in_words(further_subsets([s.name for s in study])[0]) == event.left_out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "whole"}, "give --encoder frozen"),
        ({"image_encoder": "onnx:e.onnx"}, r"a model around onnx:e\.onnx does not have"),
        ({"validation": "section"}, "Without .* and .* only one section"),
    ],
)
def test_what_cannot_be_had_is_refused_before_the_first_training(
    study: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    heard = Trainings()
    options: dict[str, Any] = {"folder": tmp_path, "intervals": "spread", "on_event": heard}
    with pytest.raises(InputError, match=message):
        cross_validate(study, replace(settings, **change), leave="section", **options)
    with pytest.raises(InputError, match="need 4 to 6 sections to leave out; there are 3"):
        cross_validate(study[:3], settings, leave="section", **options)
    assert not heard.sections
