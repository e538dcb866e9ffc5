"""A training with its test: what is done again, what is not, and who else may write meanwhile."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import evaluation_folder, training_run_events
from napari_nh2st.evaluation.evaluation_folder import read_evaluation, write_evaluation
from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.export import write_anndata
from napari_nh2st.spots import Section
from napari_nh2st.training import (
    EpochDone,
    TrainFinished,
    TrainSettings,
    TrainStarted,
    load_study,
)
from napari_nh2st.training.record import RunRecord, read_record
from train_studies import drawn_study, start_model


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, ...]:
    return drawn_study(tmp_path_factory.mktemp("study"), "S0 S1 S2 S3")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    start = start_model(tmp_path_factory.mktemp("models") / "start")
    return TrainSettings(
        start=start, encoder="frozen", epochs=2, batch_size=20, validation="none", device="cpu"
    )


@pytest.fixture(scope="module", autouse=True)
def no_drawing() -> Iterator[None]:
    """Figures have tests of their own, and take most of an evaluation's time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_maps", "save_gene_pcc", "save_density_figure"):
            patch.setattr(evaluation_folder, name, lambda *_: None)
        yield


def run(
    sections: tuple[Section, ...], settings: TrainSettings, folder: Path, tested: str = "S2"
) -> Generator[Any, None, None]:
    """The first two sections train, one is tested."""
    chosen = [section for section in sections if section.section_id == tested]
    return training_run_events(
        load_study(sections[:2]), load_study(chosen), settings, folder=folder
    )


def of_kind(events: list[Any], *kinds: type) -> list[Any]:
    return [event for event in events if isinstance(event, kinds)]


def stop_after_an_epoch(
    sections: tuple[Section, ...], settings: TrainSettings, folder: Path
) -> list[Any]:
    """A run that is closed in the middle; what it had emitted until then."""
    events = []
    with closing(run(sections, settings, folder)) as running:
        for event in running:
            events.append(event)
            if isinstance(event, EpochDone):
                break
    return events


def test_scores_of_an_earlier_run_without_its_model_are_refused_before_the_training(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(InputError, match=r"test already exists; .* remove it"):
        next(run(study, settings, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_nobody_else_trains_while_an_earlier_model_is_tested(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    list(training_run_events(load_study(study[:2]), (), settings, folder=tmp_path))
    with closing(run(study, settings, tmp_path)) as testing:
        assert next(testing).ended == "in an earlier run"
        for event in testing:
            if isinstance(event, Scoring):
                break
        with pytest.raises(InputError, match="another training is running"):
            list(run(study, settings, tmp_path))
    assert [event.when for event in of_kind(list(run(study, settings, tmp_path)), HeldOut)] == [
        "before",
        "after",
    ]


def test_a_finished_training_is_tested_where_its_start_model_is_gone(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    start = start_model(tmp_path / "start")
    settings = replace(settings, start=start, epochs=1)
    list(training_run_events(load_study(study[:2]), (), settings, folder=tmp_path / "run"))
    Path(start).rename(tmp_path / "elsewhere")
    events = list(run(study, settings, tmp_path / "run"))
    assert of_kind(events, TrainFinished)[0].ended == "in an earlier run"
    assert [event.when for event in of_kind(events, HeldOut)] == ["after"]
    (notice,) = of_kind(events, Notice)
    assert "not scored before the training" in notice.text


def test_a_resumed_run_does_not_score_the_start_model_again(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    first = stop_after_an_epoch(study, settings, tmp_path)
    resumed = list(run(study, settings, tmp_path))
    assert of_kind(resumed, TrainFinished)[0].ended == "all epochs"
    assert {event.when for event in of_kind(first, Scoring)} == {"before"}
    assert {event.when for event in of_kind(resumed, Scoring)} == {"after"}
    (scored,), (read, _) = of_kind(first, HeldOut), of_kind(resumed, HeldOut)
    assert (read.when, read.summary, read.notices) == ("before", scored.summary, scored.notices)
    pd.testing.assert_frame_equal(read.scores, scored.scores)


@pytest.mark.parametrize("changed", ["section", "counts", "damaged"])
def test_a_resumed_run_scores_the_start_model_again_on_what_has_changed(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path, changed: str
) -> None:
    folder = tmp_path / "run"
    stop_after_an_epoch(study, settings, folder)
    tested = "S3" if changed == "section" else "S2"
    sections = study
    if changed == "counts":
        counts = anndata.read_h5ad(study[2].expression)
        counts.X = counts.X[::-1].copy()
        write_anndata(counts, tmp_path / "others.h5ad")
        others = replace(study[2], expression=tmp_path / "others.h5ad")
        sections = (*study[:2], others, study[3])
    if changed == "damaged":
        (folder / "test-before" / "summary.json").write_text("{", encoding="utf-8")
    resumed = list(run(sections, settings, folder, tested))
    assert {event.when for event in of_kind(resumed, Scoring)} == {"before", "after"}
    before = of_kind(resumed, HeldOut)[0]
    kept = read_evaluation(folder / "test-before")
    assert (kept.summary, list(kept.predictions)) == (before.summary, [tested])


def test_an_evaluation_is_read_as_it_was_written(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    list(run(study, settings, tmp_path / "run"))
    read = read_evaluation(tmp_path / "run" / "test")
    write_evaluation(read, tmp_path / "again")
    first, second = tmp_path / "run" / "test", tmp_path / "again"
    assert (first / "genes.csv").read_text(encoding="utf-8") == (second / "genes.csv").read_text(
        encoding="utf-8"
    )
    summaries = [
        json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        for folder in (first, second)
    ]
    assert summaries[0] == summaries[1]


def test_what_holds_no_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        read_evaluation(tmp_path)


def test_what_was_asked_for_is_recorded_before_the_first_step(
    study: tuple[Section, ...], settings: TrainSettings, tmp_path: Path
) -> None:
    with closing(run(study, settings, tmp_path)) as events:
        for event in events:
            if isinstance(event, TrainStarted):
                break
        next(events)
    assert read_record(tmp_path) == RunRecord(study[:3], settings, None, ("S2",))
