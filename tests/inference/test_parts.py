"""Parts of a prediction, computed apart and taken over by the whole."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import torch

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, Started, predict, predict_events
from napari_nh2st.inference.parts import Part, part_events, rows_of_part
from napari_nh2st.inference.plan import plan_prediction, survey
from napari_nh2st.slide import Slide
from small_models import MeanColor, color_model, model_with_heads, small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(
    device="cpu", precision="float32", tissue_only=False, batch_size=5, reader_threads=1, step_um=32
)


def pixels_slide(damaged: tuple[tuple[int, int], ...] = ()) -> Slide:
    return array_slide(ArrayLevel(textured(363, 429), (32, 64), damaged=damaged), mpp=0.5)


@pytest.mark.parametrize("context", ["query", "neighborhood"])
@pytest.mark.parametrize("step_um", [32, 16])
@pytest.mark.parametrize("has_heads", [False, True])
def test_parts_taken_over_are_the_whole_to_the_bit(
    tmp_path: Path, context: str, step_um: float, has_heads: bool
) -> None:
    slide, output = pixels_slide(), tmp_path / "out.h5ad"
    model = model_with_heads(context) if has_heads else small_model(context)
    settings = replace(SETTINGS, step_um=step_um)
    whole = predict(slide, model, settings)
    counts = []
    for number in range(3):
        *_, (done, total) = part_events(slide, model, settings, output=output, part=Part(number, 3))
        assert done == total > 0
        counts.append(total)
    assert sum(counts) == whole.n_obs
    assert len(list(tmp_path.iterdir())) == 3
    started, *_, finished = predict_events(slide, model, settings, output=output)
    assert isinstance(started, Started)
    assert started.done == started.total
    assert started.notices == ()
    np.testing.assert_array_equal(finished.prediction.X, whole.X)
    assert has_heads == ("spread" in whole.layers)
    for name, values in whole.layers.items():
        np.testing.assert_array_equal(finished.prediction.layers[name], values)
    np.testing.assert_array_equal(anndata.read_h5ad(output).X, whole.X)
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


def test_a_part_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    stopped = 0
    with closing(part_events(slide, model, SETTINGS, output=output, part=Part(0, 2))) as events:
        for done, _ in events:
            if done:
                stopped = done
                break
    assert stopped == 5
    mean_color.encoded = 0
    (first, total), *_ = part_events(slide, model, SETTINGS, output=output, part=Part(0, 2))
    assert first == stopped
    assert mean_color.encoded == total - stopped
    # the other part was never begun: the whole computes it
    mean_color.encoded = 0
    prediction = predict(slide, model, SETTINGS, output=output)
    assert mean_color.encoded == prediction.n_obs - total
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)


def test_parts_of_another_prediction_are_left(tmp_path: Path, mean_color: type[MeanColor]) -> None:
    slide, model, output = pixels_slide(), color_model(), tmp_path / "out.h5ad"
    other = replace(SETTINGS, genes=("RED",))
    list(part_events(slide, model, other, output=output, part=Part(0, 2)))
    started, *_ = predict_events(slide, model, SETTINGS, output=output)
    assert isinstance(started, Started)
    assert started.done == 0
    assert "another, stopped prediction with this output" in started.notices[0]
    assert len(list(tmp_path.glob("*.partial"))) == 1


def test_tiles_that_failed_in_a_part_are_tried_again(
    tmp_path: Path, mean_color: type[MeanColor]
) -> None:
    slide, output = pixels_slide(damaged=((5, 2),)), tmp_path / "out.h5ad"
    model = color_model("average")
    for number in range(2):
        list(part_events(slide, model, SETTINGS, output=output, part=Part(number, 2)))
    slide.levels[0].damaged.clear()
    prediction = predict(slide, model, SETTINGS, output=output)
    np.testing.assert_array_equal(prediction.X, predict(slide, model, SETTINGS).X)


def test_borders_of_parts_are_those_of_segments(mean_color: type[MeanColor]) -> None:
    slide, model = pixels_slide(), color_model()
    plan = plan_prediction(survey(slide, model, SETTINGS), 1)
    parts = [rows_of_part(slide, plan, Part(k, 4)) for k in range(4)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(plan.grid)))
    tops = [set(plan.source.top_left[rows, 0] // 32) for rows in parts]
    assert sum(map(len, tops)) == len(set.union(*tops))
    assert max(map(len, parts)) - min(map(len, parts)) <= 7


def test_a_part_needs_a_step(tmp_path: Path, mean_color: type[MeanColor]) -> None:
    model = color_model(pitch_um=80.0)
    settings = replace(SETTINGS, step_um=None)
    events = part_events(
        pixels_slide(), model, settings, output=tmp_path / "a.h5ad", part=Part(0, 2)
    )
    with pytest.raises(InputError, match="give step_um"):
        next(events)
