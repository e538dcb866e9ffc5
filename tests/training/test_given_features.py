"""Models of features that another tool computed: trained, kept, evaluated and predicted."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import distributed
import h5py
import numpy as np
import pytest
import torch

from feature_files import corners_over, means_of, write_clam, write_trident
from napari_nh2st import PredictSettings, load_model, open_slide, predict, predict_cohort
from napari_nh2st.cohort import CohortSettings, CohortSlide
from napari_nh2st.cohort.slides import FoundSlides
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import evaluate
from napari_nh2st.inference import precision
from napari_nh2st.inference.step_costs import step_costs
from napari_nh2st.model.card import model_card
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.schema import NUCLEI, notes
from napari_nh2st.session.section_rows import row_of
from napari_nh2st.spots import Section
from napari_nh2st.spots.sections import read_sections, write_sections
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study, train
from napari_nh2st.training.events import TrainEvent, TrainStarted
from train_studies import drawn_study

torch.set_num_threads(1)

MPP = 6.25
PLAIN = {"device": "cpu", "precision": "float32"}


@dataclass
class Study:
    """Two sections to train on and one to predict, each with features."""

    folder: Path
    sections: tuple[Section, ...]
    measured: tuple[MeasuredSection, ...]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    sections = []
    for section in drawn_study(folder):
        with open_slide(section.slide, mpp=MPP) as slide:
            path = write_trident(folder / "features_tiny" / f"{slide.path.stem}.h5", slide)
        sections.append(replace(section, mpp=MPP, features=path))
    return Study(folder, tuple(sections), load_study(sections, trust_positions=True))


def trained(
    measured: tuple[MeasuredSection, ...], **changed: object
) -> tuple[Model, tuple[str, ...]]:
    chosen = {"image_encoder": "features", "architecture": "linear", "validation": "none"}
    chosen |= {"epochs": 1, "batch_size": 20, "patch_spots": 10, **PLAIN, **changed}
    events: list[TrainEvent] = []
    model = train(measured, TrainSettings(**chosen), on_event=events.append)  # type: ignore[arg-type]
    (started,) = (event for event in events if isinstance(event, TrainStarted))
    return model, started.notices


@pytest.fixture(scope="module")
def model_of(study: Study) -> Callable[..., Model]:
    """Trains a model on the first two sections, each kind once for all tests."""

    @cache
    def model(**kind: object) -> Model:
        return trained(study.measured[:2], **kind)[0]

    return model


@pytest.fixture(scope="module")
def linear(model_of: Callable[..., Model]) -> Model:
    return model_of(architecture="linear")


KINDS = [
    ({"architecture": name, "dim": 16, "hidden": 8} if name == "nh2st" else {"architecture": name})
    | ({"context": context, "heads": 2, "hypergraph_hidden": 12} if context else {})
    for name, entry in CATALOGUE.items()
    for context in (("query", "average", "neighborhood") if entry.reach is None else ("",))
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_each_architecture_is_trained_on_features_kept_and_predicted(
    kind: dict[str, object], study: Study, model_of: Callable[..., Model], tmp_path: Path
) -> None:
    model = model_of(**kind)
    save_model_folder(model, tmp_path / "model")
    reloaded = load_model_folder(tmp_path / "model")
    last = study.sections[2]
    with open_slide(last.slide, mpp=MPP) as slide:
        prediction = predict(
            slide,
            reloaded,
            PredictSettings(features=str(last.features), **PLAIN),  # type: ignore[arg-type]
            output=tmp_path / "out.h5ad",
        )
        corners = corners_over(slide, 32)
        features = means_of(slide, corners, 32)
    # Every tile of the file, where it lies.
    centers = prediction.obsm["spatial"] - 16
    assert sorted(map(tuple, centers)) == sorted(map(tuple, corners))
    assert notes(prediction)["step_um"] == 200.0
    # The tool has looked for tissue: no other mask hides a tile, or part of one.
    assert notes(prediction)["tissue"] == {"origin": "features"}
    assert (prediction.obsm["tissue_cells"] == 255).all()
    reopened = read_anndata_file(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(reopened.X, prediction.X)
    assert np.isfinite(prediction.X).all()
    assert prediction.X.std(0).min() > 0
    if kind["architecture"] == "linear":
        row = {tuple(corner): i for i, corner in enumerate(corners)}
        own = torch.from_numpy(features[[row[tuple(center)] for center in centers.astype(int)]])
        expected = reloaded.network.tile_head(own).detach().numpy()  # type: ignore[operator,union-attr]
        np.testing.assert_allclose(prediction.X, expected, atol=1e-5)


def test_the_model_says_what_features_it_takes(linear: Model, tmp_path: Path) -> None:
    config = save_model_folder(linear, tmp_path / "model").config
    assert config.encoder is not None
    assert config.encoder["recipe"] == {"name": "tiny", "n_features": 6}
    assert (config.tile_px, config.mpp, config.takes_features) == (16, 12.5, True)
    assert "were computed by tiny" in model_card(config)


def test_a_folder_of_features_serves_training_evaluation_and_prediction(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "FEWEST_TILES", 1)  # so few are timed, where tiles are encoded
    bare = tuple(replace(s, features=None) for s in study.sections)
    measured = load_study(bare, trust_positions=True)
    model, _ = trained(measured[:2], image_encoder=f"features:{study.folder / 'features_tiny'}")
    scores = evaluate(model, measured[2:])
    with open_slide(bare[2].slide, mpp=MPP) as slide:
        prediction = predict(slide, model, PredictSettings(device="cpu"))
        at_spot = prediction[0].X
    assert scores.predictions["S2"].shape == (30, 5)
    assert np.isfinite(at_spot).all()
    assert notes(prediction)["run"]["precision"] == "float32"


def test_evaluation_reads_the_sections_own_file(linear: Model, study: Study) -> None:
    (prediction,) = evaluate(linear, study.measured[2:]).predictions.values()
    with open_slide(study.sections[2].slide, mpp=MPP) as slide:
        features = PredictSettings(features=str(study.sections[2].features), **PLAIN)  # type: ignore[arg-type]
        whole = predict(slide, linear, features)
    at = {tuple(xy): row for xy, row in zip(whole.obsm["spatial"], whole.X, strict=True)}
    tile = prediction.obsm["spatial"] // 32 * 32 + 16
    expected = [at[tuple(xy)] for xy in tile]
    np.testing.assert_allclose(prediction.X, expected, atol=1e-5)
    # Of tiles as fine as foundation models see them; there are no pixels to count nuclei in.
    fine = replace(linear, config=replace(linear.config, tile_px=128, mpp=1.5625))
    (same,) = evaluate(fine, study.measured[2:]).predictions.values()
    np.testing.assert_array_equal(same.X, prediction.X)
    assert NUCLEI not in same.obs


def test_spots_without_a_tile_and_spots_that_share_one_are_counted(
    study: Study, tmp_path: Path
) -> None:
    section = study.sections[0]
    with open_slide(section.slide, mpp=MPP) as slide:
        corners = corners_over(slide, 64)[3:]
        path = write_trident(tmp_path / "S0.h5", slide, side=64, coords=corners)
    measured = load_study((replace(section, features=path),), trust_positions=True)
    _, notices = trained(measured)
    (lost,) = (notice for notice in notices if "lie in no tile" in notice)
    (shared,) = (notice for notice in notices if "share a tile" in notice)
    assert lost.startswith("S0: 10 of 30 spots")
    assert shared.startswith("S0: 20 of 30 spots")


def missing_features(study: Study) -> object:
    bare = tuple(replace(s, features=None) for s in study.sections[:1])
    return trained(load_study(bare, trust_positions=True))


def other_features(study: Study) -> object:
    with open_slide(study.sections[1].slide, mpp=MPP) as slide:
        path = write_trident(study.folder / "other.h5", slide, encoder="uni")
    sections = (study.sections[0], replace(study.sections[1], features=path))
    return trained(load_study(sections, trust_positions=True))


def resolution(study: Study) -> object:
    return trained(study.measured[:2], mpp=6.25)


def adapters(study: Study) -> object:
    return trained(study.measured[:2], architecture="sepal", adapter_rank=4)


def guides(study: Study) -> object:
    return trained(study.measured[:2], architecture="triplex", guides="boundary")


def stain(study: Study) -> object:
    return trained(study.measured[:2], stain="normalized")


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (stain, "stain is normalized, but features are computed already"),
        (guides, "guides is boundary, but guides are computed from the pixels"),
        (missing_features, r"S0: there is no file of features; name it in the column features"),
        (other_features, r"S1: .*features of uni; section S0 takes those of tiny"),
        (resolution, r"mpp is 6\.25, but features are of tiles of 16 px at 12\.5"),
        (adapters, "adapter_rank is 4, but features are computed already"),
    ],
)
def test_what_cannot_be_trained_is_said(
    attempt: Callable[[Study], object], message: str, study: Study
) -> None:
    with pytest.raises(InputError, match=message):
        attempt(study)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, r"6 numbers of tiny for each tile of 16 px at 12\.5 µm/px\. Give their file"),
        ({"features": "FILE", "step_um": 50.0}, r"step_um is 50\.0, but the tiles are those of"),
        ({"features": "FILE?name=uni"}, r"features of uni; the model .* takes those of tiny"),
        ({"features": "FILE?mpp=50"}, r"make tiles of 16 px at 12\.5 µm/px, and not at 50"),
        ({"features": "CLAM?tile_px=16&mpp=50"}, "features of tiles of 800 µm"),
        ({"features": "FILE", "nuclei": True}, "nuclei are counted in the pixels of tiles, which"),
    ],
)
def test_what_cannot_be_predicted_is_said(
    changed: dict[str, object], message: str, study: Study, linear: Model
) -> None:
    last = study.sections[2]
    with open_slide(last.slide, mpp=MPP) as slide:
        clam = write_clam(study.folder / "clam.h5", slide)
        if "features" in changed:
            text = str(changed["features"]).replace("FILE", str(last.features))
            changed = {**changed, "features": text.replace("CLAM", str(clam))}
        with pytest.raises(InputError, match=message):
            predict(slide, linear, PredictSettings(**changed))  # type: ignore[arg-type]


def test_a_model_of_the_whole_slide_refuses_tiles_at_another_distance(
    study: Study, model_of: Callable[..., Model]
) -> None:
    model = model_of(architecture="merge")
    with open_slide(study.sections[2].slide, mpp=MPP) as slide:
        near = write_trident(study.folder / "near.h5", slide, overlap=4)
        with pytest.raises(InputError, match=r"those of near\.h5 are 150 µm apart"):
            predict(slide, model, PredictSettings(features=str(near)))


def test_a_model_of_pixels_refuses_features(study: Study) -> None:
    model, settings = load_model("her2-breast-demo"), PredictSettings(features=str(study.folder))
    with (
        open_slide(study.sections[2].slide, mpp=MPP) as slide,
        pytest.raises(InputError, match="predicts from the slide's pixels; leave them out"),
    ):
        predict(slide, model, settings)


def test_what_a_prediction_costs_is_known_before_it(study: Study, linear: Model) -> None:
    settings = PredictSettings(features=str(study.sections[2].features))
    with open_slide(study.sections[2].slide, mpp=MPP) as slide:
        costs = step_costs(slide, linear.config, settings, None)
    assert [(each.step_um, each.n_tiles) for each in costs.details] == [(200.0, 42)]
    assert costs.automatic == costs.details[0]


def test_a_region_is_predicted_as_in_the_whole(
    study: Study, model_of: Callable[..., Model]
) -> None:
    model = model_of(architecture="deepset")
    features = str(study.sections[2].features)
    region = (np.array([[0, 0], [0, 120], [110, 120], [110, 0]]),)
    with open_slide(study.sections[2].slide, mpp=MPP) as slide:
        whole, part = (
            predict(slide, model, PredictSettings(features=features, region=where, **PLAIN))  # type: ignore[arg-type]
            for where in ((), region)
        )
    assert 0 < part.n_obs < whole.n_obs
    np.testing.assert_array_equal(part.X, whole[part.obs_names].X)


def test_a_cohort_takes_features_by_their_content(
    study: Study, linear: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In however small parts slides would be computed, and wherever a worker runs."""
    slide, stored = study.sections[2].slide, study.sections[2].features
    assert isinstance(slide, Path)
    assert stored is not None
    save_model_folder(linear, tmp_path / "model")
    (tmp_path / "near").mkdir()
    here = shutil.copy(stored, tmp_path / "near")
    found = FoundSlides((CohortSlide(slide, "S2", mpp=MPP),), ())
    settings = PredictSettings(features="near", **PLAIN)  # type: ignore[arg-type]
    arguments = (found, tmp_path / "out", tmp_path / "model", settings)
    monkeypatch.chdir(tmp_path)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        workers = CohortSettings(scheduler=cluster.scheduler_address, part_tiles=1)
        assert list(predict_cohort(*arguments, workers)["status"]) == ["done"]
    monkeypatch.chdir(study.folder)
    moved = replace(settings, features=here)
    again = (found, tmp_path / "out", tmp_path / "model", moved)
    assert list(predict_cohort(*again)["skipped"]) == [True]
    with h5py.File(here, "r+") as file:
        file["features"][:] = 2 * file["features"][:]
    assert list(predict_cohort(*again)["status"]) == ["failed"]
    assert list(predict_cohort(*again, overwrite=True)["status"]) == ["done"]


def test_the_sections_table_names_the_files(study: Study, tmp_path: Path) -> None:
    table = tmp_path / "sections.csv"
    write_sections(study.sections, table)
    assert read_sections(table) == study.sections
    assert [row_of(section).section for section in study.sections] == list(study.sections)
    table.write_text(
        table.read_text(encoding="utf-8").replace("S1.h5\n", "S8.h5\n"), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"row 3, column features: there is no .*S8\.h5"):
        read_sections(table)
