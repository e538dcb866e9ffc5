"""What an earlier run left: taken over only where it is the same training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from encoder_folders import write_onnx
from napari_nh2st.errors import InputError
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.training import TrainSettings, train
from napari_nh2st.training.result import trained_earlier
from napari_nh2st.training.study import MeasuredSection
from small_models import small_model
from train_studies import drawn_section


def ridge(**given: Any) -> TrainSettings:
    return TrainSettings(architecture="linear", validation="none", device="cpu", **given)


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> list[MeasuredSection]:
    return [drawn_section(tmp_path_factory.mktemp("study"), "S0", "A", 0)]


def test_a_training_from_another_start_of_the_same_name_is_not_taken_over(
    sections: list[MeasuredSection], tmp_path: Path
) -> None:
    genes = tuple(sections[0].spots.var_names)
    save_model_folder(small_model(panel=genes), tmp_path / "start")
    settings = ridge(start=str(tmp_path / "start"))
    train(sections, settings, folder=tmp_path / "out")
    assert trained_earlier(tmp_path / "out", settings, sections) is not None
    save_model_folder(small_model("average", panel=genes), tmp_path / "start", overwrite=True)
    assert trained_earlier(tmp_path / "out", settings, sections) is None


def test_a_finished_training_needs_its_start_model_no_more(
    sections: list[MeasuredSection], tmp_path: Path
) -> None:
    save_model_folder(small_model(panel=tuple(sections[0].spots.var_names)), tmp_path / "start")
    settings = ridge(start=str(tmp_path / "start"))
    train(sections, settings, folder=tmp_path / "out")
    (tmp_path / "start").rename(tmp_path / "elsewhere")
    assert trained_earlier(tmp_path / "out", settings, sections) is not None
    assert trained_earlier(tmp_path / "out", replace(settings, seed=7), sections) is None
    with pytest.raises(InputError, match="already holds a trained model; give another folder"):
        train(sections, settings, folder=tmp_path / "out")
    with pytest.raises(InputError, match="start"):
        train(sections, settings, folder=tmp_path / "new")


def test_the_summary_counts_donors_of_the_sections_that_taught(
    sections: list[MeasuredSection], tmp_path: Path
) -> None:
    study = [*sections, drawn_section(tmp_path, "S1", "B", 1)]
    save_model_folder(small_model(panel=tuple(study[0].spots.var_names)), tmp_path / "start")
    settings = replace(
        ridge(start=str(tmp_path / "start")), validation="auto", validation_sections=("S1",)
    )
    training = train(study, settings, folder=tmp_path / "out").config.training
    assert training["summary"].startswith(
        "Trained on 1 section (30 spots) of 1 donor, starting from small; the epoch"
    )
    assert training["donors"] == ["A", "B"]


def test_a_training_on_other_encoder_weights_is_not_taken_over(
    sections: list[MeasuredSection], tmp_path: Path
) -> None:
    onnx = write_onnx(tmp_path / "means.onnx")
    settings = ridge(image_encoder=f"onnx:{onnx}?licence=mit", mpp=1.0)
    train(sections, settings, folder=tmp_path / "out")
    assert trained_earlier(tmp_path / "out", settings, sections) is not None
    write_onnx(onnx, features=6)
    assert trained_earlier(tmp_path / "out", settings, sections) is None
    onnx.unlink()  # the model has its own copy, and is that of these settings for all we know
    assert trained_earlier(tmp_path / "out", settings, sections) is not None


def test_a_training_on_another_file_of_encoder_weights_is_not_taken_over(
    sections: list[MeasuredSection], tmp_path: Path
) -> None:
    weights = tmp_path / "resnet.pt"
    torch.save(small_model().network.image_encoder.state_dict(), weights)
    settings = ridge(encoder_weights=str(weights), tile_px=32, mpp=1.0)
    train(sections, settings, folder=tmp_path / "out")
    assert trained_earlier(tmp_path / "out", settings, sections) is not None
    weights.write_bytes(b"others")
    assert trained_earlier(tmp_path / "out", settings, sections) is None
