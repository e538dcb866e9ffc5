"""A prediction that was stopped goes on where it was, and with nothing that is not its own."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
import torch
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from file_operations import recorded
from napari_nh2st.errors import InputError
from napari_nh2st.export import write_anndata
from napari_nh2st.inference import (
    Finished,
    PredictSettings,
    Started,
    TilesDone,
    predict,
    predict_events,
)
from napari_nh2st.inference import store as store_module
from napari_nh2st.model.folder import Model
from napari_nh2st.slide import Slide, open_slide
from small_models import MeanColor, color_model, small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=5, reader_threads=1
)


def pixels_slide(damaged: tuple[tuple[int, int], ...] = (), mpp: float = 0.5) -> Slide:
    return array_slide(ArrayLevel(textured(363, 429), damaged=damaged), mpp=mpp)


def stop_after(
    tiles: int, slide: Slide, model: Model, output: Path, settings: PredictSettings = SETTINGS
) -> int:
    """Predict until so many tiles are done, then close; gives how many were."""
    events = predict_events(slide, model, settings, output=output)
    done = 0
    for event in events:
        if isinstance(event, TilesDone):
            done = event.done
            if done >= tiles:
                break
    events.close()
    return done


def go_on(
    slide: Slide, model: Model, output: Path, settings: PredictSettings = SETTINGS
) -> tuple[int, AnnData]:
    """Predict to the end; gives how many tiles were taken over too."""
    events = list(predict_events(slide, model, settings, output=output))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    return started.done, finished.prediction


def test_a_stopped_prediction_goes_on_where_it_was(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    whole = predict(slide, model, SETTINGS)
    done = stop_after(17, slide, model, output)
    assert 17 <= done < 42
    assert not output.exists()

    mean_color.encoded = 0
    taken_over, prediction = go_on(slide, model, output)
    assert taken_over == done
    assert mean_color.encoded == 42 - done
    np.testing.assert_array_equal(prediction.X, whole.X)
    np.testing.assert_array_equal(anndata.read_h5ad(output).X, whole.X)
    assert (prediction.obs["status"] == "predicted").all()
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


@pytest.mark.parametrize("context", ["query", "average", "neighborhood"])
@pytest.mark.parametrize("batch_size", [5, 16])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("tiles", [1, 12])
def test_a_resumed_prediction_is_the_same_to_the_bit(
    tmp_path: Path, context: str, batch_size: int, precision: str, tiles: int
) -> None:
    slide, model = pixels_slide(), small_model(context)
    settings = replace(SETTINGS, batch_size=batch_size, precision=precision)
    whole = predict(slide, model, settings)
    assert 0 < stop_after(tiles, slide, model, tmp_path / "out.h5ad", settings) < 42
    _, prediction = go_on(slide, model, tmp_path / "out.h5ad", settings)
    np.testing.assert_array_equal(prediction.X, whole.X)


def test_a_killed_prediction_goes_on_from_what_was_written(
    tmp_path: Path, mean_color: type[MeanColor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MOST_BUFFERED_BYTES", 12 * 3 * 4)
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    as_killed = tmp_path / "as_killed"
    events = predict_events(slide, model, SETTINGS, output=output)
    for event in events:
        if isinstance(event, TilesDone) and event.done >= 22:
            (partial,) = tmp_path.glob("out.h5ad.*.partial")
            shutil.copytree(partial, as_killed)
            break
    events.close()
    shutil.rmtree(partial)
    as_killed.rename(partial)

    taken_over, prediction = go_on(slide, model, output)
    assert 12 <= taken_over < 22
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)


def test_a_store_of_an_earlier_version_is_named_and_left(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    earlier = tmp_path / "out.h5ad.partial.zarr"
    (earlier / "values").mkdir(parents=True)
    started, *_ = predict_events(slide, model, SETTINGS, output=output)
    assert isinstance(started, Started)
    (notice,) = (notice for notice in started.notices if str(earlier) in notice)
    assert "cannot use them" in notice
    assert "you can delete the folder" in notice
    assert (earlier / "values").is_dir()


def test_what_is_taken_over_is_shown_at_once(tmp_path: Path, mean_color: type[MeanColor]) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    done = stop_after(17, slide, model, output)
    events = predict_events(slide, model, SETTINGS, output=output)
    prediction = next(events).prediction
    events.close()
    assert np.isfinite(prediction.X).all(1).sum() == done
    assert (prediction.obs["status"] == "predicted").sum() == done
    assert (prediction.obs["status"] == "pending").sum() == 42 - done


Change = Callable[[Model], dict[str, Any]]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: {"settings": replace(SETTINGS, genes=("BLUE", "GREEN", "RED"))},
        lambda model: {"settings": replace(SETTINGS, pitch_um=31.0)},
        lambda model: {"settings": replace(SETTINGS, precision="bfloat16")},
        lambda model: {"settings": replace(SETTINGS, layout="hexagonal")},
        lambda model: {"slide": pixels_slide(mpp=0.6)},
        lambda model: {"slide": array_slide(ArrayLevel(textured(363, 429, seed=1)))},
        lambda model: {"model": replace(model, config=color_model("average").config)},
        lambda model: {"model": replace(model, config=replace(model.config, mpp=1.1))},
        lambda model: {"model": replace(model, network=torch.nn.Linear(2, 2))},
    ],
    ids=["genes", "pitch", "precision", "layout", "µm/px", "slide", "context", "tile", "weights"],
)
def test_results_that_would_differ_are_not_taken_over(
    tmp_path: Path, mean_color: type[MeanColor], change: Change
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    assert stop_after(17, slide, model, output) >= 17
    changed = {"slide": slide, "model": model, "settings": SETTINGS} | change(model)
    if isinstance(changed["model"].network, torch.nn.Linear):
        changed["model"].network.context = "query"
    events = predict_events(**changed, output=output)
    started = next(events)
    events.close()
    assert isinstance(started, Started)
    assert started.done == 0


def test_how_it_runs_may_change_between_stop_and_go(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    done = stop_after(17, slide, model, output)
    otherwise = replace(SETTINGS, batch_size=3, reader_threads=2, order="coarse-to-fine")
    taken_over, prediction = go_on(slide, model, output, otherwise)
    assert taken_over == done
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)


def test_tiles_that_failed_are_tried_again(tmp_path: Path, mean_color: type[MeanColor]) -> None:
    slide, model, output = pixels_slide(damaged=((0, 0),)), color_model(), tmp_path / "out.h5ad"
    done = stop_after(17, slide, model, output)
    slide.levels[0].damaged.clear()
    taken_over, prediction = go_on(slide, model, output)
    assert taken_over == done - 1
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)
    assert (prediction.obs["status"] == "predicted").all()


def test_a_slide_that_cannot_be_read_at_all_is_an_error(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    everything = tuple((row, column) for row in range(6) for column in range(7))
    slide, output = pixels_slide(damaged=everything), tmp_path / "out.h5ad"
    with pytest.raises(InputError, match=r"none of 42 tiles can be read: segment .* is damaged"):
        predict(slide, color_model("average"), SETTINGS, output=output)
    assert not output.exists()


def test_after_a_failed_writing_nothing_is_computed_again(
    tmp_path: Path, mean_color: type[MeanColor], monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    write_anndata(predict(slide, color_model(), SETTINGS), output)
    earlier = output.read_bytes()

    def full(file: Any, content: memoryview) -> int:
        file.failure = OSError(28, "No space left on device")
        return content.nbytes

    with monkeypatch.context() as patched:
        patched.setattr("napari_nh2st.prediction.hdf5._Disk.write", full)
        with pytest.raises(InputError, match=r"No space left on device\. All 42 tiles are kept in"):
            predict(slide, model, SETTINGS, output=output, overwrite=True)
    assert output.read_bytes() == earlier
    mean_color.encoded = 0
    prediction = predict(slide, model, SETTINGS, output=output, overwrite=True)
    assert mean_color.encoded == 0
    np.testing.assert_array_equal(anndata.read_h5ad(output).X, prediction.X)


def test_the_results_go_when_the_output_is_on_the_disk(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    output = tmp_path / "out.h5ad"
    with recorded(tmp_path) as found:
        predict(pixels_slide(), color_model(), SETTINGS, output=output)
    named = next(i for i, op in enumerate(found) if op[0] == "rename" and op[2] == "out.h5ad")
    removed = next(
        i
        for i, (what, path, *_) in enumerate(found)
        if what == "rename" and path.endswith(".partial") and "/" not in path
    )
    assert ("fsync", found[named][1]) in found[:named]
    assert ("fsync", ".") in found[named:removed]
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


def test_locks_of_killed_runs_go_with_the_next(tmp_path: Path, mean_color: type[MeanColor]) -> None:
    output = tmp_path / "out.h5ad"
    for name in (".out.h5ad.lock", ".out.h5ad.0123456789ab.partial.lock", ".other.h5ad.lock"):
        (tmp_path / name).touch()
    predict(pixels_slide(), color_model(), SETTINGS, output=output)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.h5ad.lock", "out.h5ad"]


def test_what_another_prediction_left_is_kept_for_it(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    other = replace(SETTINGS, genes=("BLUE",))
    done = stop_after(17, slide, model, output, other)
    events = list(predict_events(slide, model, SETTINGS, output=output))
    assert isinstance(events[0], Started)
    assert any(
        "the results of another, stopped prediction with this output" in n
        for n in events[0].notices
    )
    output.unlink()
    taken_over, _ = go_on(slide, model, output, other)
    assert taken_over == done
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


def test_a_folder_away_at_the_end_costs_nothing(
    tmp_path: Path, mean_color: type[MeanColor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "cache"))
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    slide, model, output = pixels_slide(), color_model(), share / "out.h5ad"
    with pytest.raises(InputError) as raised:  # noqa: PT012
        for event in predict_events(slide, model, SETTINGS, output=output):
            if isinstance(event, TilesDone) and event.done >= 17 and share.exists():
                share.rename(away)
    (rescued,) = (tmp_path / "cache" / "rescued").glob("*.results")
    assert "there is no folder" in str(raised.value)
    assert f"All 42 tiles are kept in {rescued}" in str(raised.value)
    away.rename(share)
    mean_color.encoded = 0
    taken_over, prediction = go_on(slide, model, output)
    assert taken_over == 42
    assert mean_color.encoded == 0
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)
    assert [path.name for path in share.iterdir()] == ["out.h5ad"]
    assert not list((tmp_path / "cache" / "rescued").iterdir())


def test_a_folder_away_for_a_while_is_written_to_in_the_end(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    share, away = tmp_path / "share", tmp_path / "away"
    share.mkdir()
    for event in predict_events(pixels_slide(), color_model(), SETTINGS, output=share / "out.h5ad"):
        if isinstance(event, TilesDone) and event.done == 10:
            share.rename(away)
        elif isinstance(event, TilesDone) and event.done == 30:
            away.rename(share)
    assert np.isfinite(anndata.read_h5ad(share / "out.h5ad").X).all()
    assert [path.name for path in share.iterdir()] == ["out.h5ad"]


def test_kept_results_away_do_not_end_a_run(
    tmp_path: Path, mean_color: type[MeanColor], caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept"
    event = None
    for event in predict_events(pixels_slide(), color_model(), SETTINGS, kept=kept):
        if isinstance(event, Started):
            shutil.rmtree(kept)
    assert isinstance(event, Finished)
    assert "not kept for the next run" in caplog.text


def test_a_repaired_copy_shows_nothing_of_the_damaged_file(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    """Sizes, ends and sampled blocks are the same, and the time of change is the original's."""
    good, path = tmp_path / "good.tif", tmp_path / "slide.tif"
    pixels = textured(1200, 1200)
    tifffile.imwrite(good, pixels, photometric="rgb", rowsperstrip=100, metadata=None)
    pixels[600, 600:700] = 0
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=100, metadata=None)
    shutil.copystat(good, path)
    settings = replace(SETTINGS, pitch_um=64)
    first, second = [], []
    for values in (first, second):
        with open_slide(path, mpp=0.5) as slide:
            events = list(predict_events(slide, color_model(), settings, kept=tmp_path / "kept"))
        assert isinstance(events[0], Started)
        assert events[0].done == 0
        values += [events[-1].prediction.X, slide.fingerprint]
        shutil.copy2(good, path)
    assert first[1] == second[1], "the fingerprint sees no difference"
    with open_slide(good, mpp=0.5) as slide:
        expected = predict(slide, color_model(), settings).X
    np.testing.assert_array_equal(second[0], expected)
    assert not np.array_equal(first[0], expected)


