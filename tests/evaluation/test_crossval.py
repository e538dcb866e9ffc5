"""Cross-validation: what is scored was left out, and what is told of a gene is what came out."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr

from encoder_folders import write_onnx
from napari_nh2st.analysis.unfamiliarity import fit_familiar, unfamiliarity
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import fold_training
from napari_nh2st.evaluation.crossval import (
    CrossValidation,
    Stopped,
    best_context,
    cross_validate,
    cross_validate_events,
)
from napari_nh2st.evaluation.events import FoldProgress, SpotsPredicted
from napari_nh2st.evaluation.fold_heads import section_features
from napari_nh2st.evaluation.fold_training import with_context
from napari_nh2st.evaluation.settings import CrossValidateSettings
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.model.card import model_card, model_summary
from napari_nh2st.model.config import Context
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.model.held_out import held_out_pcc
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.prediction.new import _assembled
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import PanelSettings, read_sections
from napari_nh2st.synthetic import write_synthetic_study
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training.events import EpochDone, StepDone, TrainEvent, TrainStarted
from napari_nh2st.training.run_state import BEST, LOCK
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection, load_study, section_tiles
from small_models import small_model

SETTINGS = TrainSettings(
    tile_px=32,
    mpp=5.0,
    dim=8,
    heads=2,
    hidden=8,
    hypergraph_hidden=8,
    epochs=1,
    batch_size=32,
    validation="none",
    device="cpu",
)


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    """Three sections of two donors."""
    folder = tmp_path_factory.mktemp("study")
    table = write_synthetic_study(
        folder, (1, 2, 3), donors=("A", "A", "B"), size_um=(1600, 1600), mpp=4.0
    )
    return load_study(read_sections(table), trust_positions=True)


class Heard:
    """Keeps what each training was left without, and on what it was done."""

    def __init__(self) -> None:
        self.trainings: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, left_out: str, event: TrainEvent) -> None:
        if isinstance(event, TrainStarted):
            self.trainings.append((left_out, event.training))


@pytest.fixture(scope="module")
def done(
    sections: tuple[MeasuredSection, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[CrossValidation, Heard, Path]:
    heard = Heard()
    folder = tmp_path_factory.mktemp("out") / "study"
    result = cross_validate(
        sections,
        SETTINGS,
        folder=folder,
        leave="section",
        contexts=("query", "average"),
        on_event=heard,
    )
    return result, heard, folder


def test_each_section_is_scored_by_a_model_that_has_not_seen_it(
    done: tuple[CrossValidation, Heard, Path], sections: Sequence[MeasuredSection]
) -> None:
    result, heard, folder = done
    names = {section.name for section in sections}
    assert len(heard.trainings) == 4
    for left_out, trained_on in heard.trainings:
        assert set(trained_on) == names - {left_out}
    for evaluation in result.evaluations.values():
        assert set(evaluation.predictions) == names
        assert not any("was trained on" in notice for notice in evaluation.notices)
    fold = load_model_folder(folder / "folds" / sections[0].name / "query" / "model")
    assert sections[0].name not in fold.config.training["sections"]


def test_leaving_out_a_donor_leaves_out_all_its_sections(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    heard = Heard()
    result = cross_validate(
        sections, SETTINGS, folder=tmp_path / "out", leave="donor", final=False, on_event=heard
    )
    third = sections[2].name
    assert heard.trainings == [("A", (third,)), ("B", (sections[0].name, sections[1].name))]
    assert result.model is None
    assert not (tmp_path / "out" / "model").exists()


def test_reliability_is_the_mean_held_out_correlation(
    done: tuple[CrossValidation, Heard, Path],
) -> None:
    result, _, folder = done
    model = load_model_folder(folder / "model")
    predictions = result.evaluations[result.context].predictions.values()
    assert model.config.context == result.context
    for column, gene in enumerate(model.config.panel[:10]):
        each = [
            pearsonr(p.X[:, column], p.layers["measured"][:, column]).statistic for p in predictions
        ]
        assert model.config.reliability is not None
        assert model.config.reliability[gene] == pytest.approx(np.mean(each), abs=1e-3)
    held_out = json.loads((folder / "model" / "config.json").read_text(encoding="utf-8"))[
        "training"
    ]["held_out"]
    for context, evaluation in result.evaluations.items():
        told = held_out["contexts"][context]["all"]["mean_pcc"]
        assert told == pytest.approx(evaluation.summary["mean_pcc"], abs=1e-4)


def test_baselines_are_the_means_of_each_folds_own_training(
    done: tuple[CrossValidation, Heard, Path], sections: Sequence[MeasuredSection]
) -> None:
    result, _, _ = done
    evaluation = result.evaluations["query"]
    targets = {name: p.layers["measured"] for name, p in evaluation.predictions.items()}
    expected = []
    for section in sections:
        others = [targets[other.name] for other in sections if other.name != section.name]
        expected.append(np.square(targets[section.name] - np.concatenate(others).mean(0)).mean(0))
    np.testing.assert_allclose(
        evaluation.scores["mse_baseline"], np.mean(expected, axis=0), rtol=1e-3
    )


def test_average_is_the_mean_of_the_querys_predictions(
    done: tuple[CrossValidation, Heard, Path], sections: Sequence[MeasuredSection]
) -> None:
    result, _, folder = done
    assert not (folder / "folds" / sections[0].name / "average").exists()
    for section in sections:
        query = result.evaluations["query"].predictions[section.name]
        average = result.evaluations["average"].predictions[section.name]
        index, mask = neighborhoods(section.centers * np.asarray(section.mpp))
        for spot in range(query.n_obs):
            near = index[spot][mask[spot]]
            np.testing.assert_allclose(average.X[spot], query.X[near].mean(0), atol=1e-4)


def test_a_stopped_cross_validation_goes_on(
    sections: tuple[MeasuredSection, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first, second = tmp_path / "out", Heard(), Heard()
    with pytest.raises(Stopped, match="continues from there"):
        cross_validate(
            sections,
            SETTINGS,
            folder=folder,
            leave="section",
            on_event=first,
            stop=lambda: len(first.trainings) > 1,
        )
    result = cross_validate(sections, SETTINGS, folder=folder, leave="section", on_event=second)
    # The first fold was finished, the second was not.
    assert [left_out for left_out, _ in second.trainings] == [
        sections[1].name,
        sections[2].name,
        "",
    ]
    assert result.model is not None
    monkeypatch.setattr(
        fold_training, "train_events", lambda *_, **__: pytest.fail("trained again")
    )
    with pytest.raises(InputError, match="finished cross-validation"):
        cross_validate(sections, SETTINGS, folder=folder, leave="section")


def test_a_stop_whose_checkpoint_cannot_be_written_says_so(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    begun = []

    def lose_the_folder(left_out: str, event: TrainEvent) -> None:
        if isinstance(event, StepDone):
            begun.append(left_out)
            fold = folder / "folds" / left_out / "query"
            fold.rename(tmp_path / "elsewhere")
            fold.touch()

    with pytest.raises(InputError, match="query") as failed:
        cross_validate(
            sections,
            SETTINGS,
            folder=folder,
            leave="section",
            on_event=lose_the_folder,
            stop=lambda: bool(begun),
        )
    assert not isinstance(failed.value, Stopped), "nothing is there to go on from"


def test_left_in_the_middle_it_goes_on_from_there(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    plan = CrossValidateSettings("section", final=False)
    settings = replace(SETTINGS, epochs=3)
    first = cross_validate_events(sections, settings, plan, folder=tmp_path / "out")
    for event in first:
        assert isinstance(event, FoldProgress)
        if event.left_out == sections[1].name and isinstance(event.event, EpochDone):
            break
    first.close()
    *progress, last = cross_validate_events(sections, settings, plan, folder=tmp_path / "out")
    started = [
        (event.left_out, event.event.epoch)
        for event in progress
        if isinstance(event.event, TrainStarted)
    ]
    assert started == [(sections[1].name, 1), (sections[2].name, 0)]
    tested = {event.event.section for event in progress if isinstance(event.event, SpotsPredicted)}
    assert tested == {section.name for section in sections}
    whole = cross_validate(
        sections, settings, folder=tmp_path / "whole", leave="section", final=False
    )
    assert last.result.evaluations["query"].summary == whole.evaluations["query"].summary


def test_what_a_kill_after_the_model_of_a_fold_left_is_removed(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    kept = {"folder": tmp_path / "out", "leave": "section", "final": False}
    cross_validate(sections, SETTINGS, **kept)
    before = sorted(tmp_path.rglob("*"))
    fold = tmp_path / "out" / "folds" / sections[0].name / "query"
    for name in (BEST, LOCK):  # as they lie between the writing of the model and the end
        (fold / name).write_bytes(b"")
    cross_validate(sections, SETTINGS, **kept)
    assert sorted(tmp_path.rglob("*")) == before


def test_folds_of_other_settings_are_not_taken_over(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    cross_validate(sections, SETTINGS, folder=tmp_path, leave="donor", final=False)
    with pytest.raises(InputError, match="trained on other sections or settings"):
        cross_validate(sections, replace(SETTINGS, seed=1), folder=tmp_path, leave="donor")
    counted_anew = []
    for section in sections:
        spots = section.spots.copy()
        spots.X = 2 * spots.X
        counted_anew.append(replace(section, spots=spots))
    with pytest.raises(InputError, match="trained on other sections or settings"):
        cross_validate(counted_anew, SETTINGS, folder=tmp_path, leave="donor")


def test_settings_may_differ_by_fold(sections: tuple[MeasuredSection, ...], tmp_path: Path) -> None:
    asked = []

    def fold(left_out: str, settings: TrainSettings) -> TrainSettings:
        asked.append(left_out)
        return replace(settings, seed=len(asked))

    cross_validate(sections, SETTINGS, folder=tmp_path / "out", leave="donor", fold_settings=fold)
    assert asked == ["A", "B", ""]
    stored = load_model_folder(tmp_path / "out" / "folds" / "B" / "query" / "model")
    assert stored.config.training["settings"]["seed"] == 2


def test_the_context_is_the_start_models_unless_told(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    genes = tuple(sections[0].spots.var_names[:5])
    save_model_folder(small_model("neighborhood", panel=genes), tmp_path / "start")
    start = TrainSettings(
        start=str(tmp_path / "start"), epochs=1, batch_size=32, validation="none", device="cpu"
    )
    result = cross_validate(sections, start, folder=tmp_path / "own", leave="donor", final=False)
    assert (tuple(result.evaluations), result.context) == (("neighborhood",), "neighborhood")
    assert (tmp_path / "own" / "folds" / "A" / "neighborhood" / "model").is_dir()
    told = replace(start, context="query")
    result = cross_validate(sections, told, folder=tmp_path / "told", leave="donor", final=False)
    assert tuple(result.evaluations) == ("query",)


def test_another_architecture_is_validated_on_the_start_models_encoder(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    genes = tuple(sections[0].spots.var_names[:5])
    save_model_folder(small_model("neighborhood", panel=genes), tmp_path / "start")
    linear = TrainSettings(
        start=str(tmp_path / "start"), architecture="linear", validation="none", device="cpu"
    )
    result = cross_validate(sections, linear, folder=tmp_path / "out", leave="donor")
    assert result.model is not None
    config = load_model_folder(tmp_path / "out" / "model").config
    assert config.architecture == "linear"
    assert config.reliability
    assert config.training["heads"] == "those of the 2 folds, for the spread of a value"
    assert result.model.heads is not None
    assert set(result.model.heads.state) == {"tile_head.weight", "tile_head.bias"}
    # It has no context: where one stands, its own name does.
    assert (result.context, list(result.evaluations)) == ("linear", ["linear"])
    assert (tmp_path / "out" / "linear").is_dir()
    assert list(config.training["held_out"]["contexts"]) == ["linear"]
    card = model_card(config)
    assert "| architecture | linear |" in card
    assert "query" not in card
    assert "architecture linear, mean held-out PCC" in model_summary(config)
    with pytest.raises(InputError, match="which architecture linear does not have"):
        cross_validate(sections, linear, folder=tmp_path / "two", contexts=("query", "average"))


@pytest.mark.parametrize("architecture", ["linear", "rings", "sepal"])
def test_the_spread_around_an_encoder_of_another_library_is_that_of_the_folds(
    sections: tuple[MeasuredSection, ...], tmp_path: Path, architecture: str
) -> None:
    onnx = write_onnx(tmp_path / "means.onnx")
    settings = TrainSettings(
        architecture=architecture,
        image_encoder=f"onnx:{onnx}?licence=mit",
        mpp=5.0,
        epochs=1,
        validation="none",
        device="cpu",
    )
    settings = replace(settings, panel=PanelSettings(n_genes=5))
    result = cross_validate(sections, settings, folder=tmp_path / "cv", leave="section")
    assert result.model is not None
    model = load_model_folder(tmp_path / "cv" / "model")
    assert model.heads is not None
    assert model.heads.mean.shape == (5,)  # the features that the file gives
    assert any(model.config.interval_90.values())
    chosen = PredictSettings(device="cpu", precision="float32", tissue_only=False)
    with open_slide(sections[0].section.slide) as slide:
        found = predict(slide, model, chosen)
        each = [
            predict(
                slide,
                load_model_folder(tmp_path / "cv" / "folds" / s.name / result.context / "model"),
                chosen,
            ).X
            for s in sections
        ]
    expected = np.std(np.stack(each).astype(np.float64), axis=0)
    assert expected.max() > 1e-3
    np.testing.assert_allclose(found.layers["spread"], expected, rtol=1e-3, atol=1e-5)
    assert np.isfinite(found.obs["unfamiliar"]).all()


@pytest.fixture(scope="module")
def around_one_encoder(
    sections: tuple[MeasuredSection, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[CrossValidation, Path]:
    folder = tmp_path_factory.mktemp("heads")
    genes = tuple(sections[0].spots.var_names[:5])
    save_model_folder(small_model("neighborhood", panel=genes), folder / "start")
    settings = TrainSettings(
        start=str(folder / "start"),
        encoder="frozen",
        epochs=1,
        batch_size=32,
        validation="none",
        device="cpu",
    )
    return cross_validate(sections, settings, folder=folder / "cv", leave="section"), folder / "cv"


def test_a_model_of_all_sections_has_the_heads_of_its_folds(
    around_one_encoder: tuple[CrossValidation, Path], sections: tuple[MeasuredSection, ...]
) -> None:
    _, folder = around_one_encoder
    model = load_model_folder(folder / "model")
    assert model.heads is not None
    assert model.heads.count == len(sections)
    for number, section in enumerate(sections):
        fold = load_model_folder(folder / "folds" / section.name / "neighborhood" / "model")
        state = fold.network.state_dict()
        for name, tensor in model.heads.state.items():
            assert torch.equal(tensor[number], state[name]), name
    assert "those of the 3 folds" in model_card(model.config)


def test_genes_say_how_they_did_in_each_fold(
    around_one_encoder: tuple[CrossValidation, Path], sections: tuple[MeasuredSection, ...]
) -> None:
    result, folder = around_one_encoder
    model = load_model_folder(folder / "model")
    by_fold = held_out_pcc(model.config)
    assert by_fold is not None
    for number, section in enumerate(sections):
        prediction = result.evaluations["neighborhood"].predictions[section.name]
        for gene in range(5):
            values = prediction.X[:, gene], prediction.layers["measured"][:, gene]
            expected = np.corrcoef(*values)[0, 1]
            assert by_fold[gene, number] == pytest.approx(expected, abs=6e-4, nan_ok=True)
    stable = int((by_fold >= 0.2).all(1).sum())
    assert f"{stable} of 5 genes have 0.2 or more in each of 3 folds." in model_card(model.config)
    predicted = _assembled(
        np.zeros((2, 2), np.float32),
        pd.DataFrame(index=["a", "b"]),
        np.zeros((2, 2)),
        model.config,
        model.config.panel[3:1:-1],
        status="pending",
    )
    np.testing.assert_array_equal(predicted.varm["held_out_pcc"], by_fold[[3, 2]])
    # A config is a file that anybody may have edited.
    for broken in ({"a": [0.1] * 5}, {"a": [0.1], "b": [0.2]}, {"a": "x", "b": 3}, [1, 2]):
        training = {"held_out": {"pcc_by_fold": broken}}
        assert held_out_pcc(replace(model.config, training=training)) is None


def test_its_tiles_are_familiar_by_what_is_known_of_the_other_sections(
    around_one_encoder: tuple[CrossValidation, Path], sections: tuple[MeasuredSection, ...]
) -> None:
    model = load_model_folder(around_one_encoder[1] / "model")
    assert isinstance(model.network, NH2ST)
    assert model.heads is not None
    features = []
    for section in sections:
        tiles = section_tiles(
            section, model.config.panel, tile_px=model.config.tile_px, mpp=model.config.mpp
        ).tiles
        with torch.inference_mode():
            maps = model.network.encode(normalize_tiles(torch.from_numpy(tiles)))
        features.append(maps.mean((2, 3)).double().numpy())
        np.testing.assert_allclose(section_features(model, section), features[-1], rtol=1e-4)
    expected = unfamiliarity(fit_familiar(features), np.concatenate(features))
    off = np.concatenate(features) - model.heads.mean.double().numpy()
    found = np.linalg.norm(off @ model.heads.whitening.double().numpy(), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_intervals_are_those_of_the_hardest_section_left_out(
    around_one_encoder: tuple[CrossValidation, Path],
) -> None:
    result, folder = around_one_encoder
    model = load_model_folder(folder / "model")
    errors = {
        name: np.abs(p.layers["measured"].astype(float) - p.X)
        for name, p in result.evaluations["neighborhood"].predictions.items()
    }
    each = {name: np.sort(e, 0) for name, e in errors.items()}
    half = {name: e[int(np.ceil(0.9 * (len(e) + 1))) - 1] for name, e in each.items()}
    assert model.config.interval_90 is not None
    np.testing.assert_allclose(
        [model.config.interval_90[gene] or np.nan for gene in model.config.panel],
        np.max(list(half.values()), axis=0),
        rtol=1e-3,
    )
    kept = model.config.training["held_out"]["coverage"]
    assert set(result.coverage) == set(errors) == set(kept)
    for name, e in errors.items():
        others = np.max([h for other, h in half.items() if other != name], axis=0)
        assert result.coverage[name].mean == pytest.approx((e <= others).mean())
        assert kept[name]["mean"] == pytest.approx(result.coverage[name].mean, abs=1e-4)
        assert f"| {name} | {result.coverage[name].mean:.0%} |" in model_card(model.config)
    assert model.config.reliability_of == "other sections of the same donors"


def test_folds_with_encoders_of_their_own_give_no_heads_and_the_card_says_so(
    sections: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, encoder="whole")
    result = cross_validate(sections, settings, folder=tmp_path / "cv", leave="donor")
    assert result.model is not None
    assert result.model.heads is None
    model = load_model_folder(tmp_path / "cv" / "model")
    assert model.heads is None
    assert "heads: none: each fold has an encoder of its own" in model_card(model.config)
    # Intervals need no heads.
    assert any(model.config.interval_90.values())
    assert model.config.reliability_of == "sections of other donors"


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({"query": (0.3, 5), "average": (0.4, 4), "neighborhood": (0.45, 4)}, "neighborhood"),
        ({"query": (0.3, 5), "average": (0.4, 4), "neighborhood": (0.405, 4)}, "average"),
        ({"query": (0.3, 5), "average": (0.4, 4), "neighborhood": (0.405, 3)}, "neighborhood"),
        ({"query": (0.4, 4), "average": (0.395, 4), "neighborhood": (0.39, 4)}, "query"),
        ({"query": (0.2, 1), "average": (0.4, 4)}, "average"),
        ({"neighborhood": (-0.1, 4)}, "neighborhood"),
    ],
)
def test_the_simpler_context_is_taken_unless_another_is_clearly_better(
    scores: dict[Context, tuple[float, float]], best: str
) -> None:
    assert best_context(scores) == best


def test_weights_serve_only_contexts_they_fit() -> None:
    with pytest.raises(InputError, match="cannot serve neighborhood"):
        with_context(small_model("query"), "neighborhood")
    assert with_context(small_model("query"), "average").config.context == "average"
