"""A prediction at tiles, compared with measured spots without its model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from scipy.spatial import cKDTree

from drawn_predictions import drawn_prediction, drawn_spot_prediction, slide_file
from napari_nh2st.analysis import comparison_table, residual
from napari_nh2st.analysis.at_spots import at_spots
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.spots import expression_target, spot_array
from small_configs import PANEL
from spot_sections import drawn_spots

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""

GENES = (PANEL[3], "OTHER", *PANEL[:3])
"""In another order than predicted, and without the last."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    return open_slide(slide_file(tmp_path_factory.mktemp("slide") / "section.tif"), mpp=MPP)


def spots_at(xy: Any) -> AnnData:
    spots = drawn_spots("square", 6, 7, 32.0, genes=GENES)[: len(xy)].copy()
    spots.obsm["spatial"] = np.asarray(xy, np.float64)
    return spots


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_a_spot_has_the_value_of_the_tile_that_is_nearest(slide: Slide, layout: Any) -> None:
    tiles = drawn_prediction(slide, layout)
    um = np.array(MPP[::-1])
    # Well inside of the array: outside, the nearest tile is not the cell's.
    low, high = np.percentile(tiles.obsm["spatial"], (15, 85), axis=0)
    xy = np.random.default_rng(3).uniform(low, high, (42, 2))
    compared = at_spots(tiles, spots_at(xy))
    _, nearest = cKDTree(tiles.obsm["spatial"] * um).query(xy * um)
    np.testing.assert_array_equal(compared.X, tiles.X[nearest])
    assert compared.obs["tile"].tolist() == tiles.obs_names[nearest].tolist()


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_where_no_tile_was_predicted_there_is_no_value(slide: Slide, layout: Any) -> None:
    tiles = drawn_prediction(slide, layout)
    xy = tiles.obsm["spatial"].copy()
    gone = 10
    fewer = tiles[np.arange(tiles.n_obs) != gone].copy()  # glass
    places = [gone, 11, 12, tiles.n_obs - 1]  # the last is pending
    outside = [(-900.0, 40.0), (5000.0, 40.0)]
    compared = at_spots(fewer, spots_at([*xy[places], *outside, *xy[20:40]]))
    assert np.isnan(compared.X).all(1).tolist() == [True, False, False, True, True, True] + (
        [False] * 20
    )
    assert compared.obs["tile"].tolist()[:2] == ["", tiles.obs_names[11]]
    assert (compared.obs["tile"] == "").tolist() == np.isnan(compared.X).all(1).tolist()


def test_it_is_compared_as_a_prediction_at_spots_is(slide: Slide, tmp_path: Path) -> None:
    tiles = drawn_prediction(slide)
    spots = spots_at(tiles.obsm["spatial"][:42] + 1.5)
    compared = at_spots(tiles, spots)
    shared = list(PANEL[:4])
    measured = expression_target(spots, shared)
    np.testing.assert_array_equal(compared[:, shared].layers["measured"], measured)
    assert np.isnan(compared.layers["measured"][:, 4]).all()
    np.testing.assert_array_equal(residual(compared)[:, :4], tiles.X[:42, :4] - measured)
    table = comparison_table(compared, bootstrap=0).set_index("gene")
    for column, gene in enumerate(shared):
        expected = np.corrcoef(tiles.X[:42, column], measured[:, column])[0, 1]
        assert table["pcc"][gene] == pytest.approx(expected, abs=1e-5)
    np.testing.assert_array_equal(table["reliability"], tiles.var["reliability"])
    # The pitch of the spots in µm, of pixels as large as the slide's are.
    expected = spot_array(spots).pitch_px * np.sqrt(MPP[0] * MPP[1])
    assert compared.uns["nh2st"]["pitch_um"] == pytest.approx(expected)
    export(compared, tmp_path / "compared.h5ad")


def test_what_cannot_be_compared_is_refused(slide: Slide) -> None:
    tiles = drawn_prediction(slide)
    spots = spots_at(tiles.obsm["spatial"][:42])
    with pytest.raises(InputError, match="already one at spots"):
        at_spots(drawn_spot_prediction(slide), spots)
    with pytest.raises(InputError, match="0 of 42 spots lie on predicted tiles"):
        at_spots(tiles, spots_at(tiles.obsm["spatial"][:42] + 9000))
    spots.var_names = [name.capitalize() for name in GENES]
    with pytest.raises(InputError, match="a human model on a mouse section"):
        at_spots(tiles, spots)
