"""A heatmap over a real run's tissue: no color over glass, picked and drawn as its tiles lie."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from array_slides import write_tiff
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.picked_tile import PickedTile
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.tile_positions import tile_at
from napari_nh2st.session import Session
from napari_nh2st.tiles import find_tissue
from small_models import MeanColor, color_model


@pytest.fixture
def session(tmp_path: Path, mean_color: type[MeanColor]) -> Iterator[Session]:
    """A prediction at a step of 25 µm over tissue that is no rectangle and ends with the slide."""
    pixels = np.full((640, 810, 3), 245, np.uint8)
    y, x = np.ogrid[:640, :810]
    disc = np.hypot(y - 400, x - 500) < 330
    random = np.random.default_rng(0)
    pixels[disc] = random.normal((190, 90, 150), 25, (int(disc.sum()), 3)).clip(0, 255)
    ((data, attributes, _),) = read_slide(write_tiff(tmp_path / "disc.tif", pixels), mpp=1.0)
    viewer = ViewerModel()
    layer = viewer.add_image(data, **attributes)
    model = color_model(pitch_um=100.0)
    prediction = predict(layer.metadata[SLIDE_KEY], model, PredictSettings(step_um=25.0))
    prediction.X[:, 0] = np.arange(prediction.n_obs)
    session = Session.of(viewer)
    session.add_heatmap(layer, prediction, "RED")
    yield session
    viewer.layers.clear()


def shown_on_slide(session: Session, image: np.ndarray) -> np.ndarray:
    """(m, 2) where the pixels that are not empty lie, in full-resolution pixels of the slide."""
    heatmap, (slide_layer,) = session.heatmap, session.slides
    index = np.argwhere(np.isfinite(image))
    return (
        np.array([slide_layer.world_to_data(heatmap.layer.data_to_world(at)) for at in index[::7]])
        + 0.5
    )


def test_there_is_no_color_over_glass_nor_beyond_the_slide(session: Session) -> None:
    slide = session.slides[0].metadata[SLIDE_KEY]
    mask = find_tissue(slide)
    layer = session.heatmap.layer
    for interpolation in ("nearest", "linear"):
        layer.interpolation2d = interpolation
        at = shown_on_slide(session, layer.data)
        assert len(at) > 500
        assert ((at >= 0) & (at < slide.shape)).all()
        row, column = np.floor(at / mask.downsample).astype(int).T
        assert mask.tissue[row, column].mean() > 0.99
    centers = session.prediction.obsm["spatial"]
    assert (centers < (810, 640)).all(), "a tile's center lies on the slide"


def test_the_map_is_drawn_anew_where_it_is_to_be_smooth(session: Session) -> None:
    heatmap, pin = session.heatmap, session.pins.pin("GREEN")
    tiles = heatmap.layer.data.copy()
    assert len(np.unique(tiles[np.isfinite(tiles)])) <= heatmap.prediction.n_obs
    heatmap.layer.interpolation2d = "linear"
    smooth = heatmap.layer.data.copy()
    np.testing.assert_array_equal(np.isfinite(smooth), np.isfinite(tiles))
    np.testing.assert_array_equal(
        smooth, heatmap.raster.image(heatmap.values_of("RED"), smooth=True)
    )
    assert len(np.unique(smooth[np.isfinite(smooth)])) > 2 * heatmap.prediction.n_obs
    heatmap.gene = "BLUE"
    np.testing.assert_array_equal(
        heatmap.layer.data, heatmap.raster.image(heatmap.values_of("BLUE"), smooth=True)
    )
    heatmap.gene = "RED"
    heatmap.layer.interpolation2d = "nearest"
    np.testing.assert_array_equal(heatmap.layer.data, tiles)
    assert pin.layer.data.shape == tiles.shape
    pin.layer.interpolation2d = "linear"
    np.testing.assert_array_equal(
        pin.layer.data, heatmap.raster.image(heatmap.values_of("GREEN"), smooth=True)
    )


def test_a_tile_is_picked_and_framed_where_it_lies_also_over_glass(session: Session) -> None:
    heatmap, prediction = session.heatmap, session.prediction
    slide_layer = session.slides[0]
    for tile in (0, 17, prediction.n_obs // 2, prediction.n_obs - 1):
        center = prediction.obsm["spatial"][tile, ::-1]
        for off in ((0.0, 0.0), (-12.0, 12.0), (12.0, -12.0)):
            assert tile_at(heatmap, slide_layer.data_to_world(center + off - 0.5)) == tile
    picked = PickedTile(session.viewer)
    picked.mark(heatmap, np.array([17]))
    (marker,) = [layer for layer in session.viewer.layers if layer.name == "picked tile"]
    frames = [
        np.array([slide_layer.world_to_data(marker.data_to_world(at)) for at in frame]) + 0.5
        for frame in marker.data
    ]
    center = prediction.obsm["spatial"][17, ::-1]
    sides = sorted(float(np.ptp(frame, 0).mean()) for frame in frames)
    assert sides[0] == pytest.approx(25.0, abs=0.01), "as it is drawn"
    for frame in frames:
        np.testing.assert_allclose(frame.mean(0), center, atol=0.01)


def test_domains_end_where_the_tissue_does(session: Session) -> None:
    heatmap = session.heatmap
    labels = np.arange(heatmap.prediction.n_obs) % 3 + 1
    session.domains.put(heatmap, NamedDomains(labels, ("a", "b", "c"), heatmap.prediction.var[:0]))
    layer = session.domains.layer_of(heatmap)
    assert layer is not None
    shown = np.isfinite(heatmap.layer.data)
    np.testing.assert_array_equal(layer.data > 0, shown)
    numbers = heatmap.layer.data[shown].astype(int)
    np.testing.assert_array_equal(layer.data[shown], labels[numbers])
    np.testing.assert_allclose(layer.scale, heatmap.layer.scale)
