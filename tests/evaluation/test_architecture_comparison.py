"""Comparison of architectures: the same folds for all, paired by fold, and nothing done twice."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import ttest_rel

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import (
    ArchitectureComparison,
    ArchitectureProgress,
    architecture_comparison,
    compare_architectures,
    compare_architectures_events,
    cross_validate,
    evaluation_folder,
)
from napari_nh2st.evaluation.architecture_comparison import architecture_settings
from napari_nh2st.evaluation.architecture_scores import (
    ArchitectureScores,
    comparison_notices,
    mean_difference,
    top_genes,
)
from napari_nh2st.evaluation.events import FoldProgress, SpotsPredicted
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.model.config import read_config
from napari_nh2st.model.folder import load_model_folder
from napari_nh2st.spots import expression_target
from napari_nh2st.training import MeasuredSection, StepDone, TrainFinished, TrainSettings
from napari_nh2st.training.events import Preparing, TrainEvent, TrainStarted
from small_configs import PANEL
from train_studies import drawn_section, start_model

COMPARED = ("deepset", "linear", "nh2st:average", "nh2st:query")


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    """Three sections of two donors."""
    folder = tmp_path_factory.mktemp("study")
    given = (("S1", "A", 0), ("S2", "A", 1), ("S3", "B", 2))
    return tuple(drawn_section(folder, *one) for one in given)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    return TrainSettings(
        start=start_model(tmp_path_factory.mktemp("start") / "model"),
        mpp=1.0,
        epochs=1,
        batch_size=20,
        patch_spots=10,
        learning_rate=1e-3,
        validation="none",
        device="cpu",
        precision="float32",
    )


@pytest.fixture(scope="module", autouse=True)
def no_drawing() -> Iterator[None]:
    """Figures of an evaluation have tests of their own, and take most of its time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_maps", "save_gene_pcc", "save_density_figure"):
            patch.setattr(evaluation_folder, name, lambda *others: others[-1].touch())
        yield


class Heard:
    """Keeps the trainings by architecture and what was left out."""

    def __init__(self) -> None:
        self.trainings: list[tuple[str, str]] = []
        self.training_sections: list[tuple[str, ...]] = []

    def __call__(self, architecture: str, left_out: str, event: TrainEvent) -> None:
        if isinstance(event, TrainStarted):
            self.trainings.append((architecture, left_out))
            self.training_sections.append(event.training)


