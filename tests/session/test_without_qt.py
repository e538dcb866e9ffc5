"""A session is used without Qt, as in a script."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from napari.components import ViewerModel
from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.layers import coarse_levels, expression, reader, writer
from napari_nh2st.session import Session
from napari_nh2st.analysis.signatures import Signature
from waiting import wait_until

viewer = ViewerModel()
session = Session.of(viewer)
add_heatmap(viewer, gene_prediction())
session.heatmap.gene = "CD74"
session.pins.pin("KRT19")
session.show_signature(Signature("both", ("KRT19", "CD74"), 2))
wait_until(lambda: len(session.signatures.items) == 1)
print([layer.name for layer in viewer.layers])
print(sorted({name.split(".")[0] for name in sys.modules} & {"qtpy", "PyQt6", "PySide6"}))
"""


def test_layers_and_session_work_without_qt() -> None:
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tests)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names, qt = done.stdout.splitlines()[-2:]
    assert names == "['C6', 'CD74 · C6', 'KRT19 · C6 · pinned', 'signature both (2 of 2) · C6']"
    assert qt == "[]"