@pytest.mark.parametrize("context", ["average", "neighborhood"])
def test_a_neighbor_outside_the_region_that_failed_is_tried_again(
    tmp_path: Path, context: str
) -> None:
    model = small_model(context)
    part = replace(SETTINGS, region=[[(0, 0), (0, 429), (110, 429), (110, 0)]])
    list(predict_events(pixels_slide(damaged=((2, 1),)), model, part, kept=tmp_path))
    events = list(predict_events(pixels_slide(), model, part, kept=tmp_path))
    fresh = predict(pixels_slide(), model, part)
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    assert 0 < events[0].done < events[0].total
    np.testing.assert_array_equal(events[-1].prediction.X, fresh.X)


@pytest.mark.parametrize("context", ["average", "neighborhood"])
def test_neighbors_of_a_tile_that_can_be_read_again_are_predicted_again(
    tmp_path: Path, context: str
) -> None:
    model, output = small_model(context), tmp_path / "out.h5ad"
    stopped = stop_after(30, pixels_slide(damaged=((1, 1),)), model, output)
    again, prediction = go_on(pixels_slide(), model, output)
    assert 0 < again < stopped, "some are taken over, and some are not"
    expected = predict(pixels_slide(), model, SETTINGS)
    np.testing.assert_array_equal(prediction.X, expected.X)


