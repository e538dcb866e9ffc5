"""What is in view of a slide, by camera and canvas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from array_slides import write_tiff
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.view_on_slide import view_on_slide
from napari_nh2st.tiles.grid import tile_grid

MPP = 0.5
PITCH_UM = 8.0


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.random.default_rng(0).integers(90, 240, (3000, 4000, 3), np.uint8)
    levels = [np.ascontiguousarray(pixels[::step, ::step]) for step in (1, 2, 4)]
    return write_tiff(tmp_path_factory.mktemp("slides") / "pyramid.tif", *levels, segment=512)


def open_slide_layer(viewer: Any, path: Path, **changed: Any) -> Any:
    ((data, attributes, _),) = read_slide(path, mpp=MPP)
    return viewer.add_image(data, **(attributes | changed))


@pytest.mark.parametrize("px_in_view", [300, 900, 2400])
def test_as_many_tiles_are_in_view_as_fit_the_canvas_at_any_zoom(
    make_napari_viewer: Callable[..., Any], pyramid: Path, px_in_view: int
) -> None:
    viewer = make_napari_viewer()
    layer = open_slide_layer(viewer, pyramid)
    camera, canvas = viewer.scene.camera, viewer.canvas
    # Across a border of the file's chunks.
    camera.center = (MPP * 1500, MPP * 2000)
    camera.zoom = min(canvas.size) / (px_in_view * MPP)
    viewer.screenshot(canvas_only=True, flash=False)
    corners = view_on_slide(viewer, layer)
    assert corners is not None
    grid = tile_grid(
        layer.metadata[SLIDE_KEY], tile_um=8, pitch_um=PITCH_UM, mask=None, region=(corners,)
    )
    height, width = np.minimum(np.array(canvas.size) / camera.zoom, (3000 * MPP, 4000 * MPP))
    expected = height * width / PITCH_UM**2
    at_the_edges = (height + width) / PITCH_UM
    assert abs(len(grid.array) - expected) <= at_the_edges


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_the_corners_of_the_canvas_are_found_on_a_slide_that_was_moved(
    pyramid: Path, turn: float
) -> None:
    viewer = ViewerModel()
    place = {"scale": (2.0, 3.0), "translate": (50, -20), "rotate": turn}
    layer = open_slide_layer(viewer, pyramid, **place)
    viewer.canvas.size = (100, 200)
    viewer.scene.camera.zoom, viewer.scene.camera.center = 0.5, (400.0, 600.0)
    corners = view_on_slide(viewer, layer)
    assert corners is not None
    seen = [layer.data_to_world(corner - 0.5) for corner in corners]
    np.testing.assert_allclose(seen, [(300, 400), (300, 800), (500, 800), (500, 400)])


def test_beside_the_slide_nothing_of_it_is_in_view(pyramid: Path) -> None:
    viewer = ViewerModel()
    layer = open_slide_layer(viewer, pyramid)
    viewer.scene.camera.zoom = 2.0
    viewer.scene.camera.center = (-5000.0, 0.0)
    assert view_on_slide(viewer, layer) is None


def test_in_3d_all_of_the_slide_counts(pyramid: Path) -> None:
    viewer = ViewerModel()
    layer = open_slide_layer(viewer, pyramid)
    viewer.dims.ndisplay = 3
    viewer.scene.camera.zoom = 100.0
    corners = view_on_slide(viewer, layer)
    np.testing.assert_allclose(corners, [(0, 0), (0, 4000), (3000, 4000), (3000, 0)])
