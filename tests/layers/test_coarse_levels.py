"""Coarse levels are made in the background only where their result can arrive."""

import threading
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from array_slides import write_tiff
from napari_nh2st.layers import coarse_levels
from napari_nh2st.layers.keys import slide_metadata
from napari_nh2st.session import Session
from napari_nh2st.slide import Slide, open_slide
from waiting import wait_until


@pytest.fixture
def slide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slide:
    monkeypatch.setattr(coarse_levels, "_has_event_loop", threading.Event())
    pixels = np.random.default_rng(0).integers(0, 255, (3000, 3000, 3), np.uint8)
    slide = open_slide(write_tiff(tmp_path / "section.tif", pixels))
    assert not slide.coarse_ready
    return slide


def test_without_an_event_loop_they_are_real_at_once(slide: Slide) -> None:
    levels = coarse_levels.viewer_levels(slide)
    assert len(levels) == len(slide.levels) > 1
    assert np.asarray(levels[-1]).std() > 0


def test_with_one_grey_stands_for_them_until_they_are_made(slide: Slide) -> None:
    coarse_levels.use_event_loop()
    levels = coarse_levels.viewer_levels(slide)
    assert [level.shape[:2] for level in levels] == [level.shape for level in slide.levels]
    assert np.asarray(levels[-1]).std() == 0
    wait_until(lambda: not coarse_levels._builds, seconds=60)
    assert slide.coarse_ready
    assert np.asarray(coarse_levels.viewer_levels(slide)[-1]).std() > 0


def test_levels_that_cannot_be_made_are_a_warning(
    slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("no space left")

    said: list[str] = []
    monkeypatch.setattr(coarse_levels, "show_warning", said.append)
    monkeypatch.setattr(slide, "build_coarse_levels", fail)
    coarse_levels.use_event_loop()
    coarse_levels.viewer_levels(slide)
    wait_until(lambda: bool(said), seconds=60)
    assert said == ["Coarse levels of section.tif could not be made: no space left"]


def test_they_are_shown_in_a_viewer_without_a_window(slide: Slide) -> None:
    viewer, other = ViewerModel(), ViewerModel()
    Session.of(other)
    Session.of(viewer)
    coarse_levels.use_event_loop()
    layer = viewer.add_image(coarse_levels.viewer_levels(slide), metadata=slide_metadata(slide))
    wait_until(lambda: not coarse_levels._builds, seconds=60)
    assert np.asarray(layer.data[-1]).std() > 0
