"""What napari draws labels with is compiled in the thread that finds them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_DOMAINS = """
from napari_nh2st.widgets.genes.widget import GenesWidget
with open_slide(path, mpp=1.0) as slide:
    Session.of(viewer).add_heatmap(viewer.layers[0], drawn_prediction(slide), "CD74")
dock = GenesWidget(viewer)
dock.domains.settings.only_reliable.setChecked(False)
dock.domains.n_domains.setValue(2)
dock.domains.start()
"""
_TISSUE = """
from napari_nh2st.widgets.predict.widget import PredictWidget
dock = PredictWidget(viewer)
dock.tissue.show_tissue()
"""
_CODE = """
import sys, threading, time
from pathlib import Path
from napari.components import ViewerModel
from napari.layers import Labels
from numba.core import event
from qtpy.QtWidgets import QApplication
from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from napari_nh2st.slide import open_slide

class Threads(event.Listener):
    def on_start(self, started):
        found.add(threading.current_thread().name)
    def on_end(self, ended):
        pass

found = set()
event.register("numba:compile", Threads())
application = QApplication([])
viewer = ViewerModel()
path = slide_file(Path(sys.argv[1]))
((data, attributes, _),) = read_slide(path, mpp=1.0)
viewer.add_image(data, **attributes)
{show}
end = time.monotonic() + 60
while not any(isinstance(layer, Labels) for layer in viewer.layers):
    application.processEvents()
    assert time.monotonic() < end
dock.close()
print(sorted(found))
"""


@pytest.mark.parametrize("show", [_DOMAINS, _TISSUE], ids=["domains", "tissue"])
def test_labels_are_drawn_without_a_compilation_in_the_viewers_thread(
    show: str, tmp_path: Path
) -> None:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),  # where nothing is compiled yet
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "QT_QPA_PLATFORM": "offscreen",
    }
    run = subprocess.run(
        [sys.executable, "-c", _CODE.replace("{show}", show), str(tmp_path / "section.tif")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "['nh2st-background']", run.stderr[-2000:]
