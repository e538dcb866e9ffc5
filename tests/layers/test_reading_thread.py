"""Files are read in a thread, and napari's window lives on meanwhile."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from napari.utils import progress
from qtpy.QtCore import QTimer

from array_slides import textured
from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.errors import InputError
from napari_nh2st.layers import expression
from napari_nh2st.layers.reading_thread import read_in_thread
from napari_nh2st.slide import open_slide


def test_events_are_handled_while_a_file_is_read(make_napari_viewer: Callable[..., Any]) -> None:
    make_napari_viewer()
    handled = threading.Event()
    bars: list[str] = []

    def handle() -> None:
        bars.extend(bar.desc for bar in progress._all_instances)
        handled.set()

    def read() -> str:
        assert threading.current_thread() is not threading.main_thread()
        assert handled.wait(20), "the window stands still"
        return "layers"

    QTimer.singleShot(50, handle)
    assert read_in_thread(read, "a.h5ad") == "layers"
    assert [bar.rstrip(": ") for bar in bars] == ["Opening a.h5ad"]
    assert not progress._all_instances


def test_what_is_wrong_with_a_file_is_raised(make_napari_viewer: Callable[..., Any]) -> None:
    make_napari_viewer()

    def read() -> None:
        raise InputError("There is no such file.")

    with pytest.raises(InputError, match="no such file"):
        read_in_thread(read, "a.h5ad")


def test_without_a_window_there_is_no_other_thread() -> None:
    assert read_in_thread(threading.current_thread, "a.h5ad") is threading.main_thread()


def test_napari_opens_a_prediction_in_a_thread(
    make_napari_viewer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(slide_file(tmp_path / "section.tif"), mpp=1.0) as slide:
        drawn_prediction(slide).write_h5ad(tmp_path / "section.h5ad")
    threads: list[threading.Thread] = []
    read = expression.read_anndata_file

    def note_thread(*args: Any) -> Any:
        threads.append(threading.current_thread())
        return read(*args)

    monkeypatch.setattr(expression, "read_anndata_file", note_thread)
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "section.h5ad"), plugin="napari-nh2st")
    assert len(viewer.layers) == 2
    assert [thread.name for thread in threads] == ["nh2st-reader"]


def test_napari_does_not_wait_for_imports_to_choose_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    path.touch()
    code = (
        "import sys, napari_nh2st.widgets.queued_signals\n"
        "from napari_nh2st.layers.reader import get_reader\n"
        f"assert get_reader({str(path)!r}) is not None\n"
        "print(sorted({'anndata', 'dask.array', 'zarr', 'tifffile'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_who_can_read_a_file_is_known_without_napari(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, textured(64, 48), tile=(32, 32), photometric="rgb")
    script = f"""
import sys
sys.modules["napari"] = None  # what asks for it fails, as where it is missing
from napari_nh2st.layers.reader import get_reader
print(get_reader({str(path)!r}).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "_read_slide", done.stderr
