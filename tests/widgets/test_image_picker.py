"""Files with several images in the Predict dock."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from pytestqt.qtbot import QtBot

from array_slides import textured, write_tiff
from image_files import LARGE, SMALL, described, write_ome
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.image_picker import ImagePicker
from napari_nh2st.widgets.slide_choice import SlideChoice


@pytest.fixture
def picker(viewer: ViewerModel, qtbot: QtBot) -> Iterator[ImagePicker]:
    connections = Connections()
    choice = SlideChoice(viewer, connections)
    connections.open()
    picker = ImagePicker(viewer, choice)
    qtbot.addWidget(picker)
    yield picker
    connections.close()


def opened(viewer: ViewerModel, path: Path) -> Image:
    (data,) = read_slide(path)
    return viewer.add_layer(Layer.create(*data))


def several(folder: Path) -> Path:
    return write_ome(
        folder / "several.ome.tif",
        (SMALL, described("left", 0.25)),
        (LARGE, described("right", 0.5)),
    )


def choose(picker: ImagePicker, number: int) -> None:
    picker.setCurrentIndex(number)
    picker.activated.emit(number)


def test_it_is_hidden_for_a_file_of_one_image(
    viewer: ViewerModel, picker: ImagePicker, tmp_path: Path
) -> None:
    opened(viewer, write_tiff(tmp_path / "one.tif", textured(128, 128)))
    assert picker.isHidden()
    opened(viewer, several(tmp_path))
    assert not picker.isHidden()
    assert [picker.itemText(i) for i in range(picker.count())] == [
        "0: 'left', 400 × 300 px",
        "1: 'right', 640 × 512 px",
    ]
    assert picker.currentIndex() == 1


def test_another_image_becomes_the_picked_layer(
    viewer: ViewerModel, picker: ImagePicker, tmp_path: Path
) -> None:
    first = opened(viewer, several(tmp_path))
    choose(picker, 0)
    assert len(viewer.layers) == 2
    second = viewer.layers.selection.active
    assert second.name == "several.ome [left]"
    assert second.metadata[SLIDE_KEY].image == 0
    assert second.visible
    assert not first.visible
    assert picker.currentIndex() == 0
    # And back: the layer that is there is shown, no third one.
    choose(picker, 1)
    assert len(viewer.layers) == 2
    assert viewer.layers.selection.active is first
    assert first.visible
    assert not second.visible


def test_a_file_that_is_gone_is_said(
    viewer: ViewerModel,
    picker: ImagePicker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_nh2st.widgets.image_picker.show_error", said.append)
    path = several(tmp_path)
    opened(viewer, path)
    path.unlink()
    choose(picker, 0)
    assert "no such file" in said[0]
    assert len(viewer.layers) == 1
    assert picker.currentIndex() == 1
