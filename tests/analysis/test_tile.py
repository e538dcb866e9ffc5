"""What stands out in a tile, compared with scipy; its neighborhood, with that of all tiles."""

import numpy as np
import pytest
from scipy.stats import percentileofscore, zscore

from analysis_predictions import array_prediction
from napari_nh2st.analysis.tile_profile import neighborhood_of, top_genes
from napari_nh2st.errors import InputError
from napari_nh2st.tiles.neighborhoods import neighborhoods


def random_prediction(rows: int, columns: int, layout: str = "square"):
    values = np.random.default_rng(0).normal(3, 1, (rows * columns, 70)).astype(np.float32)
    values[:, 5] = 2.0  # without variance
    prediction = array_prediction(values, rows, columns, layout, np.linspace(-0.5, 1, 70))
    prediction.uns["nh2st"] = {"slide": {"mpp": np.array([0.5, 0.5])}}
    return prediction


def test_the_top_genes_are_those_of_the_highest_z_scores() -> None:
    prediction = random_prediction(12, 15)
    prediction.X[100:110] = np.nan
    known = np.delete(prediction.X, np.s_[100:110], axis=0).astype(float)
    z = zscore(np.delete(known, 5, axis=1), axis=0)[42]
    z = np.insert(z, 5, 0.0)  # without variance
    table = top_genes(prediction, 42, 10)
    best = np.argsort(-z)[:10]
    assert table["gene"].tolist() == [f"G{gene}" for gene in best]
    np.testing.assert_allclose(table["z"], z[best], rtol=1e-5)
    np.testing.assert_array_equal(table["value"], prediction.X[42, best])
    np.testing.assert_array_equal(table["reliability"], prediction.var["reliability"].iloc[best])
    expected = [percentileofscore(known[:, g], known[42, g], kind="mean") for g in best]
    np.testing.assert_allclose(table["percentile"], expected)


def test_a_gene_that_is_the_same_everywhere_does_not_stand_out() -> None:
    table = top_genes(random_prediction(5, 5), 3, 70).set_index("gene")
    assert table.loc["G5", "z"] == 0
    assert table.loc["G5", "percentile"] == 50


def test_a_tile_without_values_has_no_top_genes() -> None:
    prediction = random_prediction(5, 5)
    prediction.X[7, 3] = np.nan
    assert not len(top_genes(prediction, 7))


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_the_neighborhood_is_that_among_all_predicted_tiles(layout: str) -> None:
    prediction = random_prediction(14, 16, layout)
    gone = np.random.default_rng(1).random(prediction.n_obs) < 0.3
    prediction.X[gone] = np.nan
    present = np.flatnonzero(~gone)
    index, _ = neighborhoods(prediction.obsm["spatial"][present][:, ::-1] * 0.5)
    for place, tile in enumerate(present):
        np.testing.assert_array_equal(neighborhood_of(prediction, tile), present[index[place]])


def test_where_there_are_fewer_tiles_the_neighborhood_is_smaller() -> None:
    prediction = random_prediction(2, 3)
    assert neighborhood_of(prediction, 0).tolist() == [0, 1, 3, 4, 2, 5]


@pytest.mark.parametrize("tile", [-1, 25])
def test_a_tile_that_is_not_there_is_refused(tile: int) -> None:
    with pytest.raises(InputError, match="25 tiles"):
        top_genes(random_prediction(5, 5), tile)
