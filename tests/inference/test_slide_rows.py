"""Encoded rows of a whole slide: what is taken over, and what is combined."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from array_slides import ArrayLevel, array_slide
from napari_nh2st.inference.slide_rows import SlideRows
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.tiles import tile_grid


@pytest.fixture
def rows() -> SlideRows:
    """Of six tiles, those with even places, in an order of its own."""
    slide = array_slide(ArrayLevel(np.zeros((80, 120, 3), np.uint8)), mpp=1.0)
    grid = tile_grid(slide, tile_um=20, pitch_um=40, mask=None)
    return SlideRows(grid.subset(np.array([4, 0, 2])), (1.0, 1.0))


def test_rows_of_earlier_runs_are_taken_over_where_there_is_such_a_tile(rows: SlideRows) -> None:
    stored = np.array([[1, 1], [2, 2], [3, 3]], np.float16)
    rows.take_over([(np.array([3, 4, 5]), stored), (np.array([1]), stored[:1])])
    assert rows.has_row.tolist() == [True, False, False]
    assert rows.missing.tolist() == [1, 2]
    places, kept = rows.all_as_stored()
    assert (places.tolist(), kept.tolist()) == ([4], [[2, 2]])


def test_tiles_without_a_row_are_no_context_of_the_others(rows: SlideRows) -> None:
    def combine_slide(encoded: Tensor, places: Tensor) -> Tensor:
        assert places.tolist() == [[0.5, 2.5], [1.5, 1.5]]
        return encoded.float() + 1

    predictor = cast(Predictor, SimpleNamespace(combine_slide=combine_slide))
    rows.add(np.array([0, 2]), np.array([[4], [2]], np.float16))
    rows.fail(np.array([1]))
    ((tiles, values),) = rows.combined(predictor, torch.device("cpu"), np.arange(3))
    assert (tiles.tolist(), values.tolist()) == ([2, 0], [[3], [5]])
