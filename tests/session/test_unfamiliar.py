"""The layer of unfamiliar places."""

import numpy as np
import pytest
from napari.components import ViewerModel

from gene_predictions import add_heatmap, gene_prediction, status_at
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session import Session
from trusted_predictions import add_trust


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, add_trust(gene_prediction()))


def test_it_takes_the_heatmaps_place_with_a_colorbar_of_its_own(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    session = Session.of(viewer)
    heard: list[bool] = []
    session.unfamiliar.visibility_changed.connect(lambda: heard.append(session.unfamiliar.is_shown))
    assert session.unfamiliar.can_show
    session.unfamiliar.show()
    (item,) = session.unfamiliar.items
    assert item.layer.visible
    assert item.layer.colorbar.visible
    assert not heatmap.layer.visible
    assert item.layer.contrast_limits == [0, 2]
    expected = heatmap.raster.image(heatmap.prediction.obs["unfamiliar"].to_numpy())
    np.testing.assert_allclose(item.layer.data, expected)
    session.unfamiliar.show()
    assert len(session.unfamiliar.items) == 1
    session.show_gene("CD74")
    assert not item.layer.visible
    assert not session.unfamiliar.is_shown
    session.unfamiliar.show()
    session.unfamiliar.show(False)
    assert not session.unfamiliar.items
    assert heatmap.layer.visible
    assert heard[0] is True
    assert False in heard


def test_its_colors_begin_where_tissue_is_unfamiliar(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session = Session.of(viewer)
    session.unfamiliar.show()
    alpha = session.unfamiliar.items[0].layer.colormap.map(np.array([0.2, 0.5, 1.0]))[:, 3]
    assert alpha[0] < 0.15
    assert 0.5 < alpha[1] < alpha[2] == 1


def test_the_status_bar_says_how_unfamiliar_a_place_is(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    Session.of(viewer).unfamiliar.show()
    assert status_at(viewer, 0, 3).endswith("very unfamiliar tissue (1.8)")
    assert "ERBB2 1" not in status_at(viewer, 0, 3)
    viewer.layers.selection.active = Session.of(viewer).unfamiliar.items[0].layer
    assert status_at(viewer, 0, 3).endswith("]: very unfamiliar tissue (1.8)")


def test_it_follows_the_prediction(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session = Session.of(viewer)
    session.unfamiliar.show()
    heatmap.prediction.obs["unfamiliar"] = np.float32(1.5)
    heatmap.filled.emit(heatmap)
    layer = session.unfamiliar.items[0].layer
    assert np.nanmin(layer.data) == np.nanmax(layer.data) == 1.5
    heatmap.take(gene_prediction(), viewer.layers["C6"])
    assert not session.unfamiliar.items
    assert not session.unfamiliar.can_show
    session.unfamiliar.show()
    assert not session.unfamiliar.items
