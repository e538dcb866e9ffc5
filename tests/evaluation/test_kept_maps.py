"""Maps of a frozen encoder: kept for the next test of a section, and the same to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from event_generators import result_of
from napari_nh2st.evaluation import kept_maps
from napari_nh2st.evaluation.spot_prediction import predict_spots, predict_tiles
from napari_nh2st.inference.device import place
from napari_nh2st.model.folder import Model
from napari_nh2st.training.feature_store import feature_store
from napari_nh2st.training.study import SectionTiles, section_tiles
from small_configs import PANEL
from small_models import model_with_heads, small_model
from train_studies import drawn_section

torch.set_num_threads(1)


def frozen(model: Model, **more: Any) -> Model:
    """A model whose training says that the encoder was frozen."""
    training = dict(model.config.training) | {"settings": {"encoder": "frozen"} | more}
    return replace(model, config=replace(model.config, training=training))


def tiles_of(folder: Path) -> SectionTiles:
    return section_tiles(drawn_section(folder, "S", "D", 0), PANEL, tile_px=32, mpp=1.0)


def predicted(
    model: Model, tiles: SectionTiles, precision: str = "float32", batch_size: int = 7
) -> NDArray[np.float32]:
    placement = place("cpu", precision, batch_size, 1)
    return result_of(predict_tiles(model, tiles, placement))


def unreadable(tiles: SectionTiles) -> SectionTiles:
    def read() -> NDArray[Any]:
        raise AssertionError("the tiles are read")

    return replace(tiles, read=read)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_second_model_around_the_encoder_needs_neither_tiles_nor_encoder(
    tmp_path: Path, precision: str
) -> None:
    tiles = tiles_of(tmp_path)
    first, other = frozen(small_model("query")), frozen(model_with_heads("neighborhood"))
    other.network.image_encoder.load_state_dict(first.network.image_encoder.state_dict())
    plain = replace(other, config=replace(other.config, training={}))
    expected = predicted(plain, tiles, precision)
    assert feature_store().n_bytes < 5000  # which tiles can be read
    predicted(first, tiles, precision)
    assert np.array_equal(predicted(other, unreadable(tiles), precision), expected)


def test_what_would_round_otherwise_or_is_trained_is_computed_anew(tmp_path: Path) -> None:
    tiles = tiles_of(tmp_path)
    model = frozen(small_model("query"))
    predicted(model, tiles)
    assert np.array_equal(predicted(model, unreadable(tiles)), predicted(model, tiles))
    trained = frozen(small_model("average"))
    for other, more in (
        (model, {"precision": "bfloat16"}),
        (model, {"batch_size": 8}),
        (frozen(small_model("query"), encoder="whole"), {}),
        (frozen(small_model("query"), adapter_rank=4), {}),
        (trained, {}),
    ):
        with pytest.raises(AssertionError, match="are read"):
            predicted(other, unreadable(tiles), **more)


def test_maps_that_take_too_much_room_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_maps, "_MOST_BYTES", 100)
    tiles, model = tiles_of(tmp_path), frozen(small_model("query"))
    first = predicted(model, tiles)
    assert np.array_equal(predicted(model, tiles), first)
    assert feature_store().n_bytes < 5000


def test_a_section_with_kept_maps_is_predicted_without_its_tiles(tmp_path: Path) -> None:
    section = drawn_section(tmp_path, "S", "D", 0)
    tiles, model = section_tiles(section, PANEL, tile_px=32, mpp=1.0), frozen(small_model("query"))
    first = result_of(predict_spots(model, section, tiles, device="cpu"))
    again = result_of(predict_spots(model, section, unreadable(tiles), device="cpu"))
    assert np.array_equal(first.X, again.X)
    assert first.obs["nuclei_per_mm2"].notna().all()
    assert np.array_equal(first.obs["nuclei_per_mm2"], again.obs["nuclei_per_mm2"])


def test_maps_of_another_version_of_an_encoders_library_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles, model = tiles_of(tmp_path), frozen(small_model("query"))
    around = replace(model, config=replace(model.config, encoder={"key": "timm:a", "sha256": ""}))
    versions = {"timm": "1.0.1"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    predicted(around, tiles)
    predicted(around, unreadable(tiles))
    versions["timm"] = "1.0.2"
    with pytest.raises(AssertionError, match="are read"):
        predicted(around, unreadable(tiles))
