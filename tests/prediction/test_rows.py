"""Rows: what travels from a process that predicts, and what it is sent, is all of a prediction."""

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.prediction.rows import (
    RowLayout,
    fill_rows,
    make_room,
    rows_of,
    without_values,
)

GENES = 5
LAYOUTS = [
    RowLayout(GENES),
    RowLayout(GENES, has_spread=True),
    RowLayout(GENES, has_spread=True, n_heads=11, has_image=True, has_nuclei=True),
    RowLayout(GENES, has_nuclei=True),
]


def drawn(layout: RowLayout) -> AnnData:
    """A prediction with room for the layout, whose numbers are all different."""
    prediction = drawn_prediction(array_slide(ArrayLevel(textured(100, 130)), mpp=1.0))
    layout.add_room(prediction)
    tiles = np.arange(prediction.n_obs)
    # Whole numbers below 2048: half precision holds them.
    rows = np.random.default_rng(0).permutation(len(tiles) * layout.n_columns) % 2048
    fill_rows(prediction, tiles, rows.reshape(len(tiles), -1).astype(np.float32))
    return prediction


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_part_of_a_row_has_its_place(layout: RowLayout) -> None:
    prediction = drawn(layout)
    row = rows_of(prediction, np.array([7]))[0]
    assert (row.dtype, len(row)) == (np.float32, layout.n_columns)
    parts = [prediction.X[7]]
    if layout.has_spread:
        parts += [prediction.layers["spread"][7], [prediction.obs["unfamiliar"].iloc[7]]]
    parts += [prediction.layers[f"head_{number}"][7] for number in range(1, layout.n_heads + 1)]
    if layout.has_image:
        parts.append(prediction.obsm["image_features"][7])
    if layout.has_nuclei:
        parts.append([prediction.obs["nuclei_per_mm2"].iloc[7]])
    np.testing.assert_array_equal(row, np.concatenate(parts))
    assert RowLayout.of(prediction) == layout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_process_is_sent_no_values_and_has_all_of_them_once_rows_came(layout: RowLayout) -> None:
    made = drawn(layout)
    sent = without_values(made)
    assert sent.X is None
    assert not sent.layers
    assert not {"unfamiliar", "nuclei_per_mm2"} & set(sent.obs)
    assert "image_features" not in sent.obsm
    make_room(sent, layout)
    assert np.isnan(rows_of(sent, np.arange(sent.n_obs))).all()
    for tiles in np.array_split(np.random.default_rng(1).permutation(made.n_obs), 3):
        fill_rows(sent, tiles, rows_of(made, tiles))
    np.testing.assert_array_equal(sent.X, made.X)
    assert sent.obs[[*made.obs]].equals(made.obs)
    for name in made.layers:
        np.testing.assert_array_equal(sent.layers[name], made.layers[name])
    for name in made.obsm:
        np.testing.assert_array_equal(sent.obsm[name], made.obsm[name])
