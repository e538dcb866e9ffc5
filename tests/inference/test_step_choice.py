"""The step that is taken where none is asked for, and what each step costs."""

from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.cache import cache_folder
from napari_nh2st.errors import InputError
from napari_nh2st.inference import (
    Detail,
    PredictSettings,
    Started,
    TilesDone,
    estimate,
    predict,
    predict_events,
)
from napari_nh2st.inference.speed import SpeedMeter, known_speed, remember_speed
from napari_nh2st.inference.step_costs import step_costs
from napari_nh2st.inference.steps import finest_that_fits, offered_divisions
from napari_nh2st.slide import Slide
from small_models import MeanColor, color_model

pytestmark = pytest.mark.usefixtures("mean_color")

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=16, reader_threads=1
)


def slide_of(height: int = 900, width: int = 1200) -> Slide:
    return array_slide(ArrayLevel(textured(height, width)), mpp=1.0)


def started(slide: Slide, pitch_um: float = 100.0, **settings: Any) -> Started:
    events = predict_events(slide, color_model(pitch_um=pitch_um), replace(SETTINGS, **settings))
    event = next(events)
    events.close()
    assert isinstance(event, Started)
    return event


@pytest.mark.parametrize(
    ("pitch", "step"), [(200.0, 50.0), (100.0, 25.0), (60.0, 30.0), (32.0, 32.0)]
)
def test_a_quarter_of_the_pitch_is_taken_unless_that_is_too_fine(pitch: float, step: float) -> None:
    assert started(slide_of(300, 400), pitch).grid.step_um == step
    assert pitch / offered_divisions(pitch)[0] == step


def test_a_pitch_or_a_step_that_is_given_is_taken() -> None:
    slide = slide_of(300, 400)
    assert started(slide, pitch_um=60.0, step_um=20.0).grid.step_um == 20.0
    event = started(slide, 100.0, step_um=100.0)
    assert (event.grid.pitch_um, event.grid.step_um) == (100.0, 100.0)
    settings = replace(SETTINGS, pitch_um=50.0)
    event = next(predict_events(slide, color_model(pitch_um=100.0), settings))
    assert isinstance(event, Started)
    assert (event.grid.pitch_um, event.grid.step_um) == (50.0, 50.0)


def test_a_coarser_step_is_taken_where_the_finest_takes_too_long() -> None:
    remember_speed(color_model().config, SETTINGS, 10.0)
    event = started(slide_of())
    assert event.grid.step_um == 50.0
    assert event.seconds == len(event.grid) / 10
    said = "Values are 50 µm apart: 25 µm would be 1,728 tiles · 2 min 53 s. Give the step"
    assert [notice for notice in event.notices if notice.startswith(said)]
    assert started(slide_of(), detail_seconds=1000).grid.step_um == 25.0
    assert started(slide_of(), detail_seconds=1).grid.step_um == 100.0
    assert started(slide_of(), step_um=25.0).grid.step_um == 25.0


@pytest.mark.parametrize("context", ["query", "average"])
def test_where_the_speed_is_not_known_the_first_tiles_are_timed_and_kept(
    mean_color: type[MeanColor], context: str
) -> None:
    model = color_model(context, pitch_um=100.0)
    expected = predict(slide_of(), model, replace(SETTINGS, step_um=25.0))
    (file,) = cache_folder("speeds").iterdir()
    file.unlink()
    mean_color.encoded = 0
    done: list[int] = []
    for event in predict_events(slide_of(), model, SETTINGS):
        if isinstance(event, Started):
            assert event.grid.step_um == 25.0
            assert event.seconds is not None
            assert event.done == 0
            timed = mean_color.encoded
            assert 0 < timed < 100
        elif isinstance(event, TilesDone):
            done += event.tiles.tolist()
    assert event.prediction.X.tobytes() == expected.X.tobytes()
    assert sorted(done) == list(range(expected.n_obs))
    again = timed if context == "average" else 0  # neighbors of others are encoded again, at most
    assert expected.n_obs <= mean_color.encoded <= expected.n_obs + again
    assert known_speed(model.config, SETTINGS) is not None


def test_the_speed_that_is_shown_does_not_count_the_tiles_that_were_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = count()
    monkeypatch.setattr("time.perf_counter", lambda: float(next(seconds)))
    events = predict_events(slide_of(), color_model(pitch_um=100.0), SETTINGS)
    early, first = (event for event in islice(events, 3) if isinstance(event, TilesDone))
    events.close()
    assert len(early.tiles) > 3 * len(first.tiles)
    assert first.tiles_per_s <= len(first.tiles), "each look at the clock takes a second"
    assert first.seconds_left == (first.total - first.done) / first.tiles_per_s


