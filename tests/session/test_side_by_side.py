"""Two slides side by side, and the order of a viewer's layers."""

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_predictions import drawn_spot_prediction
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.session.side_by_side import arrange
from shown_predictions import Shown, show_prediction


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """A comparison over a slide, a heatmap, a pinned gene and a Shapes layer."""
    shown = show_prediction(tmp_path)
    shown.viewer.add_shapes(np.array([[0, 0], [9, 9]]), name="mine", units=("um", "um"))
    prediction = drawn_spot_prediction(shown.slide)
    section = MeasuredSection.of_prediction(shown.session, prediction)
    section.set_results(ComparisonResults.of_prediction(prediction))
    shown.session.measured.add(section, shown.slide_layer)
    for kind in ("measured", "residual", "predicted"):
        section.layers.show_kind(kind)
    return shown


def state_of(viewer: ViewerModel) -> Any:
    camera, grid = viewer.scene.camera, viewer.canvas.grid
    layers = [(each.name, each.visible, each.name_overlay.visible) for each in viewer.layers]
    return layers, camera.center, camera.zoom, grid.enabled, grid.stride, grid.shape


@pytest.mark.parametrize("pinned", [False, True])
def test_side_by_side_shows_the_tissue_twice_with_titles_and_ends_as_it_began(
    shown: Shown, pinned: bool
) -> None:
    viewer, section = shown.viewer, shown.session.measured.current
    assert section is not None
    if pinned:
        shown.session.pins.pin("CD74")
    before = state_of(viewer)
    section.layers.show_side_by_side(True)
    seen = [layer.name for layer in viewer.layers if layer.visible]
    gene = section.layers.gene
    names = f"measured · {gene}", f"predicted · {gene}"
    assert seen == ["section", names[0], "section (beside)", names[1]]
    titled = {layer.name for layer in viewer.layers if layer.name_overlay.visible}
    assert titled == set(names)
    spots = viewer.layers[names[0]].extent.world
    np.testing.assert_allclose(viewer.scene.camera.center[1:], spots.mean(0))
    section.layers.show_kind("residual")
    assert viewer.layers[f"residual · {gene}"].name_overlay.visible
    section.layers.show_kind("predicted")
    section.layers.show_side_by_side(False)
    assert state_of(viewer) == before


def test_nothing_stays_hidden_where_side_by_side_fails(shown: Shown) -> None:
    viewer, section = shown.viewer, shown.session.measured.current
    assert section is not None

    def fail(_event: Any) -> None:
        raise ValueError("of another plugin")

    before = state_of(viewer)
    viewer.layers.events.reordered.connect(fail)
    with pytest.raises(ValueError, match="of another plugin"):
        section.layers.show_side_by_side(True)
    viewer.layers.events.reordered.disconnect(fail)
    assert state_of(viewer) == before
    assert not section.layers.is_side_by_side
    section.layers.show_side_by_side(True)
    assert section.layers.is_side_by_side


@pytest.mark.parametrize("count", [2, 5])
def test_layers_come_into_any_order_and_are_drawn_once(count: int) -> None:
    viewer = ViewerModel()
    layers = [viewer.add_points(np.zeros((1, 2)), name=str(number)) for number in range(count)]
    drawn: list[object] = []
    viewer.layers.events.reordered.connect(drawn.append)
    for number, order in enumerate(permutations(layers)):
        arrange(viewer, order)
        assert list(viewer.layers) == list(order)
        assert len(drawn) == number, "the first order is that of the beginning"
