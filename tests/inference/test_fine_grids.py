"""Predictions on fine grids: each phase is a coarse prediction of its own, to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import (
    Focus,
    PredictSettings,
    Started,
    TilesDone,
    predict,
    predict_events,
)
from napari_nh2st.inference.steps import divisions_of
from napari_nh2st.prediction.lattice import phases
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.grid import refinements_of
from small_models import MeanColor, color_model, small_model

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=7, reader_threads=2
)
HALF = replace(SETTINGS, step_um=16.0)
PIXELS = textured(150, 215)

contexts = pytest.mark.parametrize("context", ["query", "average", "neighborhood"])


def slide_of(pixels: Any = PIXELS) -> Slide:
    return array_slide(ArrayLevel(pixels), mpp=1.0)


def in_phase(prediction: AnnData, phase: int) -> AnnData:
    return prediction[phases(prediction) == phase]


@contexts
@pytest.mark.parametrize("layout", ["square", "hexagonal"])
@pytest.mark.parametrize("divisions", [2, 3])
def test_the_first_phase_is_the_coarse_prediction_to_the_bit(
    context: str, layout: Any, divisions: int
) -> None:
    model, settings = small_model(context), replace(SETTINGS, layout=layout)
    coarse = predict(slide_of(), model, settings)
    fine = predict(slide_of(), model, replace(settings, step_um=32 / divisions))
    assert fine.n_obs > 0.7 * divisions**2 * coarse.n_obs
    first = in_phase(fine, 0)
    assert first.obsm["spatial"].tobytes() == coarse.obsm["spatial"].tobytes()
    assert first.X.tobytes() == coarse.X.tobytes()


@contexts
@pytest.mark.parametrize("phase", [1, 2, 3])
def test_a_phase_is_the_coarse_prediction_of_the_slide_moved_by_steps(
    context: str, phase: int
) -> None:
    model, (down, right) = small_model(context), divmod(phase, 2)
    # Beyond its edge a slide is white: as much of it as moves this phase onto the coarse grid.
    margins = ((16 * down, 0), (16 * right, 0), (0, 0))
    moved = slide_of(np.pad(PIXELS, margins, constant_values=255))
    coarse = predict(moved, model, SETTINGS)
    found = in_phase(predict(slide_of(), model, HALF), phase)
    shift = 16.0 * np.array([right, down])
    np.testing.assert_allclose(found.obsm["spatial"] + shift, coarse.obsm["spatial"])
    assert found.X.tobytes() == coarse.X.tobytes()


def test_hexagonal_phases_are_coarse_predictions_of_the_slide_moved_by_steps() -> None:
    # Pixels of such sides that rows are 32 px apart, and neighbors in a row as well.
    mpp, pixels = (3**0.5 / 2, 1.0), textured(150, 180)
    model, settings = small_model("neighborhood"), replace(SETTINGS, layout="hexagonal")
    fine = predict(array_slide(ArrayLevel(pixels), mpp=mpp), model, replace(settings, step_um=16.0))
    for phase, margin in ((1, (0, 16)), (2, (16, 8)), (3, (16, 24))):
        moved = np.pad(pixels, ((margin[0], 0), (margin[1], 0), (0, 0)), constant_values=255)
        coarse = predict(array_slide(ArrayLevel(moved), mpp=mpp), model, settings)
        found = in_phase(fine, phase)
        at, where = found.obsm["spatial"], coarse.obsm["spatial"] - margin[::-1]
        # A tile on the margin is the neighbor of others: compared are those that are far from it.
        (compared,) = np.nonzero((at > 65).all(1))
        assert len(compared) >= 7
        for tile in compared:
            (same,) = np.flatnonzero(np.hypot(*(where - at[tile]).T) < 1e-6)
            np.testing.assert_allclose(found.X[tile], coarse.X[same], rtol=1e-5, atol=1e-6)


@contexts
def test_the_order_changes_nothing_and_no_tile_is_encoded_twice(
    mean_color: type[MeanColor], context: str
) -> None:
    model = small_model(context)
    expected = predict(slide_of(), model, HALF)
    events = predict_events(
        slide_of(), model, replace(HALF, order="coarse-to-fine"), focus=Focus((99.0, 0, 120, 90))
    )
    *_, finished = events
    assert finished.prediction.X.tobytes() == expected.X.tobytes()
    mean_color.encoded = 0
    made = predict(slide_of(), color_model(), replace(HALF, order="coarse-to-fine"))
    assert mean_color.encoded == made.n_obs


@contexts
@pytest.mark.parametrize("stop", [1, 4, 9])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path: Path, context: str, stop: int) -> None:
    model, settings = small_model(context), replace(HALF, order="coarse-to-fine")
    expected = predict(slide_of(), model, HALF)
    events = predict_events(slide_of(), model, settings, output=tmp_path / "out.h5ad")
    for event in events:
        if isinstance(event, TilesDone) and event.done > 7 * stop:
            break
    events.close()
    going_on = predict_events(slide_of(), model, settings, output=tmp_path / "out.h5ad")
    started = next(going_on)
    assert isinstance(started, Started)
    assert started.done > 7 * stop
    *_, finished = going_on
    assert finished.prediction.X.tobytes() == expected.X.tobytes()


@contexts
def test_a_region_has_the_values_of_the_whole(context: str) -> None:
    model = small_model(context)
    whole = predict(slide_of(), model, HALF)
    region = [[(40.0, 30.0), (40.0, 140.0), (110.0, 140.0), (110.0, 30.0)]]
    part = predict(slide_of(), model, replace(HALF, region=region))
    assert 0 < part.n_obs < whole.n_obs / 2
    assert part.X.tobytes() == whole[part.obs_names].X.tobytes()


@contexts
def test_a_refinement_begins_when_the_former_is_complete(
    mean_color: type[MeanColor], context: str
) -> None:
    model = color_model("average" if context == "neighborhood" else context)
    settings = replace(SETTINGS, step_um=8.0, order="coarse-to-fine")
    seen: list[int] = []
    for event in predict_events(slide_of(), model, settings, focus=Focus((0.0, 0, 60, 60))):
        if isinstance(event, Started):
            refinement = refinements_of(event.grid.phases, 4)
        elif isinstance(event, TilesDone):
            seen += refinement[event.tiles].tolist()
    assert set(seen) == {0, 1, 2}
    first_of = [seen.index(number) for number in (0, 1, 2)]
    last_of = [len(seen) - 1 - seen[::-1].index(number) for number in (0, 1, 2)]
    assert max(last_of[0] - first_of[1], last_of[1] - first_of[2]) < 7  # of one batch


@pytest.mark.parametrize(
    ("step", "divisions"),
    [(200, 1), (100, 2), (66.7, 3), (66.67, 3), (50, 4), (33.3, 6), (12.5, 16)],
)
def test_a_step_is_a_whole_part_of_the_pitch(step: float, divisions: int) -> None:
    assert divisions_of(200.0, step) == divisions


@pytest.mark.parametrize(
    ("step", "nearest"),
    [(80, "100 and 66.67"), (60, "66.67 and 50"), (150, "200 and 100"), (300, "200 and 100")],
)
def test_another_step_is_refused_with_the_nearest(step: float, nearest: str) -> None:
    with pytest.raises(InputError, match=f"pitch of 200 µm evenly; the nearest are {nearest}"):
        divisions_of(200.0, step)


def test_what_the_prediction_records_of_its_grid(mean_color: type[MeanColor]) -> None:
    made = predict(slide_of(), color_model(), replace(SETTINGS, step_um=8.0))
    about = made.uns["nh2st"]
    assert (about["pitch_um"], about["step_um"]) == (32.0, 8.0)
    assert about["step_px_fullres"].tolist() == [8.0, 8.0]
    assert about["first_center_px_fullres"].tolist() == [0.0, 0.0]
    assert about["array_shape"].tolist() == [19, 27]
    (library,) = made.uns["spatial"].values()
    assert library["scalefactors"]["spot_diameter_fullres"] == 8.0
    array = made.obs[["array_row", "array_col"]].to_numpy()
    np.testing.assert_allclose(made.obsm["spatial"][:, ::-1], 8.0 * array)