def test_two_runs_on_one_output_do_not_mix(tmp_path: Path) -> None:
    output = tmp_path / "out.h5ad"
    first = predict_events(pixels_slide(), small_model(), SETTINGS, output=output)
    next(first)
    with pytest.raises(InputError, match="in use"):
        predict(pixels_slide(), small_model(), SETTINGS, output=output)
    first.close()
    predict(pixels_slide(), small_model(), SETTINGS, output=output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5ad"]


@pytest.mark.parametrize("context", ["query", "average", "neighborhood"])
def test_what_was_kept_of_a_region_is_part_of_the_whole(tmp_path: Path, context: str) -> None:
    slide, model = pixels_slide(), small_model(context)
    whole = PredictSettings(device="cpu", precision="float32", tissue_only=False)
    height, width = slide.shape
    corners = [(0, 0), (0, 0.6 * width), (0.5 * height, 0.6 * width), (0.5 * height, 0)]
    part = replace(whole, region=[corners])
    fresh = predict(slide, model, whole)
    first = list(predict_events(slide, model, part, kept=tmp_path))[-1].prediction
    events = list(predict_events(slide, model, whole, kept=tmp_path))
    started, finished = events[0], events[-1]
    assert started.done == first.n_obs
    assert 0 < started.done < started.total
    computed = np.concatenate([e.tiles for e in events if isinstance(e, TilesDone)])
    assert len(computed) == started.total - started.done
    assert list(finished.prediction.obs_names) == list(fresh.obs_names)
    np.testing.assert_array_equal(finished.prediction.X, fresh.X)
    again = list(predict_events(slide, model, part, kept=tmp_path))
    assert again[0].done == again[0].total, "a region of what is there takes no network"
    np.testing.assert_array_equal(again[0].prediction.X, first.X)
