"""Trainings on slides that are brought to one stain."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_nh2st.analysis import fit_stain, slide_stain
from napari_nh2st.analysis.stain_normalization import REFERENCE, normalization, slide_stain_colors
from napari_nh2st.inference.resample import with_stain
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.slide import open_slide
from napari_nh2st.training import MeasuredSection, TrainSettings, train
from napari_nh2st.training.study import section_tiles, tiles_for
from small_configs import PANEL
from small_models import small_model
from train_studies import drawn_section


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    folder = tmp_path_factory.mktemp("study")
    return tuple(drawn_section(folder, f"S{n}", f"D{n}", n) for n in range(2))


def settings(start: Path, **changed: object) -> TrainSettings:
    chosen = {"encoder": "frozen", "epochs": 1, "validation": "none", "device": "cpu"}
    return TrainSettings(str(start), **(chosen | changed))  # type: ignore[arg-type]


def test_a_model_keeps_the_reference_and_so_does_what_starts_from_it(
    study: tuple[MeasuredSection, ...], tmp_path: Path
) -> None:
    save_model_folder(small_model(), tmp_path / "start")
    as_it_is = train(study, settings(tmp_path / "start"))
    assert as_it_is.config.stain_reference is None
    assert "two stains" not in model_card(as_it_is.config)
    model = train(study, settings(tmp_path / "start", stain="normalized"))
    assert model.config.stain_reference == REFERENCE.to_json()
    assert model.config.training["settings"]["stain"] == "normalized"
    assert "two stains are brought to one reference" in model_card(model.config)
    assert "normalized_stain" not in as_it_is.config.training
    assert model.config.training["stain"] == as_it_is.config.training["stain"]
    described = []
    for measured in study:
        with open_slide(measured.section.slide, mpp=1.0) as slide:
            matrix = normalization(slide_stain_colors(slide), REFERENCE)
            described.append(slide_stain(slide, centers=measured.centers, matrix=matrix))
    assert model.config.training["normalized_stain"] == fit_stain(described).to_json()
    save_model_folder(model, tmp_path / "model")
    further = train(study, settings(tmp_path / "model"))
    assert further.config.stain_reference == REFERENCE.to_json()
    back = train(study, settings(tmp_path / "model", stain="as-is"))
    assert back.config.stain_reference is None


def test_its_tiles_are_those_of_the_slide_in_the_reference_stain(
    study: tuple[MeasuredSection, ...],
) -> None:
    config = small_model(stain_reference=REFERENCE.to_json()).config
    got = tiles_for(study[0], config, PANEL).tiles
    plain = section_tiles(study[0], PANEL, tile_px=32, mpp=1.0).tiles
    with open_slide(study[0].section.slide, mpp=1.0) as slide:
        matrix = torch.from_numpy(normalization(slide_stain_colors(slide), REFERENCE))
    wanted = with_stain(torch.from_numpy(plain), matrix).numpy()
    assert np.abs(wanted - plain).mean() > 5
    np.testing.assert_allclose(got, wanted, atol=0.51)
