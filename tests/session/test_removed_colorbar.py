"""A heatmap is removed with its colorbar, and the window lives on."""

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


def draw():
    for _ in range(20):
        QApplication.processEvents()


viewer = napari.Viewer(show=True)
path = slide_file(Path(sys.argv[1]))
((data, attributes, _),) = read_slide(path, mpp=1.0)
viewer.add_image(data, **attributes)
session = Session.of(viewer)
with open_slide(path, mpp=1.0) as slide:
    heatmap = session.add_heatmap(viewer.layers[0], drawn_prediction(slide), "CD74")
assert heatmap.layer.colorbar.visible
draw()
viewer.layers.remove(heatmap.layer)
draw()
print(viewer.screenshot(canvas_only=False, flash=False).shape[-1])
viewer.close()
"""


@pytest.mark.viewer
def test_a_picture_is_taken_after_a_heatmap_and_its_colorbar_were_removed(
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
    assert run.stdout.strip() == "4"
