"""Heatmaps are removed with their colorbars and captions, and the window lives on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import sys
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from napari_nh2st.slide import open_slide
from napari_nh2st.widgets.genes.widget import GenesWidget


def draw():
    for _ in range(8):
        QApplication.processEvents()


def open_path():
    ((data, attributes, _),) = read_slide(path, mpp=1.0)
    return viewer.add_image(data, **attributes)


def take_picture():
    draw()
    pictures.append(viewer.screenshot(canvas_only=False, flash=False))


viewer = napari.Viewer(show=True)
path = slide_file(Path(sys.argv[1]))
with open_slide(path, mpp=1.0) as slide:
    prediction = drawn_prediction(slide)
pictures = []
session = Session.of(viewer)
open_path()
for number in range(6):
    if number == 3:
        viewer.window.add_dock_widget(GenesWidget(viewer))  # with a caption on the canvas
    heatmap = session.add_heatmap(session.slide, prediction, "CD74")
    assert heatmap.layer.colorbar.visible
    draw()
    viewer.layers.remove(heatmap.layer)
    take_picture()
for _ in range(2):
    session.add_heatmap(session.slide, prediction, "CD74")
    draw()
    viewer.layers.clear()
    draw()
    open_path()
    take_picture()
print(len(pictures))
viewer.close()
"""


@pytest.mark.viewer
def test_pictures_are_taken_after_heatmaps_and_their_colorbars_were_removed(
    tmp_path: Path,
) -> None:
    # In a process of its own: where it fails, it ends the process.
    run = subprocess.run(
        [sys.executable, "-c", _CODE, str(tmp_path / "section.tif")],
        env=os.environ
        | {
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "NAPARI_CONFIG": str(tmp_path / "napari.yaml"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip().endswith("8")
