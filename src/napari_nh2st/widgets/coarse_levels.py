"""Slides without a pyramid: their coarse levels are made while the viewer stays fluid."""

import threading
from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
from napari import Viewer, current_viewer
from napari.layers import Layer
from napari.qt.threading import create_worker
from napari.utils import progress
from qtpy.QtCore import QCoreApplication

from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.shown_text import for_qt
from napari_nh2st.slide import Slide
from napari_nh2st.widgets.notifications import show_warning

_PLACEHOLDER_GREY = 235
_SECONDS_BETWEEN_REPORTS = 0.1


def levels_with_placeholders(slide: Slide) -> list[Any]:
    """Start making a slide's coarse levels; until they are there, plain grey stands for them.

    Returns
    -------
    list of dask array
        All levels, uint8, (height, width, 3). When the work is done the real ones take the
        placeholders' place in every layer that shows the slide; it ends when there is none left.
    """
    stop = threading.Event()
    seen = False  # the layer is made after the reader has returned
    bar = progress(total=100, desc=for_qt(f"Making coarse levels of {slide.path.name}"))

    def report(percent: int) -> None:
        nonlocal seen
        if _layers_of(slide):
            seen = True
        elif seen:
            stop.set()
        bar.update(percent - bar.n)

    def finish() -> None:
        bar.close()
        if slide.coarse_ready:
            for layer in _layers_of(slide):
                layer.data = slide.dask_levels()

    def fail(error: Exception) -> None:
        show_warning(f"Coarse levels of {slide.path.name} could not be made: {error}")

    worker = create_worker(
        _build,
        slide,
        stop,
        _connect={"yielded": report, "finished": finish, "errored": fail},
        _ignore_errors=True,
    )
    application = QCoreApplication.instance()
    assert application is not None
    application.aboutToQuit.connect(stop.set)
    worker.finished.connect(lambda: application.aboutToQuit.disconnect(stop.set))
    native = [level.to_dask() for level in slide.levels[: slide.n_native_levels]]
    placeholders = [
        da.full((*level.shape, 3), _PLACEHOLDER_GREY, dtype=np.uint8, chunks=1024)
        for level in slide.levels[slide.n_native_levels :]
    ]
    return native + placeholders


def _build(slide: Slide, stop: threading.Event) -> Iterator[int]:
    """Make the levels; yields how far it is, in percent."""
    percent = [0]
    failure: list[Exception] = []

    def note(done: int, total: int) -> None:
        percent[0] = 100 * done // max(total, 1)

    def build() -> None:
        try:
            slide.build_coarse_levels(note, stop)
        except Exception as error:  # told to the user by whoever reads us
            failure.append(error)

    thread = threading.Thread(target=build, name="nh2st-coarse-levels", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_SECONDS_BETWEEN_REPORTS)
        yield percent[0]
    if failure:
        raise failure[0]


def _layers_of(slide: Slide) -> list[Layer]:
    """The layers that show a slide, in whichever viewer."""
    # napari has no public list of its viewers; without this one the current viewer serves.
    viewers = set(getattr(Viewer, "_instances", ())) | {current_viewer()} - {None}
    return [
        layer
        for viewer in viewers
        for layer in viewer.layers
        if layer.metadata.get(SLIDE_KEY) is slide
    ]
