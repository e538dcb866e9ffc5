"""Two slides side by side: the order of a viewer's layers."""

from itertools import permutations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_nh2st.session.side_by_side import arrange


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
