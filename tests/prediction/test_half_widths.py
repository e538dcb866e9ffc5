"""Half widths of intervals: the same everywhere, or by the spread of a tile."""

import numpy as np
import pytest

from gene_predictions import gene_prediction
from napari_nh2st.prediction.half_widths import (
    half_widths,
    scaled_half_width,
    typical_half_width,
)
from napari_nh2st.prediction.reading import GeneReading, limits_in_words
from napari_nh2st.prediction.schema import usual_spread

GENE = "CD74"


def prediction_with_spread():
    """Half widths of 0.2 at a spread of 0.1, and of 0.5 everywhere for the last gene."""
    prediction = gene_prediction()
    prediction.layers["spread"] = np.full(prediction.shape, 0.1, np.float32)
    prediction.layers["spread"][0] = 0.3
    prediction.layers["spread"][1] = 0.0
    prediction.var["interval_90"] = 0.2
    prediction.var["usual_spread"] = 0.1
    prediction.var.iloc[-1, prediction.var.columns.get_indexer(["interval_90", "usual_spread"])] = (
        0.5,
        np.nan,
    )
    return prediction


def test_a_half_width_follows_the_spread_of_its_tile() -> None:
    prediction = prediction_with_spread()
    found = half_widths(prediction)
    assert found.shape == prediction.shape
    # 0.2 · (1 + 3) / 2, 0.2 · (1 + 0) / 2, and as it is at the usual spread.
    np.testing.assert_allclose(found[:3, 0], [0.4, 0.1, 0.2], rtol=1e-6)
    assert (found[:, -1] == 0.5).all()
    column = prediction.var_names.get_loc(GENE)
    np.testing.assert_array_equal(half_widths(prediction, genes=column), found[:, column])
    np.testing.assert_array_equal(half_widths(prediction, 0, np.array([0, 2])), found[0, [0, 2]])
    assert half_widths(prediction, 1, 0) == found[1, 0]
    reading = GeneReading(prediction, GENE)
    assert [reading.number(tile).split(" ± ")[1] for tile in range(3)] == ["0.4", "0.1", "0.2"]
    assert limits_in_words(prediction, GENE, (-2, -1)) == "± 0.2"
    assert typical_half_width(prediction, GENE) == pytest.approx(0.2, rel=1e-6), "the median"


def test_without_a_spread_a_half_width_is_that_at_the_usual_one() -> None:
    prediction = prediction_with_spread()
    prediction.layers["spread"][:] = np.nan
    assert set(half_widths(prediction, genes=0)) == {0.2}
    del prediction.layers["spread"]
    assert half_widths(prediction).shape == prediction.shape
    assert set(half_widths(prediction, genes=0)) == {0.2}
    assert half_widths(prediction, 3, 0) == 0.2
    assert typical_half_width(prediction, GENE) == pytest.approx(0.2)
    del prediction.var["interval_90"]
    assert np.isnan(half_widths(prediction)).all()
    assert typical_half_width(prediction, GENE) is None


@pytest.mark.parametrize("usual", [0.0, -0.1, np.nan])
def test_a_usual_spread_that_is_none_is_not_divided_by(usual: float) -> None:
    prediction = prediction_with_spread()
    prediction.var["usual_spread"] = usual
    assert usual_spread(prediction).isna().all()
    assert set(half_widths(prediction, genes=0)) == {0.2}


def test_scaled_half_width_by_hand() -> None:
    np.testing.assert_allclose(
        scaled_half_width([1.0, 2.0], [0.5, 1.0], [[0.5, 1.0], [1.0, 0.0]]), [[1, 2], [1.5, 1]]
    )
