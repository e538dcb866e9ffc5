"""The tile panel: a click picks the tile under it, and what is shown is that tile's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.layers import Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QModelIndex, Qt

from docked_panels import dock_of, docked
from drawn_predictions import drawn_prediction
from napari_nh2st.analysis.tile_lookup import cells_around, read_tiles
from napari_nh2st.analysis.tile_profile import neighborhood_of, top_genes
from napari_nh2st.layers.tile_positions import tile_at
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.tiles import TissueMask
from napari_nh2st.widgets.text_colors import TEXT_ROLE
from napari_nh2st.widgets.tiles.panel import TilePanel
from shown_predictions import PLACES, Shown, show_prediction
from trusted_predictions import add_trust
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def open_panel(
    qtbot: QtBot, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., tuple[Shown, TilePanel]]]:
    opened: list[tuple[Shown, TilePanel]] = []

    def open_one(**drawn: Any) -> tuple[Shown, TilePanel]:
        shown = show_prediction(tmp_path, viewer=request.param(), **drawn)
        panel = docked(qtbot, shown.viewer, TilePanel)
        dock_of(panel).show()
        opened.append((shown, panel))
        return shown, panel

    yield open_one
    for shown, _ in opened:
        shown.viewer.layers.clear()


def click(shown: Shown, position: Any, moved: float = 0.0, **event: Any) -> None:
    """Press, move on the screen by `moved` pixels, release: as napari runs its callbacks."""
    mouse = SimpleNamespace(type="mouse_press", pos=(100.0, 100.0), position=tuple(position))
    mouse.button, mouse.modifiers = event.get("button", 1), event.get("modifiers", ())
    running = []
    for callback in shown.viewer.mouse_drag_callbacks:
        generator = callback(shown.viewer, mouse)
        if next(generator, "nothing") != "nothing":
            running.append(generator)
    if moved:
        mouse.type, mouse.pos = "mouse_move", (100.0 + moved, 100.0)
        for generator in running:
            next(generator, None)
    mouse.type = "mouse_release"
    for generator in running:
        next(generator, None)


def world_center(shown: Shown, tile: int, away: tuple[float, float] = (0, 0)) -> Any:
    x, y = shown.prediction.obsm["spatial"][tile]
    # A slide's pixel k covers [k, k + 1); napari centers it on k.
    return shown.slide_layer.data_to_world((y + away[0] - 0.5, x + away[1] - 0.5))


def looked_up(panel: TilePanel) -> Callable[[], None]:
    def check() -> None:
        assert panel.pictures.isVisible() or panel.pictures_notice.isVisible()

    return check


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_the_tile_under_the_mouse_is_found_wherever_the_slide_lies(
    qtbot: QtBot, tmp_path: Path, place: dict[str, Any], layout: str
) -> None:
    shown = show_prediction(tmp_path, place=place, layout=layout)
    height, width = shown.heatmap.raster.step
    half = np.array([height, width * shown.heatmap.raster.width]) / 2 - 0.1
    for tile in range(0, shown.prediction.n_obs, 11):
        for sign in ((0, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            position = world_center(shown, tile, tuple(half * sign))
            assert tile_at(shown.heatmap, position) == tile
    outside = shown.slide_layer.data_to_world((-40.0, 50.0))
    assert tile_at(shown.heatmap, outside) is None


def test_a_click_in_a_viewer_of_other_units_finds_the_tile(qtbot: QtBot, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    shown.viewer.add_points([[5.0, 5.0]], units=("nm", "nm"))
    nm = np.array(world_center(shown, 17)) * 1000
    assert tile_at(shown.heatmap, nm, shown.viewer.layers.extent.units) == 17


def test_the_tile_says_how_sure_its_values_are_and_how_unfamiliar_it_is(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    panel.pick(45)
    qtbot.waitUntil(looked_up(panel))
    interval = list(panel.genes.table.columns).index("interval")
    assert panel.genes.view.isColumnHidden(interval)  # nothing is known
    assert "familiar" not in panel.summary.text()
    add_trust(shown.prediction)
    shown.prediction.obs["unfamiliar"] = np.float32(1.24)
    shown.prediction.X[45, shown.prediction.var_names.get_loc("CD74")] = 1.66
    panel.pick(45)
    qtbot.waitUntil(lambda: not panel.genes.view.isColumnHidden(interval))
    assert "Unfamiliar tissue (1.2): 99 % of the tiles" in panel.summary.text()
    half = shown.prediction.var["interval_90"]["CD74"]
    assert panel.gene_title.text().startswith(
        f"CD74 1.66 ± {half:.2g} ≈ 45 per 10,000 of the panel · "
    )
    panel.clear()
    assert panel.gene_title.text() == "CD74 over the section"


def test_a_click_shows_the_tile(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel(place=PLACES["turned"])
    click(shown, world_center(shown, 45, (3.0, -5.0)), moved=2)
    assert panel.tile == 45
    qtbot.waitUntil(looked_up(panel))
    row, column = shown.prediction.obs[["array_row", "array_col"]].iloc[45]
    x, y = shown.prediction.obsm["spatial"][45]
    assert f"Tile {row} × {column}" in panel.summary.text()
    assert f"x {x:,.0f} µm, y {y:,.0f} µm" in panel.summary.text()
    assert panel.genes.table.equals(top_genes(shown.prediction, 45, 10))
    reliability = panel.genes.table["reliability"]
    for place, known in enumerate(reliability):
        assert panel.genes.model.is_greyed(place) == (known < 0.2)
    assert (reliability < 0.2).any()
    row = int(np.flatnonzero(reliability < 0.2)[0])
    name, value = (panel.genes.model.index(row, column) for column in (0, 3))
    assert value.data(TEXT_ROLE) == "greyed"
    assert "is below 0.20" in value.data(Qt.ItemDataRole.ToolTipRole)
    before = badge(name)
    panel.set_badges(Badges(-0.5))
    assert not any(map(panel.genes.model.is_greyed, range(len(reliability))))
    assert badge(name) != before
    assert name.data(Qt.ItemDataRole.ToolTipRole) == (
        f"{name.data()}: held-out PCC {reliability[row]:.2f}"
    )


def badge(index: QModelIndex) -> str:
    return str(
        index.data(Qt.ItemDataRole.DecorationRole).pixmap(24).toImage().pixelColor(12, 12).name()
    )


@pytest.mark.parametrize(
    "event",
    [{"moved": 30}, {"button": 2}, {"modifiers": ("Alt",)}],
    ids=["a drag", "another button", "a zoom"],
)
def test_other_uses_of_the_mouse_pick_nothing(
    open_panel: Callable[..., tuple[Shown, TilePanel]], event: dict[str, Any]
) -> None:
    shown, panel = open_panel()
    click(shown, world_center(shown, 20), **event)
    assert panel.tile is None


def test_while_a_region_is_drawn_or_the_panel_is_hidden_clicks_pick_nothing(
    open_panel: Callable[..., tuple[Shown, TilePanel]],
) -> None:
    shown, panel = open_panel()
    layer = shown.viewer.add_shapes(ndim=2)
    layer.mode = "add_polygon"
    click(shown, world_center(shown, 20))
    assert panel.tile is None
    layer.mode = "pan_zoom"
    panel.hide()
    click(shown, world_center(shown, 20))
    assert panel.tile is None
    panel.show()
    click(shown, world_center(shown, 20))
    assert panel.tile == 20


def test_its_owner_decides_which_clicks_count_and_hears_of_them(
    open_panel: Callable[..., tuple[Shown, TilePanel]],
) -> None:
    shown, panel = open_panel()
    heard: list[int] = []
    panel.picked_tile.connect(heard.append)
    panel.hide()
    panel.takes_clicks = lambda: True
    click(shown, world_center(shown, 20))
    click(shown, (-500.0, -500.0))
    assert heard == [20]
    panel.show()
    panel.takes_clicks = lambda: False
    click(shown, world_center(shown, 21))
    panel.pick(22)
    assert heard == [20], "a click that does not count, and no click"


def test_a_click_beside_the_tiles_keeps_the_picked_one(
    open_panel: Callable[..., tuple[Shown, TilePanel]],
) -> None:
    shown, panel = open_panel()
    panel.pick(3)
    click(shown, (-500.0, -500.0))
    assert panel.tile == 3


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_frames_lie_around_the_tile_and_its_neighborhood(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]], layout: str
) -> None:
    shown, panel = open_panel(place=PLACES["turned"], layout=layout)
    active = shown.viewer.layers.selection.active
    panel.pick(40)
    qtbot.waitUntil(looked_up(panel))
    layer = shown.viewer.layers["picked tile"]
    assert isinstance(layer, Shapes)
    assert shown.viewer.layers.selection.active == active
    neighborhood = neighborhood_of(shown.prediction, 40)
    assert len(neighborhood) == 9
    assert len(layer.data) == 1 + 9, "what the model sees, and the tiles"
    for frame, tile in zip(layer.data, [40, *neighborhood], strict=True):
        world = np.mean([layer.data_to_world(corner) for corner in frame], axis=0)
        np.testing.assert_allclose(world, world_center(shown, tile), atol=1e-3)
    width = shown.heatmap.raster.width
    for frame in layer.data[1:]:
        np.testing.assert_allclose(np.ptp(frame, axis=0), (1, width))
    assert layer.edge_width[0] > layer.edge_width[1]


def test_frames_are_as_thick_on_the_slide_however_fine_the_layer_is(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    tissue = TissueMask(np.ones((300, 420), bool), (1.0, 1.0))
    thick = []
    for drawn in ({}, {"divisions": 2, "tissue": tissue}):
        shown, panel = open_panel(pitch_um=32.0, **drawn)
        panel.pick(40)
        qtbot.waitUntil(looked_up(panel))
        layer = shown.viewer.layers["picked tile"]
        thick.append(layer.edge_width[0] * shown.heatmap.raster.step[0])
    assert shown.heatmap.raster.height > 1
    np.testing.assert_allclose(*thick)


@pytest.mark.parametrize(("pitch", "apart"), [(20.0, "20 µm apart: "), (48.0, "48 µm apart.")])
def test_the_thick_frame_is_what_the_model_sees(
    qtbot: QtBot,
    open_panel: Callable[..., tuple[Shown, TilePanel]],
    pitch: float,
    apart: str,
) -> None:
    shown, panel = open_panel(pitch_um=pitch)
    panel.pick(30)
    qtbot.waitUntil(looked_up(panel))
    layer = shown.viewer.layers["picked tile"]
    corners = [layer.data_to_world(corner) for corner in layer.data[0]]
    # The model sees 32 µm; the viewer's world is in µm.
    np.testing.assert_allclose(np.ptp(corners, axis=0), 32.0, rtol=1e-5)
    np.testing.assert_allclose(np.mean(corners, axis=0), world_center(shown, 30), atol=1e-3)
    cell = [layer.data_to_world(corner) for corner in layer.data[1]]
    np.testing.assert_allclose(np.ptp(cell, axis=0), pitch, rtol=1e-5)
    assert "32 × 32 µm" in panel.pictures_caption.text()
    assert apart in panel.pictures_caption.text()


def test_on_a_fine_map_pictures_and_frames_are_those_of_the_neighbors_a_pitch_away(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel(pitch_um=32.0, divisions=4)
    places = shown.prediction.obsm["spatial"]
    tile = int(np.argmin(np.linalg.norm(places - np.mean(places, axis=0), axis=1)))
    panel.pick(tile)
    qtbot.waitUntil(looked_up(panel))
    layer = shown.viewer.layers["picked tile"]
    centers = [np.mean([layer.data_to_world(c) for c in frame], axis=0) for frame in layer.data[2:]]
    away = np.linalg.norm(np.array(centers) - world_center(shown, tile), axis=1)
    np.testing.assert_allclose(sorted(away), [32] * 4 + [32 * 2**0.5] * 4, rtol=1e-5)
    caption = panel.pictures_caption.text()
    assert "32 × 32 µm" in caption
    assert "a value every 8 µm, but its neighbors, framed thinly, are 32 µm apart." in caption
    tips = {cell: label.toolTip() for cell, label in panel.pictures.labels.items()}
    assert tips[0, 1].endswith("32 µm away")


def test_the_frames_layer_is_updated_in_place_and_removed_with_the_panel(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    panel.pick(40)
    qtbot.waitUntil(looked_up(panel))
    layer = shown.viewer.layers["picked tile"]
    before = np.array(layer.data[0])
    panel.pick(41)
    qtbot.waitUntil(lambda: not np.array_equal(layer.data[0], before))
    assert shown.viewer.layers["picked tile"] == layer
    np.testing.assert_allclose(layer.data[0] - before, [[0, 1]] * 4)
    callbacks = len(shown.viewer.mouse_drag_callbacks)
    dock_of(panel).close_down()
    assert layer not in shown.viewer.layers
    assert len(shown.viewer.mouse_drag_callbacks) == callbacks - 1
    dock_of(panel).open()
    click(shown, world_center(shown, 7))
    assert panel.tile == 7


def test_escape_clears_from_the_viewer_and_from_the_panel(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    for clear in (lambda: press_escape(shown), panel.clear_button.click):
        panel.pick(40)
        qtbot.waitUntil(looked_up(panel))
        clear()
        assert panel.tile is None
        assert "picked tile" not in shown.viewer.layers
        assert not len(panel.genes.table)
        assert not panel.pictures.isVisible()
    assert "Escape" not in map(str, shown.heatmap.layer.keymap)


def press_escape(shown: Shown) -> None:
    keys = {str(key): action for key, action in shown.heatmap.layer.keymap.items()}
    keys["Escape"](shown.heatmap.layer)


def test_pictures_are_the_slide_at_the_tiles(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    columns = int(shown.prediction.obs["array_col"].max()) + 1
    tile = 3 * columns + 4
    found = read_tiles(
        shown.slide,
        shown.prediction.obsm["spatial"][[tile, tile + 1]][:, ::-1],
        np.array([32.0, 32.0]),
    )
    pixels = np.asarray(shown.slide.dask_levels()[0])
    np.testing.assert_array_equal(found[0], pixels[96:128, 128:160])
    np.testing.assert_array_equal(found[1], pixels[96:128, 160:192])

    panel.pick(tile)
    qtbot.waitUntil(panel.pictures.isVisible)
    for (row, column), label in panel.pictures.labels.items():
        words = f"Tile {3 + row - 1} × {4 + column - 1}"
        assert label.toolTip().split(",")[0] == words
        y, x = (32 * (3 + row - 1) + 16, 32 * (4 + column - 1) + 16)
        shown_color = label.pixmap().toImage().pixelColor(72, 72)
        expected = pixels[y - 1 : y + 1, x - 1 : x + 1].reshape(-1, 3)
        color = [shown_color.red(), shown_color.green(), shown_color.blue()]
        assert (expected.min(0) - 8 <= color).all()
        assert (color <= expected.max(0) + 8).all()


def test_neighbors_keep_their_directions() -> None:
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    for order in (steps, steps[::-1]):
        cells = cells_around(60.0 * np.array(order))
        assert cells == [(dy + 1, dx + 1) for dy, dx in order]
    # At a right edge nothing lies to the right: the nearest go where there is room.
    cells = cells_around(np.array([[-1.0, 0], [1, 0], [0, -1], [-1, -1], [1, -1]]))
    assert cells == [(0, 1), (2, 1), (1, 0), (0, 0), (2, 0)]
    assert cells_around(np.zeros((0, 2))) == []


def test_without_its_slide_it_says_so_and_shows_the_rest(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    shown.viewer.layers.remove(shown.slide_layer)
    panel.pick(12)
    qtbot.waitUntil(panel.pictures_notice.isVisible)
    assert "Open the slide section.tif" in panel.pictures_notice.text()
    assert not panel.pictures.isVisible()
    assert len(panel.genes.table)


def test_another_slide_is_not_taken_for_it(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    shown.prediction.uns["nh2st"]["slide"]["fingerprint"] = "of another file"
    panel.pick(12)
    qtbot.waitUntil(panel.pictures_notice.isVisible)
    assert "Open the slide" in panel.pictures_notice.text()


@pytest.mark.parametrize(("name", "found"), [("section.tif", True), ("other.tif", False)])
def test_without_a_fingerprint_the_slide_is_known_by_its_name(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]], name: str, found: bool
) -> None:
    shown, panel = open_panel()
    del shown.prediction.uns["nh2st"]["slide"]["fingerprint"]
    shown.prediction.uns["nh2st"]["slide"]["name"] = name
    panel.pick(12)
    qtbot.waitUntil(looked_up(panel))
    assert panel.pictures.isVisible() == found


def test_a_slide_that_cannot_be_read_any_more_is_a_sentence(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    assert shown.slide.fingerprint
    shown.slide.downsamples = ()
    panel.pick(12)
    qtbot.waitUntil(panel.pictures_notice.isVisible)
    assert "cannot be read" in panel.pictures_notice.text()


def test_the_histogram_is_of_the_shown_gene_with_a_line_at_the_tile(
    open_panel: Callable[..., tuple[Shown, TilePanel]],
) -> None:
    shown, panel = open_panel(gene="CD74")
    panel.pick(30)
    for gene in ("CD74", "VIM"):
        shown.heatmap.gene = gene
        values = shown.prediction[:, gene].X[:, 0].astype(float)
        known = values[np.isfinite(values)]
        assert gene in panel.gene_title.text()
        assert panel.histogram.marked == pytest.approx(values[30])
        assert panel.histogram.counts.sum() == len(known)
        counts, edges = np.histogram(known, 40)
        np.testing.assert_array_equal(panel.histogram.counts, counts)
        np.testing.assert_allclose(panel.histogram.edges, edges)
        panel.histogram.grab()  # it can be drawn


def test_the_histogram_of_equal_values_and_of_none_can_be_drawn(
    open_panel: Callable[..., tuple[Shown, TilePanel]],
) -> None:
    _, panel = open_panel()
    for values, marked in ((np.full(5, 2.0), 2.0), (np.zeros(0), None), (np.array([np.nan]), 1.0)):
        panel.histogram.show_values(values, marked)
        panel.histogram.grab()


def test_a_tile_that_was_pending_shows_its_values_when_they_come(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    last = shown.prediction.n_obs - 2
    panel.pick(last)
    qtbot.waitUntil(looked_up(panel))
    assert "No values: pending" in panel.summary.text()
    assert not len(panel.genes.table)
    assert panel.histogram.marked is None
    shown.prediction.X[last] = 1.5
    shown.heatmap.filled.emit(shown.heatmap)
    qtbot.waitUntil(lambda: len(panel.genes.table) > 0)
    assert panel.histogram.marked == 1.5
    assert "No values" not in panel.summary.text()


def test_a_double_click_on_a_gene_shows_it(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel(gene="CD74")
    panel.pick(30)
    qtbot.waitUntil(looked_up(panel))
    place = panel.genes.table["gene"].tolist().index("VIM")
    panel.genes.view.doubleClicked.emit(panel.genes.view.filter.index(place, 0))
    assert shown.heatmap.gene == "VIM"


def test_when_the_heatmap_goes_the_tile_goes(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    panel.pick(30)
    qtbot.waitUntil(looked_up(panel))
    shown.viewer.layers.remove(shown.heatmap.layer)
    assert panel.tile is None
    assert "picked tile" not in shown.viewer.layers
    panel.pick(30)  # nothing to be about
    assert panel.tile is None


def test_the_tile_of_a_prediction_that_was_replaced_is_forgotten(
    qtbot: QtBot, open_panel: Callable[..., tuple[Shown, TilePanel]]
) -> None:
    shown, panel = open_panel()
    panel.pick(20)
    qtbot.waitUntil(looked_up(panel))
    shown.heatmap.take(drawn_prediction(shown.slide, pitch_um=64.0), shown.slide_layer)
    assert panel.tile is None
    assert "picked tile" not in shown.viewer.layers
    x, y = shown.heatmap.prediction.obsm["spatial"][3]
    click(shown, shown.slide_layer.data_to_world((y - 0.5, x - 0.5)))
    assert panel.tile == 3
