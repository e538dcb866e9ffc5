"""Spread and unfamiliarity come with the values, and change none of them."""

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.inference import (
    Finished,
    PredictSettings,
    Started,
    TilesDone,
    predict,
    predict_events,
)
from napari_nh2st.model.config import CONTEXTS, Context
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.reliability import trust_numbers, why_far
from napari_nh2st.prediction.schema import (
    IMAGE_FEATURES,
    NUCLEI,
    head_layers,
    interval,
    notices,
    reliability_of,
    spread,
    unfamiliar,
    usual_spread,
)
from napari_nh2st.slide import Slide
from small_configs import PANEL
from small_models import model_with_heads, small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=5, reader_threads=1
)


def pixels_slide(damaged: tuple[tuple[int, int], ...] = ()) -> Slide:
    return array_slide(ArrayLevel(textured(363, 429), damaged=damaged), mpp=0.5)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("step_um", [32.0, 16.0])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_values_are_the_same_to_the_bit_with_and_without_heads(
    context: Context, step_um: float, precision: str
) -> None:
    settings = replace(SETTINGS, step_um=step_um, precision=precision)
    plain = predict(pixels_slide(), small_model(context), settings)
    found = predict(pixels_slide(), model_with_heads(context), settings)
    np.testing.assert_array_equal(found.X, plain.X)
    heads, far = spread(found), unfamiliar(found)
    assert heads is not None
    assert far is not None
    assert heads.shape == found.shape
    assert np.isfinite(heads).all()
    assert heads.min() > 0
    assert np.isfinite(far).all()
    assert spread(plain) is None
    assert unfamiliar(plain) is None


@pytest.mark.parametrize("context", CONTEXTS)
def test_they_can_be_left_out(context: Context) -> None:
    model = model_with_heads(context)
    without = predict(pixels_slide(), model, replace(SETTINGS, spread=False))
    assert spread(without) is None
    assert unfamiliar(without) is None
    np.testing.assert_array_equal(without.X, predict(pixels_slide(), model, SETTINGS).X)


