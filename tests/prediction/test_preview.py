"""Previews: shown in the place of values, marked, and gone when these come or the run ends."""

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.prediction.preview import (
    PREVIEW,
    end_preview,
    has_preview,
    is_preview,
    settle,
    show_preview,
    without_preview,
)
from napari_nh2st.prediction.reading import GeneReading, notices_in_short
from napari_nh2st.prediction.union import Union


@pytest.fixture(scope="module")
def whole() -> AnnData:
    return drawn_prediction(array_slide(ArrayLevel(textured(300, 420)), mpp=1.0))


def emptied(prediction: AnnData, tiles: slice) -> AnnData:
    empty = prediction.copy()
    empty.X[tiles] = np.nan
    return empty


def test_a_preview_stands_where_no_value_is_and_goes_without_a_trace(whole: AnnData) -> None:
    prediction = emptied(whole, slice(10, 30))
    before = prediction.copy()
    tiles = np.arange(5, 20)
    rows = np.full((15, whole.n_vars), 7, np.float32)
    rows[14] = np.nan
    show_preview(prediction, tiles, rows)
    np.testing.assert_array_equal(prediction.X[5:10], whole.X[5:10])
    assert (prediction.X[10:19] == 7).all()
    assert [is_preview(prediction, tile) for tile in (9, 10, 18, 19)] == [False, True, True, False]
    reading = GeneReading(prediction, prediction.var_names[0])
    assert reading.at(10).endswith("percentile · preview")
    assert "preview" not in reading.at(9)
    assert notices_in_short(prediction).startswith("preview: each tile by itself")

    show_preview(prediction, np.arange(10, 12), np.full((2, whole.n_vars), 8, np.float32))
    assert (prediction.X[10:12] == 8).all(), "a later preview replaces an earlier one"

    saved = without_preview(prediction)
    assert not has_preview(saved)
    np.testing.assert_array_equal(saved.X, before.X)
    assert has_preview(prediction)

    # Of some tiles the values have come; the others' preview is taken away.
    prediction.X[10:12] = whole.X[10:12]
    settle(prediction, np.arange(10, 12))
    end_preview(prediction)
    assert PREVIEW not in prediction.obs
    np.testing.assert_array_equal(prediction.X[:12], whole.X[:12])
    assert np.isnan(prediction.X[12:30]).all()


def test_a_map_that_is_there_keeps_its_values_under_a_regions_preview(whole: AnnData) -> None:
    former, part = whole[:30].copy(), emptied(whole[20:40].copy(), slice(None))
    union = Union.of(former, part)
    show_preview(part, np.arange(20), np.full((20, whole.n_vars), 7, np.float32))
    union.show_preview(np.arange(20))
    made = union.prediction
    np.testing.assert_array_equal(made.X[:30], whole.X[:30])
    assert (made.X[30:40] == 7).all()
    assert is_preview(made, 30)
    end_preview(part)
    part.X[:15] = whole.X[20:35]
    union.bring(np.arange(15))
    assert [is_preview(made, tile) for tile in (34, 35)] == [False, True]
    union.finish()
    assert not has_preview(made)
    np.testing.assert_array_equal(made.X[:35], whole.X[:35])
    assert np.isnan(made.X[35:]).all()
