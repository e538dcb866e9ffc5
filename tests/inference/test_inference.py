"""Predictions over a slide equal those of a plain loop over its tiles."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from anndata import AnnData
from numpy.typing import NDArray

from array_slides import ArrayLevel, Pixels, array_slide, textured, write_tiff
from napari_nh2st.inference import (
    Event,
    Finished,
    Focus,
    PredictSettings,
    Started,
    TilesDone,
    predict,
    predict_events,
)
from napari_nh2st.inference.schedule import Schedule
from napari_nh2st.model.encoders import IMAGENET_MEAN, IMAGENET_STD
from napari_nh2st.model.folder import Model
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST
from napari_nh2st.slide import Slide, open_slide
from small_models import MeanColor, color_model, small_model

torch.set_num_threads(1)

PLAIN = {"device": "cpu", "precision": "float32", "tissue_only": False}


def area_average(pixels: Pixels, extent: tuple[float, float], size: int) -> NDArray[np.float64]:
    """Mean over each new pixel's area, source pixels counted by the share that is covered."""

    def along(image: NDArray[np.float64], length: float) -> NDArray[np.float64]:
        step = length / size
        rows = []
        for new in range(size):
            low, high = new * step, (new + 1) * step
            total = 0.0
            for source in range(int(low), int(np.ceil(high - 1e-9))):
                total = total + image[source] * (min(high, source + 1) - max(low, source))
            rows.append(total / step)
        return np.array(rows)

    vertical = along(pixels.astype(float), extent[0])
    return along(vertical.swapaxes(0, 1), extent[1]).swapaxes(0, 1)


def tile_by_tile(slide: Slide, model: Model, prediction: AnnData, level: int) -> list[Pixels]:
    """The tile of every row, at the model's size."""
    config = model.config
    um_per_px = np.multiply(slide.mpp, slide.downsamples[level])
    extent = config.tile_px * config.mpp / um_per_px
    tiles = []
    for x, y in prediction.obsm["spatial"]:
        corner = np.array([y, x]) / slide.downsamples[level] - extent / 2
        top, left = np.floor(corner + 0.5).astype(int)
        height, width = np.ceil(extent - 1e-9).astype(int)
        pixels = slide.levels[level].read(top, left, height, width)
        tiles.append(area_average(pixels, tuple(extent), config.tile_px))
    return tiles


def nearest_nine(slide: Slide, prediction: AnnData) -> list[list[int]]:
    um = prediction.obsm["spatial"][:, ::-1] * slide.mpp
    found = []
    for own, center in enumerate(um):
        distance = np.round(np.linalg.norm(um - center, axis=1), 6)
        distance[own] = -1
        found.append(sorted(range(len(um)), key=lambda i: (distance[i], i))[:9])
    return found


@torch.inference_mode()
def plain_loop(
    slide: Slide, model: Model, prediction: AnnData, level: int, failed: tuple[int, ...] = ()
) -> NDArray[np.float32]:
    """What the network predicts for every row, one after the other."""
    network = model.network
    assert isinstance(network, NH2ST)
    maps = []
    for pixels in tile_by_tile(slide, model, prediction, level):
        normalized = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
        maps.append(network.encode(torch.tensor(normalized).permute(2, 0, 1)[None].float())[0])
    values = np.full(prediction.shape, np.nan, np.float32)
    for tile, near in enumerate(nearest_nine(slide, prediction)):
        if tile not in failed:
            around = torch.stack([maps[i] for i in near if i not in failed])
            values[tile] = network.predict(around, torch.arange(len(around))[None])[0].numpy()
    return values


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    """Two levels at 0.5 and 1.5 µm/px; neither size nor µm/px is a multiple of the model's."""
    pixels = textured(363, 429)
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_tiff(path, pixels, pixels.reshape(121, 3, 143, 3, 3).mean((1, 3)).astype(np.uint8))
    with open_slide(path, mpp=0.5) as opened:
        yield opened


Expected = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def expected(slide: Slide) -> Expected:
    """By context, the plain loop's values."""
    values = {}
    for context in ("query", "average", "neighborhood"):
        model = small_model(context)
        values[context] = plain_loop(slide, model, empty_prediction(slide, model), level=0)
    return values