def test_some_genes_have_the_spread_that_they_have_among_all() -> None:
    model = model_with_heads("neighborhood")
    every = predict(pixels_slide(), model, SETTINGS)
    some = predict(pixels_slide(), model, replace(SETTINGS, genes=("VIM", "ERBB2")))
    columns = [PANEL.index("VIM"), PANEL.index("ERBB2")]
    np.testing.assert_allclose(
        some.layers["spread"], every.layers["spread"][:, columns], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(some.obs["unfamiliar"], every.obs["unfamiliar"])


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_stopped_prediction_goes_on_to_the_same_spread(tmp_path: Path, context: Context) -> None:
    slide, model, output = pixels_slide(), model_with_heads(context), tmp_path / "out.h5ad"
    settings = replace(SETTINGS, head_values=True, image_features=True, nuclei=True)
    whole = predict(slide, model, settings)
    assert [np.isfinite(whole.layers[name]).all() for name in head_layers(whole)] == [True] * 3
    assert np.isfinite(whole.obsm[IMAGE_FEATURES]).all()
    for event in (events := predict_events(slide, model, settings, output=output)):
        if isinstance(event, TilesDone) and event.done >= 12:
            break
    events.close()
    started, *_, finished = predict_events(slide, model, settings, output=output)
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert 12 <= started.done < started.total
    for found in (finished.prediction, anndata.read_h5ad(output)):
        for name in head_layers(whole):
            np.testing.assert_array_equal(found.layers[name], whole.layers[name])
        np.testing.assert_array_equal(found.obsm[IMAGE_FEATURES], whole.obsm[IMAGE_FEATURES])
        np.testing.assert_array_equal(found.layers["spread"], whole.layers["spread"])
        for column in ("unfamiliar", NUCLEI):
            np.testing.assert_array_equal(found.obs[column], whole.obs[column])
        np.testing.assert_array_equal(found.X, whole.X)


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_whole_takes_over_the_spread_of_a_region(tmp_path: Path, context: Context) -> None:
    model = model_with_heads(context)
    part = replace(SETTINGS, region=[[(0, 0), (0, 429), (180, 429), (180, 0)]])
    fresh = predict(pixels_slide(), model, SETTINGS)
    list(predict_events(pixels_slide(), model, part, kept=tmp_path))
    started, *_, finished = predict_events(pixels_slide(), model, SETTINGS, kept=tmp_path)
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert 0 < started.done < started.total
    np.testing.assert_array_equal(finished.prediction.layers["spread"], fresh.layers["spread"])
    np.testing.assert_array_equal(finished.prediction.obs["unfamiliar"], fresh.obs["unfamiliar"])


@pytest.mark.parametrize("context", ["query", "neighborhood"])
def test_head_values_and_image_features_come_beside_what_there_is(context: Context) -> None:
    model = model_with_heads(context)
    plain = predict(pixels_slide(), model, SETTINGS)
    with_both = replace(SETTINGS, head_values=True, image_features=True)
    found = predict(pixels_slide(), model, with_both)
    np.testing.assert_array_equal(found.X, plain.X)
    np.testing.assert_array_equal(found.layers["spread"], plain.layers["spread"])
    of_heads = np.stack([found.layers[name] for name in head_layers(found)])
    np.testing.assert_allclose(of_heads.std(0), found.layers["spread"], rtol=1e-3, atol=1e-5)
    # Other batches round otherwise, as values do: within float16.
    others = predict(pixels_slide(), model, replace(with_both, batch_size=12))
    image = found.obsm[IMAGE_FEATURES]
    assert image.shape == (found.n_obs, 32)
    assert image.dtype == np.float16
    np.testing.assert_allclose(others.obsm[IMAGE_FEATURES], image, rtol=2e-3, atol=1e-3)
    # Alike tiles have alike features: distances are about those of the encoder's means.
    far = np.linalg.norm(image - image[0].astype(np.float32), axis=1)
    assert far[1:].min() > 0
    without = replace(SETTINGS, spread=False, head_values=True)
    assert not head_layers(predict(pixels_slide(), model, without))
    headless = predict(pixels_slide(), replace(model, heads=None), with_both)
    assert not head_layers(headless)
    assert any("no heads of a cross-validation" in notice for notice in notices(headless))


def test_what_was_kept_without_heads_is_of_another_run(tmp_path: Path) -> None:
    model = model_with_heads()
    list(predict_events(pixels_slide(), model, replace(SETTINGS, spread=False), kept=tmp_path))
    with_heads = next(iter(predict_events(pixels_slide(), model, SETTINGS, kept=tmp_path)))
    assert isinstance(with_heads, Started)
    assert with_heads.done == 0
    other = model_with_heads(count=4)
    list(predict_events(pixels_slide(), model, SETTINGS, kept=tmp_path))
    with_others = next(iter(predict_events(pixels_slide(), other, SETTINGS, kept=tmp_path)))
    assert isinstance(with_others, Started)
    assert with_others.done == 0


def test_a_tile_that_cannot_be_read_has_neither() -> None:
    found = predict(pixels_slide(damaged=((1, 1),)), model_with_heads("average"), SETTINGS)
    failed = np.isnan(found.X).all(1)
    assert 0 < failed.sum() < found.n_obs
    np.testing.assert_array_equal(np.isnan(found.layers["spread"]).all(1), failed)
    np.testing.assert_array_equal(np.isnan(found.obs["unfamiliar"]), failed)


def test_intervals_and_what_reliability_is_of_come_from_the_model() -> None:
    model = small_model(
        interval_90={"VIM": 0.25, "CD74": None},
        usual_spread={"VIM": 0.1},
        reliability_of="other sections",
    )
    found = predict(pixels_slide(), model, replace(SETTINGS, genes=("CD74", "VIM", "EPCAM")))
    assert reliability_of(found) == "other sections"
    half_width = interval(found)
    assert half_width["VIM"] == 0.25
    assert half_width[["CD74", "EPCAM"]].isna().all()
    assert usual_spread(found)["VIM"] == 0.1
    assert usual_spread(found)[["CD74", "EPCAM"]].isna().all()
    without = predict(pixels_slide(), small_model(interval_90={"VIM": 0.25}), SETTINGS)
    assert "usual_spread" not in without.var
    assert reliability_of(predict(pixels_slide(), small_model(), SETTINGS)) == ""


def test_a_prediction_that_fills_up_has_what_came_so_far() -> None:
    seen = []
    for event in predict_events(pixels_slide(), model_with_heads("average"), SETTINGS):
        if isinstance(event, TilesDone):
            done = np.isfinite(event.prediction.X).all(1)
            np.testing.assert_array_equal(np.isfinite(event.prediction.obs["unfamiliar"]), done)
            np.testing.assert_array_equal(
                np.isfinite(event.prediction.layers["spread"]).all(1), done
            )
            seen.append(event.done)
    assert len(seen) > 3


def far_model(share: float) -> Model:
    """A model with heads to which this share of the test's tiles is unfamiliar."""
    model = model_with_heads()
    assert model.heads is not None
    far = predict(pixels_slide(), model, SETTINGS).obs["unfamiliar"].to_numpy(np.float64)
    whitening = model.heads.whitening / float(np.quantile(far, 1 - share))
    return replace(model, heads=replace(model.heads, whitening=whitening))


def test_a_slide_of_unfamiliar_tiles_has_a_notice_in_file_and_event(tmp_path: Path) -> None:
    output = tmp_path / "out.h5ad"
    *_, finished = predict_events(pixels_slide(), far_model(0.4), SETTINGS, output=output)
    assert isinstance(finished, Finished)
    (late,) = finished.notices
    assert late.startswith("40% of the tiles look unlike those that the model was trained on.")
    for found in (finished.prediction, anndata.read_h5ad(output)):
        assert late in notices(found)
        assert why_far(found) == "40% of the tiles are unfamiliar"
    *_, finished = predict_events(pixels_slide(), far_model(0.1), SETTINGS)
    assert isinstance(finished, Finished)
    assert finished.notices == ()
    assert why_far(finished.prediction) == ""
    numbers = trust_numbers(finished.prediction)
    assert numbers["unfamiliar_share"] == pytest.approx(0.1, abs=0.03)
    assert numbers["median_interval_90"] is None
    median = np.median(finished.prediction.layers["spread"])
    assert numbers["median_spread"] == pytest.approx(median, abs=1e-4)
