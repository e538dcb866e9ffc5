"""How much of a map fades where the heads do not agree."""

import numpy as np

from gene_predictions import gene_prediction
from napari_nh2st.prediction.fading import MOST_FADED, can_fade, fading


def test_a_tile_fades_by_its_spread_over_how_much_the_map_varies() -> None:
    prediction = gene_prediction()
    assert not can_fade(prediction)
    assert not fading(prediction, "CD74").any()
    prediction.X[3] = np.nan
    varies = np.nanstd(prediction[:, "CD74"].X.astype(np.float64))
    spread = np.full(prediction.shape, np.nan, np.float32)
    column = prediction.var_names.get_loc("CD74")
    spread[:6, column] = np.array([0.1, 0.25, 0.625, 9, 1, 7]) * varies
    prediction.layers["spread"] = spread
    assert can_fade(prediction)
    faded = fading(prediction, "CD74")
    # Halfway from a quarter to all of the variation.
    expected = np.array([0, 0, 0.5, np.nan, 1, 1]) * MOST_FADED
    np.testing.assert_allclose(faded[:6], expected, atol=1e-6)
    assert not faded[6:].any()  # a value without a spread


def test_a_map_without_variance_or_values_does_not_fade() -> None:
    prediction = gene_prediction()
    prediction.layers["spread"] = np.ones(prediction.shape, np.float32)
    prediction.X[:, 0] = 2
    assert not fading(prediction, "ERBB2").any()
    prediction.X[:] = np.nan
    assert np.isnan(fading(prediction, "ERBB2")).all()
