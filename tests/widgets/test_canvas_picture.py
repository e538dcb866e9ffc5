"""Pictures of the canvas: as it is, with scale bar, scales and cautions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QApplication

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.session import Session
from napari_nh2st.session.picture_facts import ColorScale, PictureFacts
from napari_nh2st.widgets.canvas_picture import CanvasPicture, as_image, with_facts


def pixels_of(image: QImage) -> NDArray[np.uint8]:
    image = image.convertToFormat(QImage.Format.Format_RGBA8888)
    bits = image.constBits()
    assert bits is not None
    if hasattr(bits, "setsize"):  # PyQt's have no size of their own
        bits.setsize(image.sizeInBytes())
    return np.frombuffer(bits, np.uint8).reshape(image.height(), image.width(), 4).copy()


@pytest.mark.viewer
def test_the_picture_is_what_the_canvas_shows_with_a_scale_bar(
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:
    viewer = make_napari_viewer(show=True)
    add_heatmap(viewer, gene_prediction())
    session = Session.of(viewer)
    buttons = CanvasPicture(session)
    qtbot.addWidget(buttons)
    path = tmp_path / "picture.png"
    for _ in range(2):  # heatmap, then a composite on black
        viewer.canvas.overlays.scale_bar.visible = True
        expected = viewer.screenshot(canvas_only=True, flash=False)
        viewer.canvas.overlays.scale_bar.visible = False
        without = viewer.screenshot(canvas_only=True, flash=False)
        assert (expected != without).any()
        picture = pixels_of(buttons.picture())
        height = len(expected)
        np.testing.assert_array_equal(picture[:height, :, :3], expected[..., :3])
        assert len(picture) > height + 30, "scales are below"
        assert not viewer.canvas.overlays.scale_bar.visible, "it is as before"
        buttons.save(path, overwrite=True)
        np.testing.assert_array_equal(pixels_of(QImage(str(path)))[..., :3], picture[..., :3])
        buttons.copy()
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        np.testing.assert_array_equal(pixels_of(clipboard.image())[..., :3], picture[..., :3])
        session.pins.compose(["CD74", "KRT19"])
    assert messages["error"] == []
    assert messages["info"] == [f"Wrote {path}"] * 2


def test_numbers_and_text_stay_inside_narrow_and_wide_pictures(qtbot: QtBot) -> None:
    colors = np.full((256, 4), (200, 30, 30, 255), np.uint8)
    scale = ColorScale("a gene with a long unit that takes several lines here", colors, (-1.5, 10))
    facts = PictureFacts((scale,), (), ("Mind this: " + "word " * 30,))
    for width in (160, 500):
        canvas = np.zeros((50, width, 4), np.uint8)
        picture = pixels_of(with_facts(as_image(canvas), facts))
        footer = picture[50:, :, :3]
        assert (footer == (200, 30, 30)).all(-1).any(), "the bar"
        assert (footer[:, [0, 1, 2, -1, -2, -3]] == 255).all(), "nothing reaches the edges"
        assert (footer[-3:] == 255).all()
        rows = (footer < 100).all(-1).any(1)
        assert rows[-40:].any(), "the last line of the caution is there"
    empty = PictureFacts((), (), ())
    assert with_facts(as_image(canvas), empty).height() == 50


def test_what_cannot_be_written_is_said(
    qtbot: QtBot, tmp_path: Path, messages: dict[str, list[str]]
) -> None:
    viewer = ViewerModel()
    buttons = CanvasPicture(Session.of(viewer))
    qtbot.addWidget(buttons)
    buttons.copy()
    buttons.save(tmp_path / "picture.png")
    buttons.save(tmp_path / "picture.tif")
    other = tmp_path / "photo.png"
    other.write_bytes(b"somebody else's")
    buttons.save(other)
    assert [text.partition("picture")[0].rstrip() for text in messages["error"][:2]] == [
        "There is no window to take a"
    ] * 2
    assert "must end in .png" in messages["error"][2]
    assert other.read_bytes() == b"somebody else's"
    assert len(messages["error"]) == 4
