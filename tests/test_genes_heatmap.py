"""Heatmaps as the other widgets find them."""

import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from gene_predictions import add_heatmap, as_image, gene_prediction
from napari_nh2st.widgets.heatmap import PREDICTION_KEY, Heatmap, heatmap_of


def test_whoever_hears_of_the_layer_first_finds_the_same_heatmap() -> None:
    viewer = ViewerModel()
    found: list[Heatmap | None] = []
    viewer.layers.events.inserted.connect(lambda event: found.append(heatmap_of(event.value)))
    heatmap = add_heatmap(viewer, gene_prediction())
    assert found[-1] is heatmap is heatmap_of(heatmap.layer)


def test_a_prediction_goes_with_its_layer() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction())
    gone = weakref.ref(heatmap.prediction)
    del heatmap, viewer  # napari's selection holds on to the layer that was active last
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("name", "gene", "next_name"),
    [
        ("GRB7 · C6", "GRB7", "CD74 · C6"),
        ("GRB7 · C6 · UNTRAINED", "GRB7", "CD74 · C6 · UNTRAINED"),
        ("my map", "ERBB2", "my map"),
    ],
)
def test_a_layer_from_a_file_becomes_a_heatmap(name: str, gene: str, next_name: str) -> None:
    prediction = gene_prediction()
    prediction.uns["nh2st"]["model"]["trained"] = "UNTRAINED" not in name
    values = np.asarray(prediction[:, gene].X).ravel()
    layer = Image(as_image(values), name=name, metadata={PREDICTION_KEY: prediction})
    heatmap = heatmap_of(layer)
    assert heatmap is not None
    assert heatmap.gene == gene
    heatmap.show("CD74")
    assert layer.name == next_name
    np.testing.assert_array_equal(layer.data, as_image(prediction[:, "CD74"].X.ravel()))


def test_layers_of_other_things_have_no_heatmap() -> None:
    assert heatmap_of(Image(np.zeros((3, 3)))) is None
    assert heatmap_of(Image(np.zeros((3, 3)), metadata={PREDICTION_KEY: "of old"})) is None
