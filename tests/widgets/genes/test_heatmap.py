"""Heatmaps as the other widgets find them."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from gene_predictions import STEP_PX, add_heatmap, as_image, gene_prediction
from napari_nh2st.layers.heatmap import Heatmap, heatmap_of
from napari_nh2st.layers.keys import PREDICTION_KEY
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from viewers import VIEWERS


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


def moved(prediction: AnnData) -> AnnData:
    """Tiles of half the pitch, the first row left out."""
    prediction = prediction[prediction.obs["array_row"] > 0].copy()
    prediction.uns["nh2st"]["step_px_fullres"] = np.array([STEP_PX / 2, STEP_PX / 2])
    return prediction


def test_another_prediction_is_shown_in_the_same_layer_where_its_tiles_lie() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction(), "CD74")
    slide, layer = viewer.layers["C6"], heatmap.layer
    layer.colormap, layer.opacity, layer.interpolation2d = "viridis", 0.3, "linear"
    viewer.add_points([[0.0, 0.0]])
    slide.rotate = 20
    heard: list[tuple[Heatmap, AnnData]] = []
    heatmap.replaced.connect(lambda *what: heard.append(what))
    former, prediction = heatmap.prediction, moved(gene_prediction())
    prediction.uns["nh2st"]["model"] = {"name": "other", "trained": False}
    heatmap.take(prediction, slide)
    assert viewer.layers[1] is layer
    assert heatmap_of(layer) is heatmap
    assert layer.metadata[PREDICTION_KEY] is heatmap.prediction is prediction
    assert heard == [(heatmap, former)]
    assert layer.name == "CD74 · C6 · UNTRAINED"
    assert (layer.colormap.name, layer.opacity, layer.interpolation2d) == ("viridis", 0.3, "linear")
    for tile in (0, 17, prediction.n_obs - 1):
        row, column = prediction.obs[["array_row", "array_col"]].iloc[tile]
        assert layer.data[row - 1, column] == prediction[:, "CD74"].X[tile, 0]
        # Half a pixel: napari's pixel k has its center at k, a slide's at k + 0.5.
        on_slide = (np.array([row, column]) + 0.5) * STEP_PX / 2 - 0.5
        np.testing.assert_allclose(
            layer.data_to_world((row - 1, column)), slide.data_to_world(on_slide)
        )
    slide.rotate = 0
    heatmap.take(gene_prediction(), slide)
    again = add_heatmap(viewer, gene_prediction(), "CD74").layer
    for corner in ((0, 0), (3, 0), (0, 5)):
        np.testing.assert_allclose(layer.data_to_world(corner), again.data_to_world(corner))
    np.testing.assert_array_equal(layer.data, again.data)


def test_limits_set_by_hand_stay_with_gene_and_model() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction(), "CD74")
    slide, layer = viewer.layers["C6"], heatmap.layer
    layer.contrast_limits = (1, 2)
    heatmap.take(gene_prediction(filled=False), slide)
    heatmap.prediction.X[:] = 7
    heatmap.refresh()
    assert layer.contrast_limits == [1, 2]
    other = gene_prediction()
    other.uns["nh2st"]["model"]["name"] = "other"
    heatmap.take(other, slide)
    assert layer.contrast_limits[1] > 5
    layer.contrast_limits = (1, 2)
    shown: list[str] = []
    heatmap.shown.connect(shown.append)
    heatmap.take(other[:, ["ESR1", "KRT19", "GRB7"]].copy(), slide)
    assert shown == [heatmap.gene] == ["GRB7"], "the most reliable one"
    assert layer.contrast_limits[1] > 5


@pytest.mark.parametrize("viewer", [made() for made in VIEWERS.values()], ids=VIEWERS)
def test_who_follows_the_prediction_hears_of_another(qtbot: QtBot, viewer: ViewerModel) -> None:
    first = add_heatmap(viewer, gene_prediction())
    second = add_heatmap(viewer, gene_prediction(), slide="D1")
    current = CurrentPrediction(viewer)
    qtbot.addWidget(current.picker)
    current.follow()
    current.choose(second)
    heard: list[Any] = []
    current.changed.connect(lambda: heard.append("changed"))
    current.replaced.connect(lambda heatmap, _former: heard.append(heatmap))
    first.take(gene_prediction(), viewer.layers["C6"])
    assert heard == [first]
    second.take(gene_prediction(), viewer.layers["D1"])
    assert heard == [first, second, "changed"]
    assert current.prediction is second.prediction
    current.close()
    second.take(gene_prediction(), viewer.layers["D1"])
    assert len(heard) == 3


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
