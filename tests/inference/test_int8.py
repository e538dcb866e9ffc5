"""int8: near to float32 or not taken, the same in every region, and never mixed with others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, Started, int8, predict, predict_events
from napari_nh2st.inference.device import place
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import new_model
from napari_nh2st.model.int8 import has_int8, int8_encoder
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.prediction.schema import notes, notices
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training import TrainSettings
from small_configs import small_config
from small_models import color_model, model_with_heads, small_model

torch.set_num_threads(1)

pytestmark = pytest.mark.skipif(not has_int8(), reason="this torch has no int8 here")

PLAIN = {"device": "cpu", "tissue_only": False, "batch_size": 16}
SLIDE = array_slide(ArrayLevel(textured(363, 429)), path="folder/sec.tion.tif")


def predicted(precision: str = "int8", **more: object) -> AnnData:
    model = model_with_heads("neighborhood")
    return predict(SLIDE, model, PredictSettings(precision=precision, **PLAIN, **more))


@pytest.fixture
def any_pcc(monkeypatch: pytest.MonkeyPatch) -> None:
    """int8 is taken whatever a network of random weights makes of it."""
    monkeypatch.setattr(int8, "LOWEST_PCC", 0.5)


@pytest.mark.usefixtures("any_pcc")
def test_values_differ_from_those_of_float32_by_little() -> None:
    exact, quantized = predicted("float32"), predicted()
    assert notes(quantized)["run"]["precision"] == "int8"
    difference = np.abs(quantized.X - exact.X)
    run = notes(quantized)["run"]
    assert 0.2 < run["int8_difference"] / difference.max() < 5  # on tiles with other neighbors
    assert 0.5 <= run["int8_pcc"] < 1
    assert any(
        f"correlation of a gene with itself in float32 is {run['int8_pcc']:.4f}" in notice
        for notice in notices(quantized)
    )
    assert difference.max() > 0
    assert difference.max() < 0.1 * np.ptp(exact.X)
    spread = quantized.layers["spread"]
    assert np.abs(spread - exact.layers["spread"]).max() < 0.2 * exact.layers["spread"].max()


@pytest.mark.usefixtures("any_pcc")
def test_a_tile_has_the_same_value_in_every_region_and_with_every_choice_of_genes() -> None:
    whole = predicted()
    region = [[(0, 0), (0, 250), (250, 250), (250, 0)]]
    part = predicted(region=region, genes=("VIM", "CD74"))
    assert 0 < part.n_obs < whole.n_obs
    of_both = whole[part.obs_names, ["VIM", "CD74"]]
    np.testing.assert_allclose(part.X, of_both.X, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_tiles_are_compared_in_neighborhoods_of_the_models_size() -> None:
    wide = {"neighborhood": {"size": 25, "layout": "square"}}
    config = small_config(architecture="rings", hyperparameters={}, **wide)
    model = new_model(config, 0)
    network = model.network
    assert isinstance(network, PooledNetwork)
    network.get_submodule("ring_heads.1").weight.normal_()
    tiles = torch.randint(0, 256, (30, 32, 32, 3), dtype=torch.uint8)
    centers = 32.0 * np.stack(np.divmod(np.arange(30), 6), axis=1)
    predictor = model.architecture.prepare(
        network, range(5), torch.device("cpu"), torch.float32, None
    )
    expected = network.predict(
        network.encode(normalize_tiles(tiles)), *map(torch.from_numpy, neighborhoods(centers, 25))
    )
    found = int8._values(predictor, tiles, centers, config)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_the_mean_of_each_channel_is_that_of_float32_on_the_tiles_it_was_made_from() -> None:
    encoder = small_model("query").network.image_encoder.prepared()
    tiles = torch.randint(0, 256, (12, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    tiles = tiles.to(torch.uint8)
    with torch.inference_mode():
        maps = [
            each(normalize_tiles(tiles, torch.float32))
            for each in (encoder, int8_encoder(encoder, tiles))
        ]
    shift = (maps[0] - maps[1]).mean((0, 2, 3)).abs()
    assert maps[0].sub(maps[1]).abs().max() > 1e-3
    assert shift.max() < 1e-5


@pytest.mark.usefixtures("any_pcc")
def test_an_encoder_of_others_is_not_prepared_to_be_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8, "can_have_int8", lambda config: False)
    prepared = []
    prepare = PreparedNH2ST.__init__

    def note(self: PreparedNH2ST, *arguments: Any, **more: Any) -> None:
        prepared.append(arguments)
        prepare(self, *arguments, **more)

    monkeypatch.setattr(PreparedNH2ST, "__init__", note)
    found = predicted()
    assert any("this network has no such form" in notice for notice in notices(found))
    assert len(prepared) == 1  # for the prediction itself


def test_where_a_gene_differs_too_much_another_precision_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8, "LOWEST_PCC", 1.0)
    found = predicted()
    other = place("cpu", "auto", None, None).precision
    assert notes(found)["run"]["precision"] == other
    np.testing.assert_array_equal(found.X, predicted(other).X)
    assert any(f"Predicted in {other}, not in int8: on tiles" in n for n in notices(found))


@pytest.mark.usefixtures("mean_color")
def test_a_network_without_such_a_form_is_predicted_as_it_is() -> None:
    settings = PredictSettings(precision="int8", **PLAIN)
    found = predict(SLIDE, color_model(), settings)
    assert any("this network has no such form" in notice for notice in notices(found))


@pytest.mark.usefixtures("any_pcc")
def test_a_stopped_run_goes_on_and_takes_no_value_of_another_precision(tmp_path: Path) -> None:
    model, output = small_model("query"), tmp_path / "out.h5ad"

    def run(precision: str, stop: bool) -> int:
        """Tiles that were done before."""
        settings = PredictSettings(precision=precision, **PLAIN)
        for event in predict_events(SLIDE, model, settings, output=output, overwrite=True):
            if isinstance(event, Started):
                before = event.done
            elif stop:
                break
        return before

    assert run("int8", stop=True) == 0
    assert run("float32", stop=True) == 0
    assert run("int8", stop=False) > 0


def test_it_is_for_predictions_on_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("cpu", "int8", None, None).precision == "int8"
    with pytest.raises(InputError, match="precision"):
        TrainSettings(precision="int8")  # type: ignore[arg-type]
    monkeypatch.setattr("napari_nh2st.inference.device.has_int8", lambda: False)
    with pytest.raises(InputError, match="int8 needs an x86 CPU"):
        place("cpu", "int8", None, None)