def test_a_stopped_run_goes_on_with_its_step_whatever_the_speed_is_by_then(tmp_path: Path) -> None:
    model, output = color_model(pitch_um=100.0), tmp_path / "out.h5ad"
    events = predict_events(slide_of(), model, SETTINGS, output=output)
    for event in events:
        if isinstance(event, TilesDone) and event.done > 100:
            break
    events.close()
    remember_speed(model.config, SETTINGS, 1.0)
    assert started(slide_of()).grid.step_um == 100.0
    going_on = next(predict_events(slide_of(), model, SETTINGS, output=output))
    assert isinstance(going_on, Started)
    assert going_on.grid.step_um == 25.0
    assert going_on.done > 100


def test_what_each_step_costs() -> None:
    slide, model = slide_of(300, 400), color_model(pitch_um=100.0)
    assert [str(detail) for detail in estimate(slide, model, SETTINGS)] == [
        "100 µm · 12 tiles",
        "50 µm · 48 tiles",
        "25 µm · 192 tiles",
    ]
    remember_speed(model.config, SETTINGS, 2.0)
    assert [str(detail) for detail in estimate(slide, model, SETTINGS)] == [
        "100 µm · 12 tiles · 6 s",
        "50 µm · 48 tiles · 24 s",
        "25 µm · 192 tiles · 1 min 36 s",
    ]
    region = [[(0.0, 0.0), (0.0, 201.0), (101.0, 201.0), (101.0, 0.0)]]
    part = estimate(slide, model, replace(SETTINGS, step_um=50.0, region=region))
    assert part == [Detail(50.0, len(started(slide, step_um=50.0, region=region).grid), 7.5)]


SMALL = [[(10.0, 10.0), (10.0, 40.0), (40.0, 40.0), (40.0, 10.0)]]
"""A region that lies between the tiles of steps of 100 and of 50 µm."""


def test_a_region_between_the_tiles_of_coarse_steps_has_those_of_a_fine_one() -> None:
    slide, model = slide_of(), color_model(pitch_um=100.0)
    settings = replace(SETTINGS, region=SMALL)
    assert estimate(slide, model, settings) == [Detail(25.0, 1, None)]
    costs = step_costs(slide, model.config, settings, None)
    assert [detail.n_tiles for detail in costs.details] == [0, 0, 1]
    remember_speed(model.config, settings, 1e-3)  # too slow for one tile: there is no other step
    event = started(slide, region=SMALL)
    assert (event.grid.step_um, event.total) == (25.0, 1)
    automatic = step_costs(slide, model.config, settings, None).automatic
    assert automatic == Detail(25.0, 1, 1000.0)
    outside = replace(SETTINGS, region=[[(-9.0, -9.0), (-9.0, -5.0), (-5.0, -5.0)]])
    with pytest.raises(InputError, match=r"in the region\. Tiles are 25 µm apart"):
        estimate(slide, model, outside)
    assert step_costs(slide, model.config, outside, None).automatic == Detail(100.0, 0, None)


def test_details_in_words() -> None:
    assert str(Detail(200 / 3, 1, None)) == "66.67 µm · 1 tile"
    assert str(Detail(50.0, 12345, 0.2)) == "50 µm · 12,345 tiles · 1 s"


def test_values_that_nobody_asked_for_never_fill_the_memory() -> None:
    details = [Detail(25.0, 1_600_000, None), Detail(50.0, 400_000, None), Detail(100.0, 9, None)]
    number, notice = finest_that_fits(details, 500, 120)
    assert number == 1
    assert notice is not None
    assert finest_that_fits(details, 10, 120) == (0, None)
    assert finest_that_fits(details, 10**9, 120)[0] == 2


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"tiles_per_s": "x"}', '{"tiles_per_s": 0}'])
def test_a_speed_that_cannot_be_read_is_not_known(content: str) -> None:
    config = color_model().config
    assert known_speed(config, SETTINGS) is None
    remember_speed(config, SETTINGS, 12.5)
    assert known_speed(config, SETTINGS) == 12.5
    assert known_speed(config, replace(SETTINGS, batch_size=8)) is None
    (file,) = cache_folder("speeds").iterdir()
    file.write_text(content, "utf-8")
    assert known_speed(config, SETTINGS) is None


def test_the_first_batch_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 13.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = SpeedMeter()
    meter.note(16)
    assert meter.tiles_per_s is None
    meter.note(16)
    assert meter.tiles_per_s == 8.0
    meter.note(4)
    np.testing.assert_allclose(meter.tiles_per_s, 20 / 3)
