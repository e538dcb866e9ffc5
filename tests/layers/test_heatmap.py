"""The heatmap layer lies where the tiles are: in world coordinates, whatever the slide's scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from array_slides import write_tiff
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import PREDICTION_KEY, SHOWN_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.session import Session
from napari_nh2st.session.contrast_limits import ContrastLimits
from napari_nh2st.slide import open_slide
from shown_predictions import show_prediction
from small_models import MeanColor, color_model

GLASS, BRIGHT = 200, 255
TILE_UM = 32


def slide_with_square(path: Path, center: tuple[float, float], side: float) -> Path:
    pixels = np.full((700, 900, 3), GLASS, np.uint8)
    (top, left), (bottom, right) = (
        np.rint(np.array(center) + offset).astype(int) for offset in (-side / 2, side / 2)
    )
    pixels[top:bottom, left:right] = BRIGHT
    return write_tiff(path, pixels)


def slide_layer(viewer: ViewerModel, path: Path, mpp: float) -> Image:
    ((data, attributes, _),) = read_slide(path, mpp=mpp)
    return viewer.add_image(data, **attributes)


def brightest_world_position(layer: Image) -> np.ndarray:
    """Center of the pixels with the largest value: those of one tile."""
    peak = np.argwhere(layer.data == np.nanmax(layer.data)).mean(0)
    return np.array(layer.data_to_world(peak))


@pytest.mark.parametrize("mpp", [0.5, 1.0])
@pytest.mark.parametrize("pitch_um", [32.0, 48.0])
def test_a_bright_square_is_bright_at_its_place(
    tmp_path: Path, mean_color: type[MeanColor], mpp: float, pitch_um: float
) -> None:
    row, column = 4, 6
    center = (row + 0.5) * pitch_um / mpp, (column + 0.5) * pitch_um / mpp
    path = slide_with_square(tmp_path / "square.tif", center, TILE_UM / mpp)
    settings = PredictSettings(pitch_um=pitch_um, tissue_only=False)
    with open_slide(path, mpp=mpp) as slide:
        prediction = predict(slide, color_model(), settings)
    viewer = ViewerModel()
    on_slide = slide_layer(viewer, path, mpp)
    heatmap = Session.of(viewer).add_heatmap(on_slide, prediction, "RED")

    assert np.nanmax(heatmap.layer.data) == pytest.approx(BRIGHT)
    # A slide's pixel k covers [k, k + 1); napari centers it on k.
    expected = on_slide.data_to_world(np.subtract(center, 0.5))
    np.testing.assert_allclose(brightest_world_position(heatmap.layer), expected, atol=1e-6)
    np.testing.assert_allclose(heatmap.layer.scale * heatmap.raster.height, pitch_um)
    # The square in the slide's own pixels, found through the world: the same place.
    y, x = np.rint(on_slide.world_to_data(expected)).astype(int)
    data = on_slide.data[0] if on_slide.multiscale else on_slide.data
    assert np.asarray(data[y, x]).tolist() == [BRIGHT] * 3


def test_the_heatmap_follows_a_slide_layer_that_was_moved_and_turned(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    center = (112.0, 176.0)
    path = slide_with_square(tmp_path / "square.tif", center, TILE_UM)
    with open_slide(path, mpp=1.0) as slide:
        prediction = predict(slide, color_model(), PredictSettings(tissue_only=False))
    viewer = ViewerModel()
    on_slide = slide_layer(viewer, path, 1.0)
    on_slide.scale, on_slide.translate, on_slide.rotate = (0.25, 0.5), (1000, -50), 30
    heatmap = Session.of(viewer).add_heatmap(on_slide, prediction, "RED")
    expected = on_slide.data_to_world(np.subtract(center, 0.5))
    np.testing.assert_allclose(brightest_world_position(heatmap.layer), expected, atol=1e-3)


def test_tiles_of_a_hexagonal_array_are_bricks_around_their_centers(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    path = write_tiff(tmp_path / "noise.tif", pixels)
    settings = PredictSettings(tissue_only=False, layout="hexagonal", pitch_um=40)
    with open_slide(path, mpp=1.0) as slide:
        prediction = predict(slide, color_model(), settings)
    raster = HeatmapRaster.of(prediction, whole_tiles=True)
    image = raster.image(np.arange(prediction.n_obs))
    for tile, (x, y) in enumerate(prediction.obsm["spatial"]):
        rows, columns = np.nonzero(image == tile)
        assert len(rows) == 2
        center = np.array(raster.center) + np.array(raster.step) * (rows.mean(), columns.mean())
        np.testing.assert_allclose(center, (y, x))


@pytest.fixture
def heatmap(tmp_path: Path, mean_color: type[MeanColor]) -> Heatmap:
    path = slide_with_square(tmp_path / "square.tif", (112, 176), TILE_UM)
    with open_slide(path, mpp=1.0) as slide:
        region = (np.array([[0, 0], [0, 700], [600, 0]]),)
        settings = PredictSettings(tissue_only=False, region=region)
        prediction = predict(slide, color_model(), settings)
    viewer = ViewerModel()
    return Session.of(viewer).add_heatmap(slide_layer(viewer, path, 1.0), prediction, "RED")


def test_where_there_is_no_tile_the_heatmap_is_transparent(heatmap: Heatmap) -> None:
    outside = np.isnan(heatmap.layer.data)
    assert outside.any()
    assert not outside.all()
    assert (heatmap.layer.colormap.map([np.nan])[:, 3] == 0).all()


def test_switching_the_gene_changes_data_name_and_limits_of_the_same_layer(
    heatmap: Heatmap, mean_color: type[MeanColor]
) -> None:
    encoded, layer = mean_color.encoded, heatmap.layer
    heatmap.prediction.X[:, 1] = np.linspace(5, 9, heatmap.prediction.n_obs)
    heatmap.gene = "GREEN"
    assert heatmap.layer is layer
    assert "GREEN" in layer.name
    low, high = layer.contrast_limits
    assert 5 <= low < 5.2
    assert 8.8 < high <= 9
    assert np.nanmin(layer.data) == 5
    assert mean_color.encoded == encoded, "the model ran again"


def test_switching_the_gene_leaves_axes_and_extents_of_the_layers_alone(heatmap: Heatmap) -> None:
    layer, emitted = heatmap.layer, []
    heatmap.prediction.X[:] = np.random.default_rng(0).random(heatmap.prediction.shape)
    heatmap.refresh()
    layer.events.data.connect(emitted.append)
    before, thumbnail = layer.data, layer.thumbnail.copy()
    heatmap.gene = "GREEN"
    assert layer.data is before
    assert not emitted
    np.testing.assert_array_equal(layer.data, heatmap.raster.image(heatmap.values_of("GREEN")))
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data, "what is drawn")
    assert (layer.thumbnail != thumbnail).any()


def test_an_array_that_the_user_put_into_the_layer_is_not_written_into(heatmap: Heatmap) -> None:
    own = np.zeros_like(heatmap.layer.data)
    heatmap.refresh()
    heatmap.layer.data = own
    heatmap.gene = "GREEN"
    assert not own.any()
    assert heatmap.layer.data is not own


def test_contrast_that_the_user_lets_napari_set_is_set_for_each_gene(heatmap: Heatmap) -> None:
    heatmap.refresh()
    heatmap.layer.auto_contrast = True
    emitted: list[object] = []
    heatmap.layer.events.data.connect(emitted.append)
    heatmap.gene = "GREEN"
    assert emitted


def test_limits_set_by_hand_stay_until_another_gene_is_shown(heatmap: Heatmap) -> None:
    values = heatmap.prediction.X
    values[:, 0] = np.linspace(0, 1, len(values))
    heatmap.refresh()
    assert heatmap.layer.contrast_limits[1] <= 1
    values[:, 0] *= 10
    heatmap.refresh()
    assert heatmap.layer.contrast_limits[1] > 5, "untouched limits follow the values"
    heatmap.layer.contrast_limits = (2, 3)
    values[:, 0] /= 100
    heatmap.refresh()
    assert tuple(heatmap.layer.contrast_limits) == (2, 3)
    values[:, 1] = np.linspace(5, 9, len(values))
    heatmap.gene = "GREEN"
    assert heatmap.layer.contrast_limits[0] >= 5


def test_limits_set_by_hand_are_known_to_whoever_takes_the_layer_up(heatmap: Heatmap) -> None:
    values = np.linspace(0, 1, heatmap.prediction.n_obs)
    heatmap.prediction.X[:, 0] = values
    heatmap.refresh()
    assert TileImage(heatmap.layer, heatmap.raster).follows
    heatmap.layer.contrast_limits = (0.2, 0.3)
    again = TileImage(heatmap.layer, heatmap.raster)
    again.values = values
    ContrastLimits().join(again)
    assert heatmap.layer.contrast_limits == [0.2, 0.3]
    again.renew_limits()
    assert TileImage(heatmap.layer, heatmap.raster).follows


def test_the_layer_carries_its_prediction(heatmap: Heatmap) -> None:
    assert heatmap.layer.metadata[PREDICTION_KEY] is heatmap.prediction
    assert heatmap.layer.colorbar.visible


def test_what_is_shown_is_known_whatever_it_is_called(heatmap: Heatmap) -> None:
    names = heatmap.prediction.var_names.to_numpy(object).copy()
    names[1:] = ["GREEN · 2", "GREEN"]
    heatmap.prediction.var_names = names
    heatmap.slide_name = "a · b"
    heatmap.gene = "GREEN · 2"
    layer = heatmap.layer
    for name in (layer.name, "my own"):
        layer.name = name
        again = known_from(layer)
        assert (again.gene, again.slide_name) == ("GREEN · 2", "a · b")
        assert again.renamed == (name == "my own")
    layer.name = "GREEN · a · b [1]"  # napari numbers names that are taken
    layer.metadata[SHOWN_KEY]["name"] = "GREEN · a · b"
    assert (known_from(layer).gene, known_from(layer).renamed) == ("GREEN · 2", False)
    layer.metadata.pop(SHOWN_KEY)
    again = known_from(layer)
    assert (again.gene, again.renamed) == ("GREEN · 2", True), "as a file of it opens"


def known_from(layer: Image) -> Heatmap:
    """The heatmap of a layer that nobody knows any more."""
    viewer = ViewerModel()
    copy = Image(layer.data, name=layer.name, metadata=deepcopy_of_shown(layer))
    viewer.add_layer(copy)
    heatmap = Session.of(viewer).heatmap_of(copy)
    assert heatmap is not None
    return heatmap


def deepcopy_of_shown(layer: Image) -> dict[str, Any]:
    shown = {SHOWN_KEY: dict(layer.metadata[SHOWN_KEY])} if SHOWN_KEY in layer.metadata else {}
    return dict(layer.metadata) | shown


def test_while_it_fills_limits_that_hardly_change_stay(tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    heatmap, layer = shown.heatmap, shown.heatmap.layer
    column = heatmap.prediction.var_names.get_loc(heatmap.gene)
    before = list(layer.contrast_limits)
    span = before[1] - before[0]
    heatmap.prediction.X[:, column] += 0.02 * span
    heatmap.refresh(filling=True)
    assert layer.contrast_limits == before
    np.testing.assert_array_equal(
        np.sort(layer.data[np.isfinite(layer.data)]),
        np.sort(heatmap.values_of(heatmap.gene)[np.isfinite(heatmap.values_of(heatmap.gene))]),
    )
    heatmap.refresh()
    np.testing.assert_allclose(layer.contrast_limits, np.add(before, 0.02 * span), rtol=1e-3)
    heatmap.prediction.X[:, column] += 5 * span
    heatmap.refresh(filling=True)
    assert layer.contrast_limits[0] > before[1]


def test_robust_limits_leave_extremes_and_gaps_out() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1e6, np.nan]])
    low, high = robust_limits(values)
    assert 0 <= low < 0.05
    assert 0.95 < high < 1.05


@pytest.mark.parametrize("values", [[np.nan, np.nan], [3.0, 3.0, np.nan], [0.0], []])
def test_robust_limits_are_limits_whatever_comes(values: list[float]) -> None:
    low, high = robust_limits(np.array(values))
    assert low < high


def test_a_map_of_the_same_place_moves_nothing(heatmap: Heatmap, tmp_path: Path) -> None:
    layer, slide = heatmap.layer, ViewerModel()
    on_slide = slide_layer(slide, tmp_path / "square.tif", 1.0)
    heatmap.take(heatmap.prediction.copy(), on_slide)
    events: list[str] = []
    for name in ("scale", "translate", "rotate", "shear", "affine", "units"):
        getattr(layer.events, name).connect(lambda event: events.append(event.type))
    heatmap.take(heatmap.prediction.copy(), on_slide)
    assert events == []
    on_slide.translate = (5, 0)
    on_slide.rotate = 10
    heatmap.take(heatmap.prediction.copy(), on_slide)
    assert "affine" in events
    raster = heatmap.raster
    pixel = np.array([raster.rows[0], raster.columns[0]])
    at = np.array(raster.center) + np.array(raster.step) * pixel - 0.5
    np.testing.assert_allclose(layer.data_to_world(pixel), on_slide.data_to_world(at), atol=1e-6)
    on_slide.rotate = 0
    heatmap.take(heatmap.prediction.copy(), on_slide)
    np.testing.assert_allclose(layer.affine.affine_matrix, np.eye(3))
    np.testing.assert_allclose(layer.rotate, np.eye(2))
