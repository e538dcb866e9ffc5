"""Predictions on a grid and at spots have the same keys, those of the schema."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.new import spot_prediction
from napari_nh2st.prediction.outlines import tile_sides
from napari_nh2st.prediction.schema import (
    Notes,
    check_prediction,
    interval,
    is_on_grid,
    notes,
    notices,
    reliability,
    reliability_of,
    slide_mpp,
    slide_stem,
    spread,
    unfamiliar,
)
from napari_nh2st.slide import open_slide
from small_configs import PANEL, small_config
from spot_sections import drawn_spots
from trusted_predictions import NOTICE, RELIABILITY_OF, add_trust

GRID = {"array_shape", "first_center_px_fullres", "step_px_fullres", "step_um", "settings"}
SPOTS = {"section", "donor", "run"}


def predictions(folder: Path) -> tuple[AnnData, AnnData]:
    """On a grid, and at six spots of the same slide."""
    spots = drawn_spots(rows=2, columns=3)
    values = np.ones((6, len(PANEL)), np.float32)
    with open_slide(slide_file(folder / "lung.tif"), mpp=0.5) as slide:
        at_spots = spot_prediction(
            values,
            2 * values,
            spots,
            slide,
            small_config(reliability={"VIM": 0.5}),
            mpp=(0.4, 0.6),
            pitch_um=20.0,
            layout="square",
            section="A",
            donor="D1",
            run={"device": "cpu", "precision": "float32"},
        )
        return drawn_prediction(slide), at_spots


def test_both_kinds_have_the_keys_of_the_schema(tmp_path: Path) -> None:
    grid, spots = predictions(tmp_path)
    assert notes(grid).keys() - notes(spots).keys() == GRID
    assert notes(spots).keys() - notes(grid).keys() == SPOTS
    assert notes(grid).keys() & notes(spots).keys() == Notes.__required_keys__
    assert Notes.__optional_keys__ >= GRID | SPOTS
    assert [*grid.obs] == [*spots.obs]
    assert grid.obsm.keys() == spots.obsm.keys()
    assert [*grid.var] == [*spots.var]
    (one,), (other,) = grid.uns["spatial"].values(), spots.uns["spatial"].values()
    assert {name: part.keys() for name, part in one.items()} == {
        name: part.keys() for name, part in other.items()
    }


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_prediction_at_spots_comes_back_from_its_file(tmp_path: Path, suffix: str) -> None:
    _, made = predictions(tmp_path)
    write_anndata(made, tmp_path / f"spots{suffix}")
    found = read_anndata_file(tmp_path / f"spots{suffix}")
    check_prediction(found)
    assert not is_on_grid(found)
    assert slide_stem(found) == "lung"
    # The µm/px by the spots' distance counts, and the diameter is in its pixels.
    assert slide_mpp(found).tolist() == [0.4, 0.6]
    assert tile_sides(found) == pytest.approx(20 / np.sqrt(0.24))
    assert reliability(found)["VIM"] == 0.5
    assert reliability(found).drop("VIM").isna().all()
    np.testing.assert_array_equal(found.layers["measured"], made.layers["measured"])


def test_reliability_is_unknown_where_a_file_has_none(tmp_path: Path) -> None:
    grid, _ = predictions(tmp_path)
    del grid.var["reliability"]
    assert reliability(grid).index.tolist() == list(PANEL)
    assert reliability(grid).isna().all()


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_what_a_prediction_says_of_its_trust_comes_back_from_its_file(
    tmp_path: Path, suffix: str
) -> None:
    made = add_trust(predictions(tmp_path)[0])
    write_anndata(made, tmp_path / f"lung{suffix}")
    found = read_anndata_file(tmp_path / f"lung{suffix}")
    check_prediction(found)
    heads, far = spread(found), unfamiliar(found)
    assert heads is not None
    assert heads.dtype == np.float32
    np.testing.assert_array_equal(heads, made.layers["spread"])
    assert far is not None
    np.testing.assert_array_equal(far, made.obs["unfamiliar"])
    np.testing.assert_array_equal(interval(found), made.var["interval_90"])
    assert interval(found).isna().tolist() == [False] * (len(PANEL) - 1) + [True]
    assert reliability_of(found) == RELIABILITY_OF
    assert notices(found) == (NOTICE,)


def test_a_prediction_of_a_model_without_heads_says_nothing_of_them(tmp_path: Path) -> None:
    grid, spots = predictions(tmp_path)
    for prediction in (grid, spots):
        assert spread(prediction) is None
        assert unfamiliar(prediction) is None
        assert interval(prediction).isna().all()
        assert reliability_of(prediction) == ""
        assert notices(prediction) == ()


def test_a_trust_that_is_no_number_is_refused(tmp_path: Path) -> None:
    good = add_trust(predictions(tmp_path)[0])
    check_prediction(good)
    whole_numbers, tiles, genes, usual = (good.copy() for _ in range(4))
    whole_numbers.layers["spread"] = np.zeros(good.shape, int)
    tiles.obs["unfamiliar"] = ["far"] * good.n_obs
    genes.var["interval_90"] = ["wide"] * good.n_vars
    usual.var["usual_spread"] = ["usual"] * good.n_vars
    for damaged, message in (
        (whole_numbers, "spread"),
        (tiles, "'far'"),
        (genes, "'wide'"),
        (usual, "'usual'"),
    ):
        with pytest.raises(InputError, match=message):
            check_prediction(damaged)