@pytest.fixture(scope="module")
def done(
    sections: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[ArchitectureComparison, Heard, Path]:
    heard, folder = Heard(), tmp_path_factory.mktemp("out") / "compared"
    result = compare_architectures(
        sections, COMPARED, settings, folder=folder, leave="section", on_event=heard
    )
    return result, heard, folder


def test_paired_differences_are_those_of_cross_validations_by_themselves(
    done: tuple[ArchitectureComparison, Heard, Path],
    sections: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path: Path,
) -> None:
    result = done[0]
    pcc = {}
    for name in ("linear", "deepset"):
        alone = cross_validate(
            sections,
            replace(settings, architecture=name, encoder="frozen"),
            folder=tmp_path / name,
            leave="section",
            final=False,
        )
        summaries = alone.evaluations[name].section_summaries
        pcc[name] = np.array([summaries[section.name]["mean_pcc"] for section in sections])
        row = result.table().set_index("architecture").loc[name]
        summary = alone.evaluations[name].summary
        assert row["mean_pcc"] == pytest.approx(summary["mean_pcc"])
        assert row["mse"] == pytest.approx(summary["mse"])
        assert row["mse_baseline"] == pytest.approx(summary["mse_baseline"], rel=1e-4)
    expected = pcc["deepset"] - pcc["linear"]
    np.testing.assert_allclose(result.differences("deepset"), expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-4
    row = result.table().set_index("architecture").loc["deepset"]
    interval = ttest_rel(pcc["deepset"], pcc["linear"]).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(expected.mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(interval))
    assert row["better_folds"] == (expected > 0).sum()


def test_folds_are_the_same_and_a_training_serves_two_contexts(
    done: tuple[ArchitectureComparison, Heard, Path], sections: tuple[MeasuredSection, ...]
) -> None:
    result, heard, folder = done
    names = [section.name for section in sections]
    trained = ("deepset", "linear", "nh2st:average")  # which trains for nh2st:query as well
    assert heard.trainings == [(each, name) for each in trained for name in names]
    for (_, left_out), training in zip(heard.trainings, heard.training_sections, strict=True):
        assert set(training) == set(names) - {left_out}
    assert result.reference == "linear"
    begun = "nh2st:average, nh2st:query starts from the head of "
    assert result.notices[-1].startswith(begun)
    assert all(list(each.folds.index) == names for each in result.architectures)
    averaged, query = (each.folds for each in result.architectures[2:])
    assert not np.allclose(averaged["mean_pcc"], query["mean_pcc"])
    assert list(averaged["seconds"]) == list(query["seconds"])
    assert not (folder / "linear" / "model").exists()


def test_weights_are_counted_as_the_trainings_count_them(
    done: tuple[ArchitectureComparison, Heard, Path],
) -> None:
    result, _, folder = done
    for each in result.architectures:
        key = each.name.partition(":")[0]
        context = "query" if key == "nh2st" else key
        network = load_model_folder(folder / key / "folds" / "S1" / context / "model").network
        encoder = sum(p.numel() for p in network.image_encoder.parameters())
        assert each.n_parameters == sum(p.numel() for p in network.parameters())
        assert each.n_trained == each.n_parameters - encoder  # which is frozen, though not said
        assert (each.folds["seconds"] > 0).all()


def test_tables_and_figure_are_written(done: tuple[ArchitectureComparison, Heard, Path]) -> None:
    result, _, folder = done
    table = pd.read_csv(folder / "comparison.csv")
    assert list(table["architecture"]) == list(COMPARED)
    np.testing.assert_allclose(table["difference"], result.table()["difference"])
    folds = pd.read_csv(folder / "folds.csv")
    assert len(folds) == 3 * len(COMPARED)
    own = folds[folds["architecture"] == "deepset"]
    np.testing.assert_allclose(own["difference"], result.differences("deepset"))
    with Image.open(folder / "comparison.png") as figure:
        drawn = np.asarray(figure.convert("L"))
    assert (drawn < 128).sum() > 1000
    told = result.to_json()["architectures"][1]
    assert (told["architecture"], told["difference"], told["top50_pcc"]) == ("linear", None, None)


def test_a_stopped_comparison_goes_on_and_ends_the_same(
    done: tuple[ArchitectureComparison, Heard, Path],
    sections: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path: Path,
) -> None:
    plan = CompareSettings(("linear", "deepset"), "section")
    events = compare_architectures_events(sections, plan, settings, folder=tmp_path / "out")
    with closing(events):
        for event in events:
            assert isinstance(event, ArchitectureProgress)
            in_second = event.architecture == "deepset" and event.progress.left_out == "S2"
            if in_second and isinstance(event.progress.event, StepDone):
                break
    *progress, last = compare_architectures_events(
        sections, plan, settings, folder=tmp_path / "out"
    )
    finished = [
        (event.architecture, event.progress.left_out)
        for event in progress
        if isinstance(event.progress.event, TrainFinished)
    ]
    assert finished == [("deepset", "S2"), ("deepset", "S3")]
    for name in ("linear", "deepset"):
        first, second = (
            next(each.folds for each in of.architectures if each.name == name)
            for of in (done[0], last.result)
        )
        pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))
        assert (second["seconds"] > 0).all()


