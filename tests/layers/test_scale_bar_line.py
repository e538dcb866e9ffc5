"""A line over a printed scale bar, drawn with the mouse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Shapes
from napari.utils._proxies import ReadOnlyWrapper
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_nh2st.layers.regions import holds_regions
from napari_nh2st.layers.scale_bar_line import ScaleBarLine


def draw(layer: Shapes, event: Callable[..., Any], ends: np.ndarray) -> None:
    """Draw from one end to the other, in world coordinates, as napari's canvas does."""
    mouse_press_callbacks(layer, event(type="mouse_press", is_dragging=False, position=ends[0]))
    for share in (0.3, 1.0):
        place = ends[0] + share * (ends[1] - ends[0])
        move = event(type="mouse_move", is_dragging=True, position=place)
        mouse_move_callbacks(layer, move)
    mouse_release_callbacks(layer, event(type="mouse_release", position=ends[1]))


@pytest.fixture
def mouse() -> Callable[..., Any]:
    class Moment:
        def __init__(self, **what: Any) -> None:
            self.modifiers: list[str] = []
            self.handled = False
            self.button = 1
            self.view_direction = None
            self.up_direction = None
            self.dims_displayed = [0, 1]
            self.inverted = False
            self.native = None
            self.__dict__ |= what

    # As napari hands events on: each takes the place of the former in the same wrapper.
    return lambda **what: ReadOnlyWrapper(Moment(**what), exceptions=("handled",))


@pytest.mark.parametrize("rotate", [0, 30])
def test_its_length_is_in_the_slide_s_pixels(mouse: Callable[..., Any], rotate: float) -> None:
    viewer = ViewerModel()
    slide = viewer.add_image(
        np.zeros((300, 400, 3), np.uint8), scale=(0.5, 0.5), rotate=rotate, translate=(9, 9)
    )
    line, heard = ScaleBarLine(viewer), []
    line.drawn.connect(heard.append)
    line.ask(slide)
    layer = line.layer
    assert layer is not None
    assert viewer.layers.selection.active == layer
    assert not holds_regions(layer)
    ends = np.array([slide.data_to_world(place) for place in ((250, 40), (250, 240))])
    draw(layer, mouse, ends)
    assert heard == [pytest.approx(200, rel=1e-3)]
    line.clear()
    assert list(viewer.layers) == [slide]
    assert viewer.layers.selection.active == slide
    assert line.layer is None


def test_a_click_is_no_line_and_a_second_one_replaces_the_first(mouse: Callable[..., Any]) -> None:
    viewer = ViewerModel()
    slide = viewer.add_image(np.zeros((300, 400, 3), np.uint8))
    line, heard = ScaleBarLine(viewer), []
    line.drawn.connect(heard.append)
    line.ask(slide)
    assert line.layer is not None
    draw(line.layer, mouse, np.array([[20.0, 20.0], [20.0, 20.0]]))
    assert heard == []
    line.ask(slide)
    assert len(viewer.layers) == 2
    viewer.layers.remove(line.layer)  # the user has thought better of it
    line.clear()
    assert list(viewer.layers) == [slide]
