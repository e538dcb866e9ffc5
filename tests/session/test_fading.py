"""Heatmaps that fade where they are unsure."""

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import VEIL_KEY
from napari_nh2st.prediction.fading import fading
from napari_nh2st.session import Session
from napari_nh2st.session.shown_figure import shown_figure
from trusted_predictions import add_trust


def veils(viewer: ViewerModel) -> list[Image]:
    return [layer for layer in viewer.layers if VEIL_KEY in layer.metadata]


def fade(session: Session, wanted: bool = True) -> None:
    session.display.apply(replace(session.display.settings, fade=wanted))


def shown(heatmap: Heatmap) -> np.ndarray:
    """What the veil of a heatmap has to show."""
    return heatmap.raster.image(fading(heatmap.prediction, heatmap.gene))


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    prediction = add_trust(gene_prediction())
    prediction.layers["spread"] *= 10  # else all heads agree
    return add_heatmap(viewer, prediction)


@pytest.fixture
def session(viewer: ViewerModel, heatmap: Heatmap) -> Session:
    return Session.of(viewer)


def test_a_veil_lies_on_the_heatmap_and_follows_it(
    viewer: ViewerModel, session: Session, heatmap: Heatmap
) -> None:
    viewer.add_points([[1.0, 1.0]])
    selected = viewer.layers.selection.active
    fade(session)
    (veil,) = veils(viewer)
    assert viewer.layers.selection.active == selected
    assert viewer.layers.index(veil) == viewer.layers.index(heatmap.layer) + 1
    np.testing.assert_array_equal(veil.data, shown(heatmap))
    np.testing.assert_allclose(veil.extent.world, heatmap.layer.extent.world)
    heatmap.gene = "KRT19"
    np.testing.assert_array_equal(veil.data, shown(heatmap))
    heatmap.prediction.layers["spread"][:] = 9
    heatmap.filled.emit(heatmap)
    np.testing.assert_array_equal(veil.data, shown(heatmap))
    assert veil.contrast_limits == [0, 1]
    data, attributes, kind = heatmap.layer.as_layer_data_tuple()  # as napari's “Duplicate”
    copy = viewer.add_layer(Layer.create(data.copy(), attributes | {"name": "copy"}, kind))
    heatmap.prediction.layers["spread"][::2] = 0
    heatmap.filled.emit(heatmap)
    for layer in veils(viewer):
        np.testing.assert_array_equal(layer.data, shown(heatmap))
    assert len(veils(viewer)) == 2
    viewer.layers.remove(copy)
    heatmap.layer.visible = False
    assert not veil.visible
    heatmap.layer.visible = True
    assert veil.visible
    fade(session, False)
    assert not veils(viewer)


def test_smoothing_smooths_the_veil_too(viewer: ViewerModel, session: Session) -> None:
    fade(session)
    session.display.apply(replace(session.display.settings, smooth=True))
    assert veils(viewer)[0].interpolation2d == "linear"
    fade(session, False)
    fade(session)
    assert veils(viewer)[0].interpolation2d == "linear"


def test_each_heatmap_that_can_has_its_veil(
    viewer: ViewerModel, session: Session, heatmap: Heatmap
) -> None:
    add_heatmap(viewer, gene_prediction(), slide="old")
    fade(session)
    assert len(veils(viewer)) == 1
    later = add_heatmap(viewer, add_trust(gene_prediction()), slide="later")
    assert len(veils(viewer)) == 2
    viewer.layers.remove(veils(viewer)[-1])
    later.gene = "CD74"
    assert len(veils(viewer)) == 1, "a veil that was removed stays away"
    fade(session, False)
    fade(session)
    assert len(veils(viewer)) == 2
    viewer.layers.remove(later.layer)
    assert len(veils(viewer)) == 1


def test_another_prediction_is_faded_if_it_says_where_it_is_unsure(
    viewer: ViewerModel, session: Session, heatmap: Heatmap
) -> None:
    fade(session)
    heatmap.take(gene_prediction(), viewer.layers["C6"])
    assert not veils(viewer)
    heatmap.take(add_trust(gene_prediction()), viewer.layers["C6"])
    assert len(veils(viewer)) == 1


def test_a_figure_fades_where_the_canvas_does(
    viewer: ViewerModel, session: Session, heatmap: Heatmap
) -> None:
    assert not shown_figure(heatmap, session.viewer.layers)[0].fade
    fade(session)
    assert shown_figure(heatmap, session.viewer.layers)[0].fade
    veils(viewer)[0].visible = False
    assert not shown_figure(heatmap, session.viewer.layers)[0].fade


@pytest.mark.parametrize(
    ("stride", "cells", "is_shown"), [(1, 2, False), (2, 1, False), (3, 1, True), (-2, 2, True)]
)
def test_in_a_grid_a_veil_has_no_place_of_its_own(
    viewer: ViewerModel, session: Session, heatmap: Heatmap, stride: int, cells: int, is_shown: bool
) -> None:
    fade(session)
    (veil,) = veils(viewer)
    assert [viewer.layers.index(each) for each in (heatmap.layer, veil)] == [1, 2]
    viewer.canvas.grid.stride = stride
    viewer.canvas.grid.enabled = True
    assert veil.visible == is_shown
    assert viewer.canvas.grid.actual_shape(viewer.layers)[1] == cells
    heatmap.gene = "KRT19"
    assert veil.visible == is_shown
    np.testing.assert_array_equal(veil.data, shown(heatmap))
    viewer.canvas.grid.enabled = False
    assert veil.visible