@pytest.mark.parametrize(
    ("compared", "changed", "said"),
    [
        (("linear", "ridge"), {}, "there is no architecture 'ridge'; there are nh2st, linear"),
        (("linear",), {}, "at least two architectures"),
        (("linear:query", "nh2st"), {}, "architecture linear has no contexts"),
        (("linear", "nh2st:all"), {}, "context is 'all'; it must be one of query"),
        (("linear", "triplex:lines"), {}, "guides is 'lines'; it must be one of none, boundary"),
        (("linear", "sepal"), {"guides": "boundary"}, "none of linear, sepal has guides"),
        (("sepal", "linear"), {"encoder": "whole"}, "linear cannot be compared .* closed form"),
        (("linear", "nh2st"), {"dim": 24}, "nh2st cannot be compared .* the start model .* has 16"),
        (("linear", "sepal"), {"dim": 16}, "none of linear, sepal has dim"),
        (("linear", "sepal"), {"architecture": "nh2st"}, "has its own list"),
        (("linear", "nh2st"), {"start": None}, "weights would be random"),
        (("linear", "nh2st"), {"validation": "section"}, "linear cannot be .* Without A: .* one"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_starts(
    sections: tuple[MeasuredSection, ...],
    settings: TrainSettings,
    tmp_path: Path,
    compared: tuple[str, ...],
    changed: dict[str, object],
    said: str,
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        compare_architectures(
            sections, compared, replace(settings, **changed), folder=tmp_path / "out"
        )
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_shapes_go_to_the_architectures_that_have_them(settings: TrainSettings) -> None:
    plan = CompareSettings(("linear", "nh2st:average", "deepset"))
    given = architecture_settings(plan, replace(settings, dim=16, hidden=8))
    assert [(each.dim, each.hidden) for each in given.values()] == [
        (None, None),
        (16, 8),
        (None, 8),
    ]
    assert [each.context for each in given.values()] == [None, "average", None]
    assert {each.encoder for each in given.values()} == {"frozen"}


def test_guides_are_compared_each_in_a_folder_of_its_own(
    sections: tuple[MeasuredSection, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    names = ("triplex:none", "triplex:boundary")
    result = compare_architectures(
        sections, names, replace(settings, dim=16), folder=tmp_path / "out"
    )
    assert [each.name for each in result.architectures] == list(names)
    none, boundary = result.architectures
    assert boundary.n_parameters > none.n_parameters
    for guides in ("none", "boundary"):
        config = read_config(
            tmp_path / "out" / f"triplex-{guides}" / "folds" / "A" / "triplex" / "model"
        )
        assert config.hyperparameters["guides"] == guides


def test_top_genes_vary_most_on_the_training_sections(
    sections: tuple[MeasuredSection, ...],
) -> None:
    training = sections[:2]
    targets = [expression_target(section.spots, PANEL) for section in training]
    variance = (targets[0].var(0) + targets[1].var(0)) / 2
    expected = [PANEL[column] for column in np.argsort(variance)[::-1][:2]]
    assert top_genes(training, PANEL, 2) == expected
    assert top_genes(training, PANEL) is None


def test_one_fold_has_no_interval() -> None:
    assert mean_difference([0.25]).mean == 0.25
    assert np.isnan(mean_difference([0.25]).low)


def test_what_the_folds_do_not_tell_is_said(sections: tuple[MeasuredSection, ...]) -> None:
    own = ArchitectureScores("deepset", pd.DataFrame(), 1, 1, 2)
    by_section = {section.name: [section] for section in sections}
    few, shared, constant = comparison_notices([own], by_section, "section")
    assert "over 3 folds, and wide" in few
    assert "share a donor" in shared
    assert "deepset 2" in constant
    of_one = {section.name: [section] for section in sections[:2]}
    assert "sections of one donor (A)" in comparison_notices([], of_one, "section")[1]


def test_the_stopwatch_counts_training_alone_over_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(perf_counter=count().__next__)  # a second between any two looks
    monkeypatch.setattr(architecture_comparison, "time", now)
    reading, step = Preparing("reading tiles", 1, 1), StepDone(1, 1, 2, 0.5, 1.0, 1.0)
    for seconds in (2, 4):
        watch = architecture_comparison._Stopwatch(tmp_path, "linear")
        for event in (reading, reading, step, step, SpotsPredicted("S1", 1, 1)):
            watch(FoldProgress("S1", event))
            watch.went_on()
        watch.save()
        assert watch.seconds == {"S1": seconds}
