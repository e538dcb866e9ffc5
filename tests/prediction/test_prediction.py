"""A prediction as AnnData: its fields, and that its coordinates point at what was seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData, read_h5ad
from numpy.typing import NDArray

from array_slides import ArrayLevel, array_slide, textured, write_tiff
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.prediction.schema import tissue_left_out
from napari_nh2st.slide import open_slide
from napari_nh2st.tiles import TissueMask, tissue_from_polygons
from small_configs import PANEL
from small_models import MeanColor, color_model, small_model

torch.set_num_threads(1)

PLAIN = {"device": "cpu", "precision": "float32", "tissue_only": False}


def predicted(**settings: object) -> AnnData:
    slide = array_slide(ArrayLevel(textured(363, 429)), path="folder/sec.tion.tif")
    return predict(slide, small_model("average"), PredictSettings(**(PLAIN | settings)))


def test_columns_say_where_each_tile_lies() -> None:
    prediction = predicted()
    assert prediction.X.dtype == np.float32
    assert np.isfinite(prediction.X).all()
    assert prediction.obs.columns.tolist() == [
        "in_tissue",
        "array_row",
        "array_col",
        "pxl_row_in_fullres",
        "pxl_col_in_fullres",
        "status",
    ]
    obs = prediction.obs
    assert (obs["in_tissue"] == 1).all()
    # Tiles of 32 px at 1 µm/px are 64 px of this slide, side by side.
    np.testing.assert_array_equal(obs["pxl_row_in_fullres"], obs["array_row"] * 64 + 32)
    np.testing.assert_array_equal(obs["pxl_col_in_fullres"], obs["array_col"] * 64 + 32)
    np.testing.assert_array_equal(
        prediction.obsm["spatial"], obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]]
    )
    assert prediction.obs_names[:2].tolist() == ["0x0", "0x1"]
    assert prediction.obs_names.is_unique


def test_genes_carry_their_reliability_where_it_is_known() -> None:
    slide = array_slide(ArrayLevel(textured(64, 64)))
    model = small_model(reliability={"VIM": 0.25, "CD74": None})
    prediction = predict(slide, model, PredictSettings(**PLAIN))
    assert prediction.var_names.tolist() == list(PANEL)
    known = prediction.var["reliability"]
    assert known["VIM"] == 0.25
    assert known.drop("VIM").isna().all()


def test_provenance_tells_what_it_was_made_from() -> None:
    region = (np.array([[0.0, 0.0], [330.0, 0.0], [0.0, 402.0]]),)
    made = predicted(genes=("VIM", "CD74"), region=region, pitch_um=20.0).uns["nh2st"]
    assert made["model"] == {
        "name": "small",
        "sha256": "not saved",
        "architecture": "nh2st",
        "context": "average",
        "trained": True,
        "training": "Made for a test.",
    }
    assert made["target"]["transform"] == "log10(1+v)"
    assert (made["tile_px"], made["mpp"], made["pitch_um"], made["layout"]) == (
        32,
        1.0,
        20.0,
        "square",
    )
    assert made["array_shape"].tolist() == [9, 11]
    assert made["step_px_fullres"].tolist() == [40, 40]
    assert made["slide"]["name"] == "sec.tion.tif"
    assert made["slide"]["mpp"].tolist() == [0.5, 0.5]
    assert made["slide"]["mpp_source"] == "given"
    assert made["settings"]["genes"] == ["VIM", "CD74"]
    np.testing.assert_array_equal(made["settings"]["region"]["0"], region[0])
    assert made["run"] == {"device": "cpu", "precision": "float32"}
    assert set(made["versions"]) == {"napari-nh2st", "torch", "anndata", "python"}


def test_region_limits_the_tiles(mean_color: type[MeanColor]) -> None:
    slide = array_slide(ArrayLevel(textured(330, 402)))
    triangle = np.array([[0.0, 0.0], [330.0, 0.0], [0.0, 402.0]])
    inside = predict(slide, color_model(), PredictSettings(region=(triangle,), **PLAIN))
    everything = predict(slide, color_model(), PredictSettings(**PLAIN))
    x, y = everything.obsm["spatial"].T
    expected = everything[y / 330 + x / 402 < 1]
    assert inside.obs_names.tolist() == expected.obs_names.tolist()
    np.testing.assert_array_equal(inside.X, expected.X)


@pytest.mark.parametrize("context", ["query", "average"])
def test_values_do_not_change_with_the_region(mean_color: type[MeanColor], context: str) -> None:
    slide, model = array_slide(ArrayLevel(textured(330, 402))), color_model(context)
    everything = predict(slide, model, PredictSettings(**PLAIN))
    square = np.array([[100.0, 100.0], [100.0, 250.0], [250.0, 250.0], [250.0, 100.0]])
    mean_color.encoded = 0
    inside = predict(slide, model, PredictSettings(region=(square,), **PLAIN))
    assert inside.n_obs == 4
    np.testing.assert_allclose(inside.X, everything[inside.obs_names].X, rtol=1e-6)
    assert mean_color.encoded == (4 if context == "query" else 16)  # with those around them


def test_damage_beside_the_region_is_done_without(mean_color: type[MeanColor]) -> None:
    square = np.array([[100.0, 100.0], [100.0, 250.0], [250.0, 250.0], [250.0, 100.0]])
    values = []
    for region in ((), (square,)):
        slide = array_slide(ArrayLevel(textured(330, 402), damaged=[(1, 1)]))
        settings = PredictSettings(region=region, **PLAIN)
        values.append(predict(slide, color_model("average"), settings))
    everything, inside = values
    assert (inside.obs["status"] == "predicted").all()
    np.testing.assert_allclose(inside.X, everything[inside.obs_names].X, rtol=1e-6)


@pytest.mark.parametrize("side", [400, 2500])
def test_scale_factors_take_coordinates_to_the_pictures(
    side: int, mean_color: type[MeanColor]
) -> None:
    pixels = np.full((side, side * 3 // 2, 3), 240, np.uint8)
    y, x, size = side * 5 // 8, side * 3 // 4, side // 10
    pixels[y : y + size, x : x + size] = (60, 20, 80)
    slide = array_slide(ArrayLevel(pixels, (256, 256)), path="section.tif")
    settings = PredictSettings(pitch_um=side / 16, **PLAIN)
    prediction = predict(slide, color_model(), settings)
    (library,) = prediction.uns["spatial"]
    assert library == "section"
    shown = prediction.uns["spatial"][library]
    assert shown["scalefactors"].keys() == {
        "tissue_hires_scalef",
        "tissue_lowres_scalef",
        "spot_diameter_fullres",
    }
    assert shown["scalefactors"]["spot_diameter_fullres"] == min(64, side / 8)
    assert max(shown["images"]["hires"].shape) <= 2000
    assert max(shown["images"]["lowres"].shape) < 900
    for name in ("hires", "lowres"):
        image, scale = shown["images"][name], shown["scalefactors"][f"tissue_{name}_scalef"]
        assert image.dtype == np.uint8
        rows, columns = np.nonzero(image[..., 0] < 150)
        # Edges of the square in the picture, within one of its pixels.
        for found, expected in (
            (rows.min(), y),
            (rows.max() + 1, y + size),
            (columns.min(), x),
            (columns.max() + 1, x + size),
        ):
            assert abs(found - expected * scale) <= 1
    darkest = prediction.obsm["spatial"][np.argmin(prediction[:, "RED"].X[:, 0])]
    assert x <= darkest[0] <= x + size
    assert y <= darkest[1] <= y + size


@pytest.mark.parametrize(("mpp", "pitch_um"), [(0.5, 32.0), (0.5, 20.0), (0.8, 32.0), (0.8, 20.0)])
@pytest.mark.parametrize("context", ["query", "average"])
def test_only_tiles_that_see_a_square_change_with_it(
    tmp_path: Path, mean_color: type[MeanColor], mpp: float, pitch_um: float, context: str
) -> None:
    plain = textured(448, 512)
    marked = plain.copy()
    y0, x0, y1, x1 = 190, 260, 230, 330
    marked[y0:y1, x0:x1] = (255, 250, 120)
    values: list[NDArray[np.float32]] = []
    for name, pixels in (("plain", plain), ("marked", marked)):
        with open_slide(write_tiff(tmp_path / f"{name}.tif", pixels), mpp=mpp) as slide:
            settings = PredictSettings(pitch_um=pitch_um, **PLAIN)
            prediction = predict(slide, color_model(context), settings)
            values.append(prediction.X)
    change = np.abs(values[1] - values[0]).max(1)
    x, y = prediction.obsm["spatial"].T
    half = 16 * 1.0 / mpp  # 32 px at 1 µm/px, in pixels of this slide
    if context == "average":
        half += 1.01 * pitch_um / mpp  # and the tiles around it
    sees = (x + half > x0 + 1) & (x - half < x1 - 1) & (y + half > y0 + 1) & (y - half < y1 - 1)
    near = (x + half > x0 - 1) & (x - half < x1 + 1) & (y + half > y0 - 1) & (y - half < y1 + 1)
    inner = (x > 100) & (x < 412) & (y > 100) & (y < 348)  # at edges neighborhoods reach farther
    assert sees.any()
    assert (change[sees & inner] > 1e-3).all()
    assert (change[~near & inner] == 0).all()
    largest = np.argmax(change)
    assert abs(y[largest] - (y0 + y1) / 2) < half + 20
    assert abs(x[largest] - (x0 + x1) / 2) < half + 35


def test_tissue_is_found_and_glass_left_out(mean_color: type[MeanColor]) -> None:
    pixels = np.full((600, 800, 3), 243, np.uint8)
    pixels[200:400, 300:600] = textured(200, 300)
    slide = array_slide(ArrayLevel(pixels), mpp=2.0)
    prediction = predict(slide, color_model(mpp=2.0), PredictSettings(device="cpu"))
    x, y = prediction.obsm["spatial"].T
    assert prediction.n_obs > 40
    assert ((x > 300 - 16) & (x < 600 + 16) & (y > 200 - 16) & (y < 400 + 16)).all()


def test_a_mask_made_by_hand_is_taken(mean_color: type[MeanColor]) -> None:
    slide = array_slide(ArrayLevel(np.full((600, 800, 3), 243, np.uint8)))
    square = np.array([[0.0, 0.0], [0.0, 256.0], [128.0, 256.0], [128.0, 0.0]])
    mask = tissue_from_polygons(slide, [square])
    prediction = predict(slide, color_model(), PredictSettings(device="cpu"), tissue=mask)
    assert prediction.obs_names.tolist() == [
        f"{row}x{column}" for row in (0, 1) for column in range(4)
    ]
    about = prediction.uns["nh2st"]["tissue"]
    assert about == {"origin": "given", "sha256": mask.sha256, "share_without_tile": 0}
    assert tissue_left_out(prediction) == ""


def test_a_prediction_says_how_much_of_the_tissue_has_no_tile(
    mean_color: type[MeanColor], tmp_path: Path
) -> None:
    slide = array_slide(ArrayLevel(np.full((600, 800, 3), 243, np.uint8)))
    tissue = np.zeros((75, 100), bool)
    tissue[:16, :32] = True  # 2 × 4 tiles
    tissue[-5:-1, -5:-1] = True  # less than a quarter of one
    mask, path = TissueMask(tissue, (8.0, 8.0)), tmp_path / "prediction.h5ad"
    predict(slide, color_model(), PredictSettings(device="cpu"), tissue=mask, output=path)
    read = read_h5ad(path)
    assert read.n_obs == 8
    assert read.uns["nh2st"]["tissue"]["share_without_tile"] == pytest.approx(16 / 528)
    assert tissue_left_out(read).startswith("3% of the tissue has no tile")
    for share, said in ((0.01, "1% of the tissue"), (0.004, "")):
        read.uns["nh2st"]["tissue"]["share_without_tile"] = share
        assert tissue_left_out(read).startswith(said)
        assert bool(tissue_left_out(read)) == bool(said)
    everything = predict(slide, color_model(), PredictSettings(device="cpu", tissue_only=False))
    assert everything.uns["nh2st"]["tissue"] == {"origin": "all tiles"}


def test_a_slide_without_tissue_is_refused(mean_color: type[MeanColor]) -> None:
    slide = array_slide(ArrayLevel(np.full((600, 800, 3), 243, np.uint8)))
    with pytest.raises(InputError, match=r"drawn\.tif: no tissue was found on the slide"):
        predict(slide, color_model(), PredictSettings(device="cpu"))


def test_settings_are_not_shared_between_predictions() -> None:
    settings = PredictSettings(**PLAIN)
    first = predict(array_slide(ArrayLevel(textured(64, 64))), small_model(), settings)
    second = predict(
        array_slide(ArrayLevel(textured(64, 64))), small_model(), replace(settings, batch_size=2)
    )
    assert "batch_size" not in first.uns["nh2st"]["settings"]
    assert second.uns["nh2st"]["settings"]["batch_size"] == 2
