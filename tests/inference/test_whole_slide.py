"""Predictions by a model that looks at the whole slide."""

from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import (
    Event,
    Finished,
    PredictSettings,
    Started,
    TilesDone,
    TilesEncoded,
    estimate,
    predict,
    predict_events,
    whole_slide,
)
from napari_nh2st.inference.parts import Part, part_events
from napari_nh2st.inference.settings import Region
from napari_nh2st.model.folder import Model, new_model
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.model.prepared import PreparedNetwork
from napari_nh2st.slide import Slide
from small_configs import small_config

torch.set_num_threads(1)

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=5, reader_threads=1
)
REGION = ((((20.0, 20.0), (20.0, 90.0), (90.0, 90.0), (90.0, 20.0))),)


def pixels_slide(damaged: tuple[tuple[int, int], ...] = ()) -> Slide:
    """42 tiles of 32 µm."""
    return array_slide(ArrayLevel(textured(200, 232), damaged=damaged), mpp=1.0)


@pytest.fixture(scope="module")
def model() -> Model:
    """With a correction that is not zero."""
    config = small_config(architecture="merge", hyperparameters={"hidden": 8, "heads": 2})
    made = new_model(config, 0)
    assert isinstance(made.network, PooledNetwork)
    generator = torch.Generator().manual_seed(1)
    for name in made.network.gene_layers:
        torch.nn.init.normal_(made.network.get_submodule(name).weight, generator=generator)
    return made


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of tiles of each call of an encoder."""
    calls: list[int] = []
    plain = PreparedNetwork.encode

    def counted(self: PreparedNetwork, tiles: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(torch.unique(tiles, dim=0)))
        return plain(self, tiles)

    monkeypatch.setattr(PreparedNetwork, "encode", counted)
    return calls


def stopped(events: Any, enough: int) -> int:
    """Tiles encoded when a run was closed."""
    with closing(events):
        for event in events:
            if isinstance(event, TilesEncoded) and event.done >= enough:
                return event.done
    raise AssertionError("it ended before")


def test_values_are_the_networks_own_and_the_preview_its_tile_heads(model: Model) -> None:
    slide = pixels_slide()
    events: list[Event] = list(predict_events(slide, model, SETTINGS))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.done, started.total) == (0, 42)
    assert any("glass counts as well" in notice for notice in started.notices)
    assert not any("others are encoded" in notice for notice in started.notices)
    prediction = finished.prediction
    with torch.inference_mode():
        centers = prediction.obsm["spatial"][:, ::-1]
        corners = np.floor(centers - 16 + 0.5).astype(int)
        tiles = np.stack([slide.levels[0].read(*corner, 32, 32) for corner in corners])
        prepared = model.architecture.prepare(
            model.network, range(5), torch.device("cpu"), torch.float32, None
        )
        rows, preview = prepared.encode(torch.from_numpy(tiles))
        places = torch.from_numpy(centers / 32).float()
        values = prepared.combine_slide(rows.half(), places)
    np.testing.assert_allclose(prediction.X, values, rtol=1e-4, atol=1e-4)
    shown = np.full((42, 5), np.nan)
    for event in events:
        if isinstance(event, TilesEncoded):
            assert event.preview is not None
            shown[event.tiles] = event.preview
    np.testing.assert_allclose(shown, preview, rtol=1e-4, atol=1e-4)
    assert np.abs(shown - prediction.X).max() > 0.1
    last = [event for event in events if isinstance(event, TilesEncoded | TilesDone)]
    assert [type(event) for event in last] == [TilesEncoded] * 9 + [TilesDone]
    assert [event.done for event in last] == [*range(5, 45, 5), 42, 42]


def test_a_stopped_run_encodes_nothing_again(
    model: Model, tmp_path: Path, encoded: list[int]
) -> None:
    slide, output = pixels_slide(), tmp_path / "out.h5ad"
    whole = predict(slide, model, SETTINGS)
    encoded.clear()
    done = stopped(predict_events(slide, model, SETTINGS, output=output), 17)
    assert sum(encoded) == done == 20
    encoded.clear()
    events = list(predict_events(slide, model, SETTINGS, output=output))
    assert isinstance(events[0], Started)
    assert events[0].done == 20
    assert sum(encoded) == 22
    assert isinstance(events[-1], Finished)
    np.testing.assert_array_equal(events[-1].prediction.X, whole.X)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]

    # Stopped when all was encoded, the next has nothing to encode at all.
    stopped(predict_events(slide, model, SETTINGS, output=tmp_path / "late.h5ad"), 42)
    encoded.clear()
    late = predict(slide, model, SETTINGS, output=tmp_path / "late.h5ad")
    assert not encoded
    np.testing.assert_array_equal(late.X, whole.X)


def test_a_region_has_the_values_of_the_whole_slide(
    model: Model, tmp_path: Path, encoded: list[int]
) -> None:
    slide, settings = pixels_slide(), replace(SETTINGS, region=REGION)
    whole = predict(slide, model, SETTINGS)
    encoded.clear()
    region = predict(slide, model, settings)
    assert sum(encoded) == 42
    assert 1 < region.n_obs < 10
    np.testing.assert_array_equal(region.X, whole[region.obs_names].X)
    assert next(detail.n_tiles for detail in estimate(slide, model, settings)) == 42

    started, *events = predict_events(slide, model, settings)
    assert isinstance(started, Started)
    said = f"the region's {region.n_obs} tiles, {42 - region.n_obs} others are encoded as well"
    assert any(said in each for each in started.notices)
    previews = [event for event in events if isinstance(event, TilesEncoded)]
    assert all(event.preview.shape == (len(event.tiles), 5) for event in previews)
    assert sorted(np.concatenate([event.tiles for event in previews])) == [*range(region.n_obs)]

    # Kept rows serve another region, and the whole.
    list(predict_events(slide, model, settings, kept=tmp_path / "kept"))
    encoded.clear()
    *_, last = predict_events(slide, model, SETTINGS, kept=tmp_path / "kept")
    assert not encoded
    assert isinstance(last, Finished)
    np.testing.assert_array_equal(last.prediction.X, whole.X)


def test_other_genes_are_predicted_from_the_rows_that_are_kept(
    model: Model, tmp_path: Path, encoded: list[int]
) -> None:
    slide, kept = pixels_slide(), tmp_path / "kept"
    whole = predict(slide, model, SETTINGS)
    first, second = (replace(SETTINGS, genes=(gene,)) for gene in whole.var_names[:2])
    list(predict_events(slide, model, first, kept=kept))
    encoded.clear()
    # The rows are in use by a run of other genes: this one goes on without them.
    with closing(predict_events(slide, model, first, kept=kept)) as other:
        next(other)
        *_, alone = predict_events(slide, model, second, kept=tmp_path / "kept")
        assert sum(encoded) == 42
    encoded.clear()
    third = replace(SETTINGS, genes=(whole.var_names[2],))
    *_, last = predict_events(slide, model, third, kept=kept)
    assert not encoded
    for finished, column in ((alone, 1), (last, 2)):
        assert isinstance(finished, Finished)
        np.testing.assert_allclose(finished.prediction.X[:, 0], whole.X[:, column], atol=1e-4)


def test_a_tile_beyond_half_precision_is_left_out_and_spoils_no_other(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = PreparedNetwork.encode

    def spoiled(self: PreparedNetwork, tiles: Tensor) -> tuple[Tensor, ...]:
        rows, *more = plain(self, tiles)
        first = (tiles == torch.from_numpy(pixels)).all((1, 2, 3))
        return torch.where(first[:, None], 7e4, rows), *more

    slide = pixels_slide()
    prediction = predict(slide, model, SETTINGS)
    x, y = prediction.obsm["spatial"][20].astype(int)
    pixels = slide.levels[0].read(y - 16, x - 16, 32, 32)
    monkeypatch.setattr(PreparedNetwork, "encode", spoiled)
    prediction = predict(slide, model, SETTINGS)
    lost = np.isnan(prediction.X).any(1)
    assert np.flatnonzero(lost).tolist() == [20]
    assert "beyond half precision" in prediction.obs["status"].iloc[20]


def test_a_region_is_predicted_at_the_step_that_is_encoded_already(
    tmp_path: Path, encoded: list[int]
) -> None:
    config = small_config(
        architecture="merge", hyperparameters={"hidden": 8, "heads": 2}, pitch_um=80.0
    )
    model, slide, kept = new_model(config, 0), pixels_slide(), tmp_path / "kept"
    list(predict_events(slide, model, replace(SETTINGS, step_um=40.0), kept=kept))
    encoded.clear()
    *_, last = predict_events(slide, model, replace(SETTINGS, region=REGION), kept=kept)
    assert isinstance(last, Finished)
    assert last.prediction.uns["nh2st"]["step_um"] == 40
    assert not encoded


def test_a_finer_step_is_several_slides_of_the_models_pitch(model: Model) -> None:
    slide = pixels_slide()
    coarse = predict(slide, model, replace(SETTINGS, step_um=32.0))
    fine = predict(slide, model, replace(SETTINGS, step_um=16.0))
    at = {tuple(center): number for number, center in enumerate(fine.obsm["spatial"].tolist())}
    same = [at[tuple(center)] for center in coarse.obsm["spatial"].tolist()]
    np.testing.assert_array_equal(fine.X[same], coarse.X)
    assert np.isfinite(fine.X).all()
    with pytest.raises(InputError, match="pitch is 64 µm, but small predicts from the whole slide"):
        predict(slide, model, replace(SETTINGS, pitch_um=64.0))


def test_a_damaged_tile_is_left_out_and_all_are_computed_again_once_it_is_there(
    model: Model, tmp_path: Path
) -> None:
    whole = predict(pixels_slide(), model, SETTINGS)
    damaged, kept = pixels_slide(damaged=((0, 0),)), tmp_path / "kept"
    *_, last = predict_events(damaged, model, SETTINGS, kept=kept)
    assert isinstance(last, Finished)
    broken = last.prediction
    lost = np.isnan(broken.X).any(1)
    assert last.n_failed == lost.sum() > 0
    assert (broken.obs["status"][~lost] == "predicted").all()
    assert (broken.X[~lost] != whole.X[~lost]).any()
    damaged.levels[0].damaged = ()  # type: ignore[attr-defined]
    *_, last = predict_events(damaged, model, SETTINGS, kept=kept)
    assert isinstance(last, Finished)
    np.testing.assert_array_equal(last.prediction.X, whole.X)


def test_a_damaged_tile_counts_as_done_and_has_no_preview(model: Model) -> None:
    shown, done = np.zeros((42, 5)), []
    *events, last = predict_events(pixels_slide(damaged=((0, 0),)), model, SETTINGS)
    assert isinstance(last, Finished)
    for event in events:
        if isinstance(event, TilesEncoded):
            assert event.preview is not None
            shown[event.tiles] = event.preview
            done.append(event.done)
    lost = np.isnan(last.prediction.X).any(1)
    np.testing.assert_array_equal(np.isnan(shown).all(1), lost)
    assert 0 < lost.sum() < 42
    assert done[-1] == 42


def test_rate_and_time_left_count_what_this_run_encodes(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, output = pixels_slide(), tmp_path / "out.h5ad"
    stopped(predict_events(slide, model, SETTINGS, output=output), 20)
    seconds = SimpleNamespace(perf_counter=count().__next__)  # one for each batch
    monkeypatch.setattr(whole_slide, "time", seconds)
    events = list(predict_events(slide, model, SETTINGS, output=output))
    encoding = [event for event in events if isinstance(event, TilesEncoded)]
    assert [event.tiles_per_s for event in encoding] == [5, 5, 5, 5, 22 / 5]
    assert [event.seconds_left for event in encoding] == [17 / 5, 12 / 5, 7 / 5, 2 / 5, 0]
    assert [event.seconds_left for event in events if isinstance(event, TilesDone)] == [0]


def test_a_run_stopped_while_it_combines_goes_on_with_the_next_phase(
    model: Model, tmp_path: Path
) -> None:
    slide, settings = pixels_slide(), replace(SETTINGS, step_um=16.0, batch_size=64)
    *_, whole = predict_events(slide, model, settings)
    with closing(predict_events(slide, model, settings, output=tmp_path / "out.h5ad")) as events:
        first = next(event for event in events if isinstance(event, TilesDone))
    *events, last = predict_events(slide, model, settings, output=tmp_path / "out.h5ad")
    later = np.concatenate([event.tiles for event in events if isinstance(event, TilesDone)])
    assert set(later) == set(range(whole.prediction.n_obs)) - set(first.tiles)
    np.testing.assert_array_equal(last.prediction.X, whole.prediction.X)


@pytest.mark.parametrize("region", [(), REGION], ids=["slide", "region"])
def test_parts_are_encoded_apart_and_combined_at_once(
    region: Region, model: Model, tmp_path: Path, encoded: list[int]
) -> None:
    slide, settings = pixels_slide(), replace(SETTINGS, step_um=32.0, region=region)
    whole, output = predict(slide, model, settings), tmp_path / "out.h5ad"
    encoded.clear()
    for number in range(2):
        progress = list(part_events(slide, model, settings, output=output, part=Part(number, 2)))
        assert progress[0][0] == 0
        assert progress[-1][0] == progress[-1][1]
    assert sum(encoded) == 42
    encoded.clear()
    joined = predict(slide, model, settings, output=output)
    assert not encoded
    np.testing.assert_array_equal(joined.X, whole.X)
