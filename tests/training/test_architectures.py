"""Each architecture on a small study: trained, predicted, exported and reopened."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.spot_prediction import predict_spots
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.catalogue import CATALOGUE, ArchitectureEntry
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, new_model, save_model_folder
from napari_nh2st.model.network import Network
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.options import settings_of
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.slide import open_slide
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training import EpochDone, TrainFinished, TrainSettings, train_events
from napari_nh2st.training.defaults import ResolvedSettings
from napari_nh2st.training.ridge import PENALTIES
from napari_nh2st.training.start import neighbors_of
from napari_nh2st.training.study import MeasuredSection, section_tiles
from small_configs import PANEL, small_config
from small_models import small_model
from train_studies import drawn_section

torch.set_num_threads(1)

PLAIN = {"device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    folder = tmp_path_factory.mktemp("study")
    return tuple(drawn_section(folder, *one) for one in (("S1", "A", 0), ("S2", "B", 1)))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start") / "model"
    save_model_folder(small_model(), folder)
    return str(folder)


def settings(start: str, architecture: str, **changed: Any) -> TrainSettings:
    chosen: dict[str, Any] = {"epochs": 2, "batch_size": 20, "patch_spots": 10, **PLAIN}
    chosen |= {"encoder": "frozen", "head_start": "ridge", "validation": "none"}
    return TrainSettings(start=start, architecture=architecture, **(chosen | changed))


def finished(study: tuple[MeasuredSection, ...], *how: Any, **more: Any) -> TrainFinished:
    *_, last = train_events(study, *how, **more)
    assert isinstance(last, TrainFinished)
    return last


@torch.inference_mode()
def of_network(model: Model, tiles: NDArray[np.uint8], um: NDArray[np.float64]) -> Any:
    """What the network itself says of tiles at places in µm, in one pass."""
    network = model.network
    assert isinstance(network, Network)
    index, mask = map(torch.from_numpy, neighborhoods(um, model.config.neighborhood["size"]))
    offsets = torch.from_numpy(um)[index] - torch.from_numpy(um)[:, None]
    maps = network.encode(normalize_tiles(torch.from_numpy(tiles)))
    if network.reach == "slide":
        return network.predict_slide(maps, torch.from_numpy(um).float() / 32).numpy()
    return network.predict(maps, index, mask, offsets.float()).numpy()


@pytest.mark.parametrize("architecture", CATALOGUE)
def test_each_is_trained_predicted_exported_and_reopened(
    architecture: str, study: tuple[MeasuredSection, ...], start: str, tmp_path: Path
) -> None:
    closed_form = CATALOGUE[architecture].closed_form
    # Without epochs there is none to choose, and no section is taken from the training.
    validation = {"validation": "auto"} if closed_form else {}
    chosen = settings(start, architecture, **validation)
    result = finished(study, chosen, folder=tmp_path / "run")
    assert result.model.config.training["n_spots"] == 60
    assert result.ended == ("closed form" if closed_form else "all epochs")
    assert len(result.history) == (0 if closed_form else 2)
    model = load_model_folder(tmp_path / "run" / "model")
    assert model.config.architecture == architecture
    trained = result.model.network.state_dict()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, trained[name]), name

    if isinstance(model.network, PooledNetwork):  # so that what corrects the tile head is seen
        with torch.no_grad():
            for name in model.network.gene_layers[1:]:
                model.network.get_submodule(name).weight.normal_(0, 0.1)

    # At spots and on a grid, through everything that makes a prediction fast.
    size = model.config.neighborhood["size"]
    tiles = section_tiles(study[1], PANEL, tile_px=32, mpp=1.0, neighborhood=size)
    generator = predict_spots(model, study[1], tiles, batch_size=7, **PLAIN)
    while True:
        try:
            next(generator)
        except StopIteration as end:
            at_spots = end.value
            break
    expected = of_network(model, tiles.tiles, tiles.centers_um)
    np.testing.assert_allclose(at_spots.X, expected, rtol=1e-3, atol=1e-3 * np.ptp(expected))

    genes = (PANEL[3], PANEL[0])
    with open_slide(study[1].section.slide, mpp=1.0) as slide:
        chosen = PredictSettings(genes=genes, tissue_only=False, batch_size=7, **PLAIN)
        prediction = predict(slide, model, chosen)
        centers = prediction.obsm["spatial"][:, ::-1].copy()
        corners = np.floor(centers - 16 + 0.5).astype(int)
        pixels = np.stack([slide.levels[0].read(*corner, 32, 32) for corner in corners])
    expected = of_network(model, pixels, centers)[:, [3, 0]]
    np.testing.assert_allclose(prediction.X, expected, rtol=1e-3, atol=1e-3 * np.ptp(expected))

    write_anndata(prediction, tmp_path / "prediction.h5ad")
    reopened = read_anndata_file(tmp_path / "prediction.h5ad")
    np.testing.assert_array_equal(reopened.X, prediction.X)
    assert tuple(reopened.var_names) == genes


@pytest.mark.parametrize(
    "architecture",
    [key for key, entry in CATALOGUE.items() if entry.reach is not None and not entry.closed_form],
)
def test_a_context_learns_and_leaves_a_frozen_tile_head(
    architecture: str, study: tuple[MeasuredSection, ...], start: str
) -> None:
    linear = finished(study, settings(start, "linear")).model.network
    first = finished(study, settings(start, architecture, epochs=1, learning_rate=1e-9))
    tiles = section_tiles(study[0], PANEL, tile_px=32, mpp=1.0)
    assert isinstance(linear, PooledNetwork)
    with torch.no_grad():
        maps = linear.encode(normalize_tiles(torch.from_numpy(tiles.tiles)))
        as_tile_model = linear.predict(maps).numpy()
    begun = of_network(first.model, tiles.tiles, tiles.centers_um)
    np.testing.assert_allclose(begun, as_tile_model, atol=1e-4)
    losses = finished(
        study, settings(start, architecture, epochs=12, precision="bfloat16", dropout=0.0)
    ).history
    assert losses[-1].losses["mse"] < losses[0].losses["mse"]


@pytest.mark.parametrize("architecture", ["linear", "rings"])
def test_in_closed_form_it_is_the_ridge_regression_on_pooled_features(
    architecture: str, study: tuple[MeasuredSection, ...], start: str
) -> None:
    model = finished(study, settings(start, architecture)).model
    network = model.network
    assert isinstance(network, PooledNetwork)
    cut = [section_tiles(s, PANEL, tile_px=32, mpp=1.0, neighborhood=25) for s in study]
    pixels, target = (np.concatenate([getattr(c, n) for c in cut]) for n in ("tiles", "target"))
    with torch.no_grad():
        maps = network.encode(normalize_tiles(torch.from_numpy(pixels))).half().float()
    features, donor = maps.mean((2, 3)).double().numpy(), np.repeat([0, 1], 30)
    near = np.concatenate([cut[0].neighborhoods, cut[1].neighborhoods + 30])
    if architecture == "rings":
        assert model.config.neighborhood["size"] == 25, "the start model has 9"
        blocks = [features, features[near[:, 1:9]].mean(1), features[near[:, 9:]].mean(1)]
        lengths = [np.sqrt(np.square(b - b.mean(0)).sum(1).mean()) for b in blocks]
        features = np.concatenate([b / n for b, n in zip(blocks, lengths, strict=True)], axis=1)
    unit = np.square(features - features.mean(0)).sum(1).mean()

    def error(penalty: float) -> float:
        errors = []
        for left_out in (0, 1):
            seen = donor != left_out
            fitted = Ridge(alpha=penalty * unit).fit(features[seen], target[seen])
            errors.append(np.square(fitted.predict(features[~seen]) - target[~seen]).mean())
        return float(np.mean(errors))

    best = Ridge(alpha=min(PENALTIES, key=error) * unit).fit(features, target)
    if architecture == "linear":
        np.testing.assert_allclose(network.tile_head.weight.detach(), best.coef_, atol=2e-4)
    with torch.no_grad():
        predicted = network.predict(maps, torch.from_numpy(near)).numpy()
    np.testing.assert_allclose(predicted, best.predict(features), atol=1e-3 * np.ptp(target))


def test_what_an_architecture_cannot_do_is_said(
    study: tuple[MeasuredSection, ...], start: str
) -> None:
    for changed, wrong in (
        ({"architecture": "linear", "encoder": "whole"}, "solved in closed form on a frozen one"),
        ({"architecture": "linear", "head_start": "random"}, "linear is a ridge regression"),
        ({"architecture": "sepal", "context": "average"}, "which architecture sepal does not have"),
        ({"architecture": "merge", "encoder": "last-stages"}, "merge learns from whole sections"),
        ({"architecture": "linear", "start": None}, "encoder is frozen, but its weights would be"),
        ({"architecture": "resnet"}, "architecture is 'resnet'; it must be one of nh2st, linear"),
    ):
        with pytest.raises(InputError, match=wrong):
            TrainSettings(**({"start": start} | changed))
    with pytest.raises(InputError, match="architecture linear has no hidden; leave it out"):
        finished(study, settings(start, "linear", hidden=8))


def test_a_model_of_an_architecture_is_where_the_next_training_starts(
    study: tuple[MeasuredSection, ...], start: str, tmp_path: Path
) -> None:
    finished(study, settings(start, "sepal"), folder=tmp_path / "first")
    begun = str(tmp_path / "first" / "model")
    chosen = TrainSettings(begun, validation="none", epochs=1, learning_rate=1e-9, **PLAIN)
    events = list(train_events(study[1:], chosen))
    assert [e.epoch for e in events if isinstance(e, EpochDone)] == [1]
    again = events[-1]
    assert isinstance(again, TrainFinished)
    assert again.model.config.architecture == "sepal"
    assert again.model.config.training["settings"]["encoder"] == "frozen"
    tiles = section_tiles(study[0], PANEL, tile_px=32, mpp=1.0)
    before, after = (
        of_network(model, tiles.tiles, tiles.centers_um)
        for model in (load_model_folder(Path(begun)), again.model)
    )
    # The mean is that of the new sections; all else is as it was.
    np.testing.assert_allclose(after - after.mean(0), before - before.mean(0), atol=1e-4)


def test_neighbors_are_asked_for_or_those_of_the_start_or_of_another_architecture() -> None:
    asked = {"validation": "none", "encoder_weights": "weights.pt"}
    around_25 = {"neighborhood": {"size": 25, "layout": "square"}}
    nh2st, wide = small_config(), small_config(**around_25)
    rings = small_config(architecture="rings", hyperparameters={}, **around_25)
    for start, architecture, expected in (
        (None, None, 8),
        (None, "rings", 24),
        (nh2st, "rings", 24),
        (wide, None, 24),
        (wide, "sepal", 8),
        (rings, None, 24),
        (rings, "nh2st", 8),
        (rings, "linear", 24),
    ):
        chosen = TrainSettings(architecture=architecture, **asked)
        assert neighbors_of(chosen, start) == expected
        assert neighbors_of(replace(chosen, neighbors=12), start) == 12


def test_the_documented_example_is_a_whole_architecture(
    study: tuple[MeasuredSection, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "adding-an-architecture.md"
    text = page.read_text(encoding="utf-8")
    file, entry = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[-2:]
    ring: dict[str, Any] = {"__name__": "ring"}
    exec(file, ring)
    (key, listed), *_ = eval("{" + entry + "}", {"ArchitectureEntry": ArchitectureEntry}).items()
    monkeypatch.setitem(CATALOGUE, key, listed)
    monkeypatch.setitem(ARCHITECTURES, key, ring["ARCHITECTURE"])
    for kind in (TrainSettings, ResolvedSettings):  # as they are when the catalogue has it
        options: Any = settings_of(kind)
        known = replace(options["architecture"], choices=tuple(CATALOGUE))
        monkeypatch.setitem(options, "architecture", known)
    config = small_config(architecture=key, hyperparameters={})
    save_model_folder(new_model(config, 0), tmp_path / "new")
    chosen = TrainSettings(
        str(tmp_path / "new"), head_start="ridge", validation="none", epochs=1, **PLAIN
    )
    model = finished(study, chosen, folder=tmp_path / "run").model
    assert model.config.architecture == key
    network = model.network
    assert isinstance(network, PooledNetwork)
    tiles = section_tiles(study[1], PANEL, tile_px=32, mpp=1.0)
    with torch.no_grad():
        maps = network.encode(normalize_tiles(torch.from_numpy(tiles.tiles)))
        of_tile, correction = (row.numpy() for row in network.rows(maps))
    assert correction.std() > 0
    around = np.array(
        [correction[near[1:]].mean(0) for near in tiles.neighborhoods]
    )  # 30 spots: all places are filled
    found = of_network(model, tiles.tiles, tiles.centers_um)
    np.testing.assert_allclose(found, of_tile + around, rtol=1e-4, atol=1e-5)
    with open_slide(study[1].section.slide, mpp=1.0) as slide:
        assert predict(slide, model, PredictSettings(tissue_only=False, **PLAIN)).n_obs == 42
