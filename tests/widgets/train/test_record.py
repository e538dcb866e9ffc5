"""What is remembered of trainings: their request in their folder, and where their models are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.model import bundled_models
from napari_nh2st.remote import RemotePath
from napari_nh2st.spots import Fix, PanelSettings, Section
from napari_nh2st.training import AugmentationSettings, TrainSettings
from napari_nh2st.training.known_models import (
    known_models,
    remember_run,
    unfinished_runs,
)
from napari_nh2st.training.record import LAST, RECORD, RunRecord, is_unfinished, read_record
from napari_nh2st.widgets.model_picker import add_model, model_news
from train_studies import start_model

SECTIONS = (
    Section("A", "D", Path("/s/A.svs"), Path("/s/A.h5ad")),
    Section(
        "B",
        "E",
        Path("/s/B.jpg"),
        Path("/s/B.tsv"),
        Path("/s/B-spots.tsv"),
        0.66,
        Fix("with x mirrored", 4.0),
    ),
)
AT_A_URL = Section("A", "D", RemotePath("https://host/A%201.svs"), Path("/s/A.h5ad"))
WITH_FEATURES = replace(SECTIONS[0], features=Path("/s/A.features.h5"))
RECORD_OF_ALL = RunRecord(
    SECTIONS,
    TrainSettings(
        start="m",
        encoder="frozen",
        panel=PanelSettings("given", genes=("VIM", "CD74"), leave_out_ribosomal=True),
        augmentation=AugmentationSettings(flips=False),
        validation_sections=("B",),
        mpp=0.75,
        learning_rate=1e-5,
    ),
    "mine",
    ("B",),
    True,
)


@pytest.mark.parametrize(
    "record",
    [
        RECORD_OF_ALL,
        RunRecord((SECTIONS[0], AT_A_URL), TrainSettings()),
        RunRecord((WITH_FEATURES,), TrainSettings(image_encoder="features")),
    ],
)
def test_a_record_reads_back_as_it_was_written(tmp_path: Path, record: RunRecord) -> None:
    record.write(tmp_path)
    assert read_record(tmp_path) == record
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]


def test_what_is_no_record_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path)
    RECORD_OF_ALL.write(tmp_path)
    content = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))
    for damage in ("", "[]", json.dumps({k: v for k, v in content.items() if k != "sections"})):
        (tmp_path / RECORD).write_text(damage, encoding="utf-8")
        with pytest.raises(InputError, match="is not a record of a training"):
            read_record(tmp_path)


def test_a_run_goes_on_with_one_that_trains_the_same() -> None:
    record = RunRecord(SECTIONS, TrainSettings(), "one", ("B",))
    adapted = TrainSettings(image_encoder="timm:vit", adapter_rank=4)
    saved = replace(adapted, gradient_checkpointing=True)
    assert replace(record, settings=saved).goes_on_with(replace(record, settings=adapted))
    other_device = replace(record, settings=TrainSettings(device="cpu"), name="two")
    other_test = replace(record, sections=SECTIONS[:1], held_out=())
    other_training = replace(record, held_out=())
    other_settings = replace(record, settings=TrainSettings(epochs=3))
    others = (other_device, other_test, other_training, other_settings)
    assert [other.goes_on_with(record) for other in others] == [True, True, False, False]


def test_a_folder_with_a_checkpoint_is_an_unfinished_run(tmp_path: Path) -> None:
    assert not is_unfinished(tmp_path)
    (tmp_path / LAST).touch()
    assert is_unfinished(tmp_path)


def test_models_are_known_in_the_next_session_while_their_folders_are_there(tmp_path: Path) -> None:
    told: list[str] = []
    model_news.model_added.connect(told.append)
    one, two = (start_model(tmp_path / name) for name in ("one", "two"))
    for folder in (one, two, one):
        add_model(Path(folder))
    assert told == [one, two, one]
    assert known_models() == [*bundled_models(), one, two]
    (Path(two) / "config.json").unlink()
    assert known_models() == [*bundled_models(), one]


def test_runs_are_offered_while_they_are_unfinished(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / LAST).touch()
        remember_run(tmp_path / name)
    assert unfinished_runs() == [tmp_path / "two", tmp_path / "one"]
    (tmp_path / "two" / LAST).unlink()
    assert unfinished_runs() == [tmp_path / "one"]


def test_a_damaged_list_of_models_counts_as_none(own_cache: Path, tmp_path: Path) -> None:
    (own_cache / "known-models.json").write_text("{", encoding="utf-8")
    assert known_models() == list(bundled_models())
    folder = start_model(tmp_path / "one")
    add_model(Path(folder))
    assert folder in known_models()
