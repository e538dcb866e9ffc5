"""Layers of columns of the tiles: unfamiliar places, nuclei, stability of domains, and others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from gene_predictions import add_heatmap, gene_prediction, status_at
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.analysis.signatures import Signature, put_signature
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.reader import with_annotations
from napari_nh2st.prediction.files import write_anndata
from napari_nh2st.prediction.schema import NUCLEI, UNFAMILIAR
from napari_nh2st.session import Session
from napari_nh2st.session.picture_facts import PictureFacts
from trusted_predictions import add_trust


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, add_trust(gene_prediction()))


def test_it_takes_the_heatmaps_place_with_a_colorbar_of_its_own(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    session = Session.of(viewer)
    heard: list[bool] = []
    session.tile_columns.visibility_changed.connect(
        lambda: heard.append(session.tile_columns.shown == UNFAMILIAR)
    )
    assert UNFAMILIAR in session.tile_columns.offered
    session.tile_columns.show(UNFAMILIAR)
    (item,) = session.tile_columns.items
    assert item.layer.visible
    assert item.layer.colorbar.visible
    assert not heatmap.layer.visible
    assert item.layer.contrast_limits == [0, 2]
    expected = heatmap.raster.image(heatmap.prediction.obs["unfamiliar"].to_numpy())
    np.testing.assert_allclose(item.layer.data, expected)
    session.tile_columns.show(UNFAMILIAR)
    assert len(session.tile_columns.items) == 1
    session.show_gene("CD74")
    assert not item.layer.visible
    assert session.tile_columns.shown is None
    session.tile_columns.show(UNFAMILIAR)
    session.tile_columns.show(None)
    assert not session.tile_columns.items
    assert heatmap.layer.visible
    assert heard[0] is True
    assert False in heard


def test_its_colors_begin_where_tissue_is_unfamiliar(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session = Session.of(viewer)
    session.tile_columns.show(UNFAMILIAR)
    alpha = session.tile_columns.items[0].layer.colormap.map(np.array([0.2, 0.5, 1.0]))[:, 3]
    assert alpha[0] < 0.15
    assert 0.5 < alpha[1] < alpha[2] == 1


def test_the_status_bar_says_how_unfamiliar_a_place_is(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    Session.of(viewer).tile_columns.show(UNFAMILIAR)
    assert status_at(viewer, 0, 3).endswith("very unfamiliar tissue (1.8)")
    assert "ERBB2 1" not in status_at(viewer, 0, 3)
    viewer.layers.selection.active = Session.of(viewer).tile_columns.items[0].layer
    assert status_at(viewer, 0, 3).endswith("]: very unfamiliar tissue (1.8)")


def test_it_follows_the_prediction(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session = Session.of(viewer)
    session.tile_columns.show(UNFAMILIAR)
    heatmap.prediction.obs["unfamiliar"] = np.float32(1.5)
    heatmap.filled.emit(heatmap)
    layer = session.tile_columns.items[0].layer
    assert np.nanmin(layer.data) == np.nanmax(layer.data) == 1.5
    heatmap.take(gene_prediction(), viewer.layers["C6"])
    assert not session.tile_columns.items
    assert UNFAMILIAR not in session.tile_columns.offered
    session.tile_columns.show(UNFAMILIAR)
    assert not session.tile_columns.items


def test_every_numeric_column_can_be_shown(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session, prediction = Session.of(viewer), heatmap.prediction
    values = np.linspace(900, 2000, prediction.n_obs).astype(np.float32)
    prediction.obs[NUCLEI] = values
    prediction.obs["my score"] = np.arange(prediction.n_obs)
    put_signature(prediction, Signature("stroma", ("CD74",), 1), np.zeros(prediction.n_obs))
    assert list(session.tile_columns.offered) == [UNFAMILIAR, NUCLEI, "my score"]
    session.tile_columns.show(NUCLEI)
    (item,) = session.tile_columns.items
    np.testing.assert_allclose(item.layer.data, heatmap.raster.image(values))
    assert item.layer.contrast_limits[0] < item.layer.contrast_limits[1] <= 2000
    assert item.layer.name == "nuclei per mm² · C6"
    assert status_at(viewer, 0, 3).endswith(f"{values[2]:,.0f} nuclei per mm²")
    (scale,) = PictureFacts.of(session).scales
    assert scale.title == "nuclei per mm² · C6: estimated density in a tile"
    session.tile_columns.show("my score")
    (item,) = session.tile_columns.items
    assert item.layer.name == "my score · C6"
    assert status_at(viewer, 0, 3).endswith("my score 2")
    prediction.obs["<b>far</b>"] = [np.inf, 1e300, *range(prediction.n_obs - 2)]
    session.tile_columns.show("<b>far</b>")  # napari's controls take no infinite limits
    (item,) = session.tile_columns.items
    assert item.layer.contrast_limits_range[1] <= prediction.n_obs
    assert "<b>" not in status_at(viewer, 0, 3)
    session.tile_columns.show("array_row")
    assert not session.tile_columns.items
    assert heatmap.layer.visible


def test_the_stability_of_domains_is_shown_and_goes_with_them(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    session, n = Session.of(viewer), heatmap.prediction.n_obs
    heatmap.prediction.uns["nh2st"]["slide"] = {"name": "C6.tif", "mpp": [0.5, 0.5]}
    labels = np.where(np.arange(n) < 9, 1, 2)
    none = pd.DataFrame(columns=["domain", "gene", "score", "mean_in", "mean_out"])
    stable = np.where(np.arange(n) == 2, 3, 5)
    domains = NamedDomains(labels, ("tumor", "stroma"), none, stable=stable, n_heads=5)
    session.domains.put(heatmap, domains)
    assert status_at(viewer, 0, 3).endswith("tumor · same domain in 3 of 5 heads")
    viewer.layers.selection.active = session.domains.layer_of(heatmap)
    words = status_at(viewer, 3, 3)
    assert words.count("stroma") == 1
    assert words.endswith("same domain in 5 of 5 heads")
    session.tile_columns.show("domain_stable_in")
    (item,) = session.tile_columns.items
    assert item.layer.contrast_limits == [0, 5]
    session.domains.put(heatmap, NamedDomains(labels, ("tumor", "stroma"), none))
    assert not session.tile_columns.items
    assert "domain_stable_in" not in session.tile_columns.offered


def opened(path: Path) -> ViewerModel:
    viewer = ViewerModel()
    Session.of(viewer)
    for data, attributes, kind in with_annotations(read_expression(path)):
        viewer.add_layer(Layer.create(data, attributes, kind))
    return viewer


def test_a_file_opens_with_the_column_that_was_seen_last(tmp_path: Path) -> None:
    slide = array_slide(ArrayLevel(textured(300, 420)), mpp=(0.5, 0.8), path="C6.tif")
    prediction = drawn_prediction(slide)
    numbers = np.linspace(900, 2000, prediction.n_obs)
    prediction.obs[NUCLEI] = numbers
    write_anndata(prediction, tmp_path / "new.h5ad")
    first = opened(tmp_path / "new.h5ad")
    session = Session.of(first)
    session.tile_columns.show(NUCLEI)
    write_anndata(session.heatmap.prediction, tmp_path / "seen.h5ad")
    session.show_gene("CD74")
    write_anndata(session.heatmap.prediction, tmp_path / "gene.h5ad")
    session.tile_columns.show(NUCLEI)
    session.tile_columns.show(None)
    assert "shown_column" not in session.heatmap.prediction.uns["nh2st"]

    second = opened(tmp_path / "seen.h5ad")
    columns = Session.of(second).tile_columns
    (item,) = columns.items
    assert columns.shown == NUCLEI
    assert item.layer.name == "nuclei per mm² · C6"
    heatmap_layer = item.source.layer
    assert item.layer.visible
    assert not heatmap_layer.visible
    np.testing.assert_allclose(item.layer.data, item.source.raster.image(numbers), rtol=1e-6)
    columns.show(None)
    assert item.layer not in second.layers
    assert heatmap_layer.visible
    third = Session.of(opened(tmp_path / "gene.h5ad"))
    assert not third.tile_columns.items
