"""Models around an image encoder of another library: trained, kept, and predicted."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from encoder_folders import MEAN, SIDE, STD, write_dinov2, write_onnx
from napari_nh2st import PredictSettings, load_model, open_slide, predict
from napari_nh2st.errors import InputError
from napari_nh2st.model.card import model_card
from napari_nh2st.model.encoders.key import EncoderKey
from napari_nh2st.model.encoders.onnx_models import normalization_notice, read_onnx
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.spots import Section
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study, train
from napari_nh2st.training.events import TrainEvent, TrainStarted
from napari_nh2st.training.slide_tiles import read_tiles
from train_studies import drawn_study

MPP = 6.25


@dataclass
class Trained:
    """A model that was trained around an encoder, and with what."""

    encoder: Path
    sections: tuple[Section, ...]
    study: tuple[MeasuredSection, ...]
    model: Model
    notices: tuple[str, ...]


def trained_on(
    study: tuple[MeasuredSection, ...], key: str, **changed: object
) -> tuple[Model, tuple[str, ...]]:
    settings = {"architecture": "linear", "mpp": MPP, "validation": "none"} | changed
    events: list[TrainEvent] = []
    model = train(
        study,
        TrainSettings(image_encoder=key, epochs=1, frozen_looks=1, **settings),  # type: ignore[arg-type]
        on_event=events.append,
    )
    (started,) = (event for event in events if isinstance(event, TrainStarted))
    return model, started.notices


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("study")
    encoder = write_dinov2(folder / "dinov2", licence="apache-2.0")
    sections = drawn_study(folder, "S0 S1")
    study = load_study(sections)
    model, notices = trained_on(study, f"transformers:{encoder}")
    return Trained(encoder, sections, study, model, notices)


def by_hand(trained: Trained, centers: np.ndarray) -> np.ndarray:
    """What the library's own model and the ridge's weights make of tiles."""
    import transformers

    slide = trained.sections[0].slide
    tiles, readable = read_tiles(slide, (MPP, MPP), centers, tile_px=SIDE, mpp=MPP)
    assert readable.all()
    normalized = (torch.from_numpy(tiles) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    library = transformers.Dinov2Model.from_pretrained(trained.encoder).eval()
    with torch.no_grad():
        features = library(normalized.permute(0, 3, 1, 2)).last_hidden_state[:, 0]
        return trained.model.network.tile_head(features).numpy()


def test_a_prediction_is_what_the_librarys_model_gives(trained: Trained, tmp_path: Path) -> None:
    save_model_folder(trained.model, tmp_path / "model")
    model = load_model(tmp_path / "model")
    with open_slide(trained.sections[0].slide, mpp=MPP) as slide:
        prediction = predict(slide, model, PredictSettings(device="cpu", precision="float32"))
    expected = by_hand(trained, prediction.obsm["spatial"][:, ::-1])
    assert np.ptp(expected, 0).min() > 1e-3
    np.testing.assert_allclose(prediction.X, expected, atol=1e-4)
    # What the weights are is written down beside them.
    encoder = model.config.encoder
    assert encoder is not None
    assert encoder["weights"] == "model"
    assert encoder["key"] == f"transformers:{trained.encoder}"
    assert "licence apache-2.0 allows passing them on" in model_card(model.config)


def test_a_model_that_holds_its_encoder_needs_no_other_file(
    trained: Trained, tmp_path: Path
) -> None:
    away = trained.encoder.rename(tmp_path / "away")
    try:
        save_model_folder(trained.model, tmp_path / "model")
        again = load_model(tmp_path / "model").network
    finally:
        away.rename(trained.encoder)
    state = trained.model.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.state_dict().items())


def test_weights_of_an_unknown_licence_stay_where_they_are(
    trained: Trained, tmp_path: Path
) -> None:
    encoder = shutil.copytree(trained.encoder, tmp_path / "encoder")
    (encoder / "README.md").unlink()
    model, _ = trained_on(trained.study, f"transformers:{encoder}")
    saved = save_model_folder(model, tmp_path / "model")
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert size < (encoder / "model.safetensors").stat().st_size / 2
    assert "its licence is not known" in model_card(saved.config)
    torch.testing.assert_close(
        load_model(tmp_path / "model").network.state_dict(), model.network.state_dict()
    )
    # Elsewhere it has to be put beside the model, and has to be the same.
    encoder.rename(tmp_path / "model" / "encoder")
    load_model(tmp_path / "model")
    write_dinov2(tmp_path / "model" / "encoder", seed=3)
    with pytest.raises(InputError, match="not those that the model was made with"):
        load_model(tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "encoder")
    with pytest.raises(InputError, match="does not hold the weights of its image encoder"):
        load_model(tmp_path / "model")


def test_a_model_around_an_onnx_file_predicts(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "means.onnx")
    model, notices = trained_on(trained.study, f"onnx:{path}?licence=mit")
    assert any(
        "how its tiles are normalized, so they are normalized as for ImageNet" in n for n in notices
    )
    assert "as for ImageNet" in model_card(model.config)
    assert "as for ImageNet" not in model_card(trained.model.config)
    said = EncoderKey("onnx", str(path), {"mean": "0.5,0.5,0.5", "std": "0.5,0.5,0.5"})
    assert not normalization_notice(read_onnx(said))
    save_model_folder(model, tmp_path / "model")
    path.unlink()
    with open_slide(trained.sections[0].slide, mpp=MPP) as slide:
        prediction = predict(slide, load_model(tmp_path / "model"))
    assert np.isfinite(prediction.X).all()
    assert np.ptp(prediction.X, 0).min() > 0


@pytest.mark.parametrize("context", ["query", "neighborhood"])
def test_nh2st_takes_vectors_for_maps(trained: Trained, context: str) -> None:
    shapes = {"dim": 8, "heads": 2, "hidden": 8, "hypergraph_hidden": 8}
    model, _ = trained_on(
        trained.study,
        f"transformers:{trained.encoder}",
        architecture="nh2st",
        context=context,
        **shapes,
    )
    with open_slide(trained.sections[0].slide, mpp=MPP) as slide:
        prediction = predict(slide, model, PredictSettings(device="cpu", precision="float32"))
    assert np.isfinite(prediction.X).all()


def test_the_scale_that_an_encoder_knows_is_taken_and_checked(trained: Trained) -> None:
    assert not [notice for notice in trained.notices if "µm/px" in notice]
    key = f"transformers:{trained.encoder}"
    model, notices = trained_on(trained.study, f"{key}?mpp=6.25", mpp=None)
    assert model.config.mpp == MPP
    _, notices = trained_on(trained.study, f"{key}?mpp=12.5")
    assert any("was trained at 12.5 µm/px and gets tiles at 6.25" in n for n in notices)
    with pytest.raises(InputError, match="takes tiles of 28 px"):
        trained_on(trained.study, key, tile_px=32)


def test_what_does_not_go_with_a_foreign_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="stays as it is"):
        TrainSettings(image_encoder="onnx:e.onnx", encoder="whole")
    with pytest.raises(InputError, match="it is resnet18, or begins with transformers:"):
        TrainSettings(image_encoder="resnet50")
    with pytest.raises(InputError, match="begins with 'torchhub'"):
        TrainSettings(image_encoder="torchhub:slide.h5")
    with pytest.raises(InputError, match="its own weights"):
        TrainSettings(image_encoder="onnx:e.onnx", encoder_weights="w.pt")


def test_a_training_goes_on_from_a_model_with_its_encoder(trained: Trained, tmp_path: Path) -> None:
    save_model_folder(trained.model, tmp_path / "model")
    start = str(tmp_path / "model")
    model = train(trained.study, TrainSettings(start=start, validation="none", epochs=1))
    assert model.config.encoder is not None
    assert model.config.encoder["sha256"] == trained.model.config.encoder["sha256"]  # type: ignore[index]
    np.testing.assert_allclose(
        model.network.tile_head.weight.detach(),
        trained.model.network.tile_head.weight.detach(),
        atol=1e-5,
    )
    # A head is not taken over where the same weights give other features.
    other = TrainSettings(
        image_encoder=f"transformers:{trained.encoder}?features=cls+mean",
        start=start,
        mpp=MPP,
        validation="none",
        epochs=1,
    )
    wide = train(trained.study, other).network.tile_head.weight
    assert wide.shape[1] == 2 * model.network.tile_head.weight.shape[1]
