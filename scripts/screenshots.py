"""Make the pictures of the documentation from the real application.

    xvfb-run -a -s "-screen 0 1400x900x24" python scripts/screenshots.py

Opens napari with the synthetic sample slide, predicts it with an untrained model, and writes
``docs/images/predict-running.png`` and ``docs/images/predict.png``.
"""

import sys
import tempfile
import time
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.folder import new_model, save_model_folder

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LONGEST_RUN_S = 600


def main() -> int:
    """Make the pictures; 1 if the prediction does not end in time."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "untrained-demo"
        config = untrained_config("untrained-demo", ("gene-1", "gene-2", "gene-3"), pitch_um=80)
        save_model_folder(new_model(config, seed=0), folder)

        viewer = napari.Viewer()
        viewer.window.resize(1280, 800)
        viewer.open_sample("napari-nh2st", "synthetic")
        _, widget = viewer.window.add_plugin_dock_widget("napari-nh2st", "Predict")
        viewer.scale_bar.visible = True
        widget.model.setCurrentText(str(folder))
        wait(lambda: False, seconds=1)
        viewer.fit_to_view()
        widget.start()
        wait(lambda: 0 < widget.bar.maximum() * 0.45 < widget.bar.value(), LONGEST_RUN_S)
        picture(viewer, "predict-running.png")
        done = wait(lambda: widget._control is None, LONGEST_RUN_S)
        widget.gene.setCurrentText("gene-2")
        wait(lambda: False, seconds=6)  # until the notifications have gone
        picture(viewer, "predict.png")
        viewer.close()
    return 0 if done else 1


def wait(condition: object, seconds: float) -> bool:
    """Let the application run until a condition holds or the time is over."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            return False
    return True


def picture(viewer: napari.Viewer, name: str) -> None:
    """Write the whole window, in 256 colours: a third of the size, and no eye sees it."""
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    Image.fromarray(pixels[..., :3].copy()).quantize(256).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


if __name__ == "__main__":
    sys.exit(main())
