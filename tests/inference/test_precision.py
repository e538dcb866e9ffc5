"""What ``"auto"`` stands for on a CPU: timed once, remembered, and the same where a run goes on."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.cache import cache_folder
from napari_nh2st.inference import (
    PredictSettings,
    Started,
    TilesDone,
    precision,
    predict_events,
    step_choice,
)
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.plan import survey
from napari_nh2st.inference.precision import EncoderTimes, int8_offer, seconds_a_tile
from napari_nh2st.inference.speed import remember_speed
from napari_nh2st.prediction.schema import notes
from small_models import small_model

torch.set_num_threads(1)

SLIDE = array_slide(ArrayLevel(textured(363, 429)), path="folder/sec.tion.tif")
SETTINGS = PredictSettings(device="cpu", tissue_only=False, batch_size=16)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[EncoderTimes]:
    """A CPU that has bfloat16, and finds float32 faster; as often as it is timed, it is here."""
    timed: list[EncoderTimes] = []

    def time_encoder(model: object, placement: Placement) -> EncoderTimes:
        timed.append(EncoderTimes({"float32": 1.0, "bfloat16": 2.0, "int8": 0.1}))
        return timed[-1]

    monkeypatch.setattr("napari_nh2st.inference.device._fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(precision, "time_encoder", time_encoder)
    monkeypatch.setattr(precision, "FEWEST_TILES", 4)
    return timed


def begun(output: Path | None, settings: PredictSettings = SETTINGS, *, tiles: int = 0) -> Started:
    """A prediction, stopped after some batches."""
    events = predict_events(
        SLIDE, small_model(pitch_um=64.0), settings, output=output, overwrite=True
    )
    started = next(events)
    assert isinstance(started, Started)
    assert notes(started.prediction)["run"]["precision"] == started.precision
    for _ in range(tiles):
        next(events)
    events.close()
    return started


def test_a_usual_precision_is_left_only_for_one_that_is_clearly_faster() -> None:
    assert EncoderTimes({"float32": 1.0, "bfloat16": 1.1}).fastest("bfloat16") == "bfloat16"
    assert EncoderTimes({"float32": 1.0, "bfloat16": 1.2}).fastest("bfloat16") == "float32"
    assert EncoderTimes({"float32": 1.0, "int8": 0.1}).fastest("float32") == "float32"


def test_what_is_timed_takes_turns_with_fewer_tiles_where_they_are_slow() -> None:
    clock, calls = [0.0], []

    def costs(name: str, seconds: float) -> Callable[[int], None]:
        def encode(count: int) -> None:
            calls.append((name, count))
            is_disturbed = len(calls) in (3, 4, 5, 8)  # the first call of each, and one later
            clock[0] += seconds * count * (3 if is_disturbed else 1)

        return encode

    encode = {"float32": costs("float32", 0.05), "int8": costs("int8", 0.01)}
    found = seconds_a_tile(encode, 16, lambda: clock[0])
    assert found == {"float32": pytest.approx(0.05), "int8": pytest.approx(0.01)}
    assert len(calls) == 2 + 2 + 2 * 3
    assert {count for _, count in calls[2:]} == {4}
    assert [name for name, _ in calls[-4:]] == ["float32", "int8"] * 2


def test_it_is_timed_once_for_a_file_and_remembered(
    times: list[EncoderTimes], tmp_path: Path
) -> None:
    assert begun(None).precision == "bfloat16"  # a viewer does not wait for it
    assert not times
    assert begun(tmp_path / "a.h5ad").precision == "float32"
    assert begun(tmp_path / "b.h5ad").precision == "float32"
    assert begun(None).precision == "float32"
    assert len(times) == 1
    asked = replace(SETTINGS, precision="bfloat16")
    assert begun(tmp_path / "c.h5ad", asked).precision == "bfloat16"
    begun(tmp_path / "d.h5ad", replace(SETTINGS, batch_size=8))  # other shapes, other times
    assert len(times) == 2


def test_a_gpu_has_its_usual_precision(times: list[EncoderTimes]) -> None:
    found = survey(SLIDE, small_model(), SETTINGS)
    on_gpu = replace(place("cpu", "bfloat16", 16, 1), device=torch.device("cuda"))
    assert precision.auto_placements(found, on_gpu, may_time=True) == ((on_gpu,), None)
    assert not times


def test_a_small_slide_is_not_worth_it(
    times: list[EncoderTimes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "FEWEST_TILES", 1000)
    assert begun(tmp_path / "a.h5ad").precision == "bfloat16"
    assert not times


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"seconds_a_tile": {"float32": -1}}',
        '{"seconds_a_tile": {"float32": 1, "bfloat16": Infinity}}',
        '{"seconds_a_tile": {"bfloat16": 1}}',
        '{"seconds_a_tile": {"float32": 1, "float8": 1}}',
    ],
)
def test_a_damaged_file_is_made_again(
    times: list[EncoderTimes], tmp_path: Path, content: str
) -> None:
    begun(tmp_path / "a.h5ad")
    (file,) = cache_folder("calibrations").iterdir()
    whole = file.read_text(encoding="utf-8")
    file.write_text(content, encoding="utf-8")
    assert begun(tmp_path / "a.h5ad").precision == "float32"
    assert len(times) == 2
    assert file.read_text(encoding="utf-8") == whole


@pytest.mark.parametrize("step_um", [None, 32.0])
def test_a_stopped_run_keeps_its_precision_whatever_was_found_out_since(
    times: list[EncoderTimes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step_um: float | None,
) -> None:
    settings = replace(SETTINGS, step_um=step_um)
    with monkeypatch.context() as before:
        before.setattr(precision, "FEWEST_TILES", 1000)
        first = begun(tmp_path / "a.h5ad", settings, tiles=1)
    assert (first.precision, first.done) == ("bfloat16", 0)
    again = begun(tmp_path / "a.h5ad", settings)
    assert again.precision == "bfloat16"
    assert again.done > 0
    assert begun(tmp_path / "b.h5ad", settings).precision == "float32"


def test_a_stopped_run_keeps_a_precision_that_was_found_out_and_forgotten(
    times: list[EncoderTimes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun(tmp_path / "a.h5ad", tiles=2).precision == "float32"
    for file in cache_folder("calibrations").iterdir():
        file.unlink()
    monkeypatch.setattr(precision, "FEWEST_TILES", 1000)
    again = begun(tmp_path / "a.h5ad")
    assert (again.precision, again.done > 0) == ("float32", True)
    assert begun(tmp_path / "b.h5ad").precision == "bfloat16"


def test_kept_results_are_gone_on_with_in_their_own_precision(
    times: list[EncoderTimes], tmp_path: Path
) -> None:
    def run(kept: Path) -> Started:
        events = predict_events(SLIDE, small_model(), SETTINGS, kept=kept)
        started = next(events)
        next(events)
        events.close()
        assert isinstance(started, Started)
        return started

    assert run(tmp_path / "kept").precision == "bfloat16"
    begun(tmp_path / "a.h5ad")  # finds out that float32 is faster
    assert run(tmp_path / "other").precision == "float32"
    again = run(tmp_path / "kept")
    assert (again.precision, again.done > 0) == ("bfloat16", True)


def test_tiles_that_were_timed_in_another_precision_are_not_mixed_in(
    times: list[EncoderTimes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_choice, "FEW_TILES", 4)
    model, settings = small_model(pitch_um=64.0), replace(SETTINGS, batch_size=4)

    def run(settings: PredictSettings, kept: Path | None, stop: bool = False) -> AnnData:
        remember_speed(model.config, settings, 1e6)
        if not stop:  # the first tiles are timed
            for path in cache_folder("speeds").iterdir():
                path.unlink()
        events = predict_events(SLIDE, model, settings, kept=kept)
        with closing(events):
            for event in events:
                if stop and isinstance(event, TilesDone):
                    break
        return event.prediction

    run(settings, tmp_path / "kept", stop=True)
    found_out = begun(tmp_path / "a.h5ad", settings)
    assert found_out.precision == "float32"
    found = run(settings, tmp_path / "kept")
    assert notes(found)["run"]["precision"] == "bfloat16"
    expected = run(replace(settings, precision="bfloat16"), None)
    np.testing.assert_array_equal(found[expected.obs_names].X, expected.X)


def test_int8_is_offered_where_it_saves_minutes_and_never_taken(
    times: list[EncoderTimes], tmp_path: Path
) -> None:
    timed = EncoderTimes({"float32": 2.0, "bfloat16": 1.0, "int8": 0.5})
    offer = int8_offer(timed, "bfloat16", 600)
    assert offer is not None
    assert "int8 would encode tiles 2.0 times as fast as bfloat16" in offer
    assert int8_offer(timed, "bfloat16", 100) is None
    assert int8_offer(timed, "bfloat16", None) is None
    assert int8_offer(EncoderTimes({"float32": 1.0}), "float32", 600) is None
    assert int8_offer(EncoderTimes({"bfloat16": 1.0, "int8": 0.9}), "bfloat16", 6000) is None
    assert begun(tmp_path / "a.h5ad").precision == "float32"


def test_a_model_is_timed_in_what_the_processor_has() -> None:
    placement = place("cpu", "float32", 4, 1)
    found = precision.time_encoder(small_model("neighborhood"), placement).seconds
    assert {"float32"} <= found.keys() <= {"float32", "int8"}
    assert all(np.isfinite(s) and s > 0 for s in found.values())
