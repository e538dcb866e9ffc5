"""Layers that the session adds: what is selected stays so, and what is current with it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_nh2st.layers.picked_tile import PickedTile
from napari_nh2st.prediction.schema import UNFAMILIAR
from napari_nh2st.session import Session
from shown_predictions import Shown, show_prediction
from trusted_predictions import add_trust


@pytest.fixture
def two(viewer: ViewerModel, tmp_path: Path) -> list[Shown]:
    """Two slides with their predictions, the first the current one, the other one selected."""
    shown = []
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        place = {"translate": (0, 1000 * number)}
        shown.append(show_prediction(tmp_path / name, viewer=viewer, place=place))
        add_trust(shown[-1].prediction)
    viewer.layers.selection.active = shown[1].heatmap.layer
    shown[0].session.heatmap = shown[0].heatmap
    return shown


def _mark(session: Session) -> None:
    assert session.heatmap is not None
    PickedTile(session.viewer).mark(session.heatmap, np.array([0, 1]))


@pytest.mark.parametrize(
    "add",
    [
        lambda session: session.pins.pin("ERBB2"),
        lambda session: session.veils.fade(True),
        lambda session: session.tile_columns.show(UNFAMILIAR),
        _mark,
    ],
    ids=["pin", "veil", "unfamiliar", "picked tile"],
)
def test_the_current_heatmap_stays_the_current_one(
    two: list[Shown], add: Callable[[Session], None]
) -> None:
    session = two[0].session
    layers = session.viewer.layers
    before = len(layers)
    add(session)
    assert len(layers) > before
    assert session.heatmap is two[0].heatmap
    assert layers.selection.active == two[1].heatmap.layer


def test_several_selected_layers_stay_selected(two: list[Shown]) -> None:
    layers = two[0].viewer.layers
    layers.selection = selected = {two[0].slide_layer, two[1].slide_layer}
    two[0].session.pins.pin("ERBB2")
    assert set(layers.selection) == selected
    assert layers.selection.active is None


def test_a_heatmap_has_one_layer_of_unfamiliar_places(two: list[Shown]) -> None:
    session, layers = two[0].session, two[0].viewer.layers
    for shown in two:  # of equal pixels: they count as one slide, open twice
        session.heatmap = shown.heatmap
        session.tile_columns.show(UNFAMILIAR)
    layers.remove(two[0].heatmap.layer)
    (left,) = session.tile_columns.items
    assert left.source is two[1].heatmap
    session.tile_columns.show(None)
    session.heatmap = two[1].heatmap
    assert session.tile_columns.shown is None