def empty_prediction(slide: Slide, model: Model) -> AnnData:
    events = predict_events(slide, model, PredictSettings(**PLAIN))
    started = next(events)
    events.close()
    assert isinstance(started, Started)
    return started.prediction


def assert_same(found: AnnData, expected: NDArray[np.float32]) -> None:
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found.X, expected, rtol=0, atol=1e-4 * scale)


def count_encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of tiles in each call of the encoder, filled as they come."""
    calls: list[int] = []
    encode = PreparedNH2ST.encode

    def counted(self: PreparedNH2ST, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        calls.append(len(tiles))
        return encode(self, tiles)

    monkeypatch.setattr(PreparedNH2ST, "encode", counted)
    return calls


@pytest.mark.parametrize(
    ("context", "order", "batch_size"),
    [
        ("query", "raster", 7),
        ("query", "coarse-to-fine", 64),
        ("average", "raster", 64),
        ("average", "coarse-to-fine", 1),
        ("neighborhood", "raster", 1),
        ("neighborhood", "raster", 7),
        ("neighborhood", "raster", 64),
        ("neighborhood", "coarse-to-fine", 7),
    ],
)
def test_prediction_equals_a_plain_loop_and_encodes_each_tile_once(
    slide: Slide,
    expected: Expected,
    monkeypatch: pytest.MonkeyPatch,
    context: str,
    order: str,
    batch_size: int,
) -> None:
    calls = count_encoded(monkeypatch)
    settings = PredictSettings(order=order, batch_size=batch_size, reader_threads=3, **PLAIN)
    prediction = predict(slide, small_model(context), settings)
    assert prediction.n_obs == 42
    assert_same(prediction, expected[context])
    # Each tile once, and the last batch filled up.
    assert calls == [batch_size] * -(-42 // batch_size)
    assert (prediction.obs["status"] == "predicted").all()


@pytest.mark.parametrize("context", ["query", "neighborhood"])
def test_prediction_is_the_same_wherever_one_looks(
    slide: Slide, expected: Expected, context: str
) -> None:
    focus = Focus((300.0, 300.0, 363.0, 429.0))
    settings = PredictSettings(order="coarse-to-fine", batch_size=3, **PLAIN)
    prediction = None
    for number, event in enumerate(
        predict_events(slide, small_model(context), settings, focus=focus)
    ):
        focus.move((70.0 * number, 0.0, 70.0 * number + 60, 429.0))
        prediction = event.prediction
    assert prediction is not None
    assert_same(prediction, expected[context])


def test_tiles_in_view_are_predicted_first(slide: Slide, mean_color: type[MeanColor]) -> None:
    focus = Focus((130.0, 130.0, 260.0, 260.0))
    settings = PredictSettings(batch_size=4, **PLAIN)
    events = list(predict_events(slide, color_model(), settings, focus=focus))
    first = next(event for event in events if isinstance(event, TilesDone))
    centers = first.prediction.obsm["spatial"][first.tiles]
    assert len(centers) == 4
    assert ((centers >= 130) & (centers <= 260)).all()


def test_tiles_come_from_the_nearest_finer_level(slide: Slide) -> None:
    # At 1.6 µm/px the level of 1.5 is finer; at 1.4 only level 0 is.
    for mpp, level in ((1.6, 1), (1.4, 0)):
        model = small_model("average", mpp=mpp, pitch_um=60.0)
        prediction = predict(slide, model, PredictSettings(step_um=60.0, **PLAIN))
        assert_same(prediction, plain_loop(slide, model, prediction, level))


def test_level_of_nearly_the_models_resolution_is_taken_as_it_is(slide: Slide) -> None:
    model = small_model(mpp=1.492, pitch_um=60.0)
    prediction = predict(slide, model, PredictSettings(**PLAIN))
    exact = small_model(mpp=1.5, pitch_um=60.0)
    assert_same(prediction, plain_loop(slide, exact, prediction, level=1))


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_anisotropic_slides_and_both_layouts(layout: str) -> None:
    slide = array_slide(ArrayLevel(textured(170, 420)), mpp=(1.0, 0.4))
    model = small_model("neighborhood")
    prediction = predict(slide, model, PredictSettings(layout=layout, **PLAIN))
    assert_same(prediction, plain_loop(slide, model, prediction, level=0))


def test_fewer_tiles_than_a_neighborhood_are_predicted_from_what_there_is() -> None:
    slide = array_slide(ArrayLevel(textured(100, 170)))
    model = small_model("neighborhood")
    prediction = predict(slide, model, PredictSettings(**PLAIN))
    assert prediction.n_obs == 6
    assert_same(prediction, plain_loop(slide, model, prediction, level=0))


def test_genes_are_columns_in_the_order_wanted(slide: Slide, expected: Expected) -> None:
    settings = PredictSettings(genes=("VIM", "ERBB2", "VIM"), **PLAIN)
    prediction = predict(slide, small_model(), settings)
    assert prediction.var_names.tolist() == ["VIM", "ERBB2"]
    assert_same(prediction, expected["query"][:, [4, 0]])


def test_bfloat16_is_near_float32(slide: Slide, expected: Expected) -> None:
    settings = PredictSettings(**(PLAIN | {"precision": "bfloat16"}))
    prediction = predict(slide, small_model("average"), settings)
    assert prediction.uns["nh2st"]["run"] == {"device": "cpu", "precision": "bfloat16"}
    error = np.abs(prediction.X - expected["average"]).max()
    assert 0 < error < 3e-2 * np.abs(expected["average"]).max()


@pytest.mark.parametrize(
    ("context", "batch_size"),
    [("query", 7), ("average", 1), ("neighborhood", 7), ("neighborhood", 64)],
)
def test_damaged_tiles_are_nan_with_a_reason_and_others_go_on_without_them(
    context: str, batch_size: int
) -> None:
    pixels = textured(363, 429)
    model = small_model(context)
    good = array_slide(ArrayLevel(pixels))
    damaged = array_slide(ArrayLevel(pixels, damaged=[(0, 0), (2, 3)]))
    settings = PredictSettings(batch_size=batch_size, **PLAIN)
    events = list(predict_events(damaged, model, settings))
    finished = events[-1]
    assert isinstance(finished, Finished)
    prediction = finished.prediction
    # Tiles of 64 px lie on segments of 64 px: one each.
    status = prediction.obs["status"].to_dict()
    assert status.pop("0x0") == "segment (0, 0) is damaged"
    assert status.pop("2x3") == "segment (2, 3) is damaged"
    assert set(status.values()) == {"predicted"}
    assert finished.n_failed == 2

    failed = tuple(prediction.obs_names.get_indexer(["0x0", "2x3"]).tolist())
    assert_same(prediction, plain_loop(good, model, prediction, 0, failed))
    done = np.concatenate([e.tiles for e in events if isinstance(e, TilesDone)])
    np.testing.assert_array_equal(np.sort(done), np.arange(42))


def test_events_tell_how_far_it_is(slide: Slide, mean_color: type[MeanColor]) -> None:
    events = list(predict_events(slide, color_model(), PredictSettings(batch_size=10, **PLAIN)))
    started, *between, finished = events
    assert isinstance(started, Started)
    assert (started.done, started.total, started.device) == (0, 42, "cpu")
    assert isinstance(finished, Finished)
    assert finished.n_failed == 0
    assert all(isinstance(event, TilesDone) for event in between)
    assert [event.done for event in between] == [10, 20, 30, 40, 42]
    assert all(event.prediction is finished.prediction for event in between)
    assert all(event.tiles_per_s > 0 for event in between)
    assert between[-1].seconds_left == 0


def test_values_are_there_when_their_event_comes(slide: Slide, mean_color: type[MeanColor]) -> None:
    filled = np.zeros(42, bool)
    for event in predict_events(slide, color_model(), PredictSettings(batch_size=5, **PLAIN)):
        if isinstance(event, TilesDone):
            filled[event.tiles] = True
            assert (np.isfinite(event.prediction.X).all(1) == filled).all()
    assert filled.all()


def test_closing_stops_the_readers_and_says_what_is_done(
    slide: Slide, mean_color: type[MeanColor]
) -> None:
    events = predict_events(slide, color_model(), PredictSettings(batch_size=5, **PLAIN))
    next(events)
    event = next(events)
    assert isinstance(event, TilesDone)
    events.close()
    status = event.prediction.obs["status"]
    assert (status.iloc[event.tiles] == "predicted").all()
    assert (status == "pending").sum() == 42 - 5
    assert not [t for t in threading.enumerate() if t.name.startswith("nh2st-reader")]


def test_predict_passes_every_event_on(slide: Slide, mean_color: type[MeanColor]) -> None:
    events: list[Event] = []
    prediction = predict(slide, color_model(), PredictSettings(**PLAIN), on_event=events.append)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert events[-1].prediction is prediction


def test_mean_color_is_predicted_exactly(slide: Slide, mean_color: type[MeanColor]) -> None:
    model = color_model()
    prediction = predict(slide, model, PredictSettings(**PLAIN))
    means = [tile.mean((0, 1)) for tile in tile_by_tile(slide, model, prediction, 0)]
    np.testing.assert_allclose(prediction.X, means, rtol=1e-5)


def test_each_native_segment_is_decoded_once(mean_color: type[MeanColor]) -> None:
    level = ArrayLevel(textured(700, 900), (100, 130))
    settings = PredictSettings(batch_size=8, reader_threads=4, **PLAIN)
    slide = array_slide(level)
    for event in predict_events(slide, color_model("average"), settings):
        if isinstance(event, Started):
            level.decoded.clear()  # of the overview
    assert len(level.decoded) == 49
    assert set(level.decoded.values()) == {1}


def test_a_batch_too_large_for_the_device_is_halved(
    slide: Slide, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, sizes = PreparedNH2ST.encode, []

    def small_memory(self: PreparedNH2ST, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        sizes.append(len(tiles))
        if len(tiles) > 10:
            raise torch.OutOfMemoryError
        return encode(self, tiles)

    monkeypatch.setattr(PreparedNH2ST, "encode", small_memory)
    settings = PredictSettings(batch_size=64, **PLAIN)
    assert_same(predict(slide, small_model("average"), settings), expected["average"])
    assert sizes[:4] == [64, 32, 16, 8]
    assert set(sizes[3:]) == {8}, "what fits is not found anew for every batch"


def test_reading_stays_a_bounded_number_of_batches_ahead(
    mean_color: type[MeanColor], monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[int] = []
    iterate = Schedule.__iter__

    def counted(self: Schedule) -> Iterator[NDArray[np.int64]]:
        for batch in iterate(self):
            handed.append(len(batch))
            yield batch

    monkeypatch.setattr(Schedule, "__iter__", counted)
    slide = array_slide(ArrayLevel(textured(640, 960)))
    settings = PredictSettings(batch_size=2, reader_threads=2, **PLAIN)
    ahead = [
        len(handed) - event.done / 2
        for event in predict_events(slide, color_model(), settings)
        if isinstance(event, TilesDone)
    ]
    assert len(ahead) == 75
    assert max(ahead) <= 2 + 2


@pytest.mark.parametrize("context", ["query", "average", "neighborhood"])
def test_a_region_leaves_the_prediction_of_its_tiles_as_it_is(context: str) -> None:
    slide = array_slide(ArrayLevel(textured(400, 480)), mpp=1.0)
    model = small_model(context)
    whole = predict(slide, model, PredictSettings(**PLAIN))
    # With the slide's corner, where several tiles tie for the ninth place.
    region = [[(90, -9), (90, 330), (410, 330), (410, -9)]]
    part = predict(slide, model, PredictSettings(**PLAIN, region=region))
    assert 0 < part.n_obs < whole.n_obs
    np.testing.assert_allclose(part.X, whole[part.obs_names].X, rtol=1e-4, atol=1e-5)
    assert (part.obs["status"] == "predicted").all()


@pytest.mark.parametrize("order", ["raster", "coarse-to-fine"])
def test_segments_as_wide_as_the_slide_are_decoded_once(
    mean_color: type[MeanColor], order: str
) -> None:
    level = ArrayLevel(textured(210, 6000), segment_shape=(48, 6000))
    settings = PredictSettings(**PLAIN, order=order, reader_threads=1)
    for event in predict_events(array_slide(level, mpp=1.0), color_model(), settings):
        if isinstance(event, Started):
            level.decoded.clear()
    assert max(level.decoded.values()) == 1
    assert len(level.decoded) == 5
