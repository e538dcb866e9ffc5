"""Coarse levels of slides without a pyramid, made while the viewer stays fluid."""

import atexit
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from napari import Viewer, current_viewer
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils import progress
from napari.utils.notifications import show_warning
from psygnal import Signal

from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.remote import RemotePath
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari_nh2st.slide import Slide

_PLACEHOLDER_GREY = 235
_SECONDS_BETWEEN_REPORTS = 0.1
_SECONDS_TO_STOP = 5.0

_builds: "set[_Build]" = set()
"""Those under way: nobody else holds them."""

_has_event_loop = threading.Event()


_viewers: "WeakSet[ViewerModel]" = WeakSet()


def note_viewer(viewer: ViewerModel) -> None:
    """Show coarse levels in this viewer too, which may be one without a window."""
    _viewers.add(viewer)


def use_event_loop() -> None:
    """Make coarse levels in threads from now on: an event loop delivers what these emit."""
    _has_event_loop.set()


def viewer_levels(slide: "Slide") -> list[Any]:
    """The levels of a slide to show.

    Returns
    -------
    list of array
        All levels, uint8, (height, width, 3): dask's, and of a slide at a URL those of
        :class:`~napari_nh2st.layers.remote_levels.RemoteLevels`. Where coarse ones are still to
        be made and there is an event loop, see :func:`use_event_loop`, plain grey stands for
        them. When they are made they take its place in every layer that shows the slide; the work
        ends when there is none left.
    """
    if not _has_event_loop.is_set():
        return slide.dask_levels()
    native = _native_levels(slide)
    if slide.coarse_ready:
        return native + slide.dask_levels()[slide.n_native_levels :]
    import dask.array as da

    _Build(slide).start()
    placeholders = [
        da.full((*level.shape, 3), _PLACEHOLDER_GREY, dtype=np.uint8, chunks=1024)
        for level in slide.levels[slide.n_native_levels :]
    ]
    return native + placeholders


def _native_levels(slide: "Slide") -> list[Any]:
    if isinstance(slide.path, RemotePath):
        from napari_nh2st.layers.remote_levels import RemoteLevels

        return list(RemoteLevels(slide, layers_of).views())
    return [level.to_dask() for level in slide.levels[: slide.n_native_levels]]


class _Build:
    """Makes the coarse levels of a slide in a thread, with a progress bar."""

    reported = Signal(int)
    ended = Signal(object)

    def __init__(self, slide: "Slide") -> None:
        self.slide = slide
        self.stop = threading.Event()
        self._was_seen = False  # the layer is made after the reader has returned
        self._percent = 0
        self._failure: Exception | None = None
        self._bar: Any = None
        self._building = threading.Thread(
            target=self._build, name="nh2st-coarse-levels", daemon=True
        )
        self.reported.connect(self._on_report, thread="main")
        self.ended.connect(self._on_end, thread="main")

    def start(self) -> None:
        """Begin."""
        _builds.add(self)
        atexit.register(self._stop_now)
        self._building.start()
        threading.Thread(target=self._report, name="nh2st-coarse-reports", daemon=True).start()

    # --- in threads ---

    def _build(self) -> None:
        def note(done: int, total: int) -> None:
            self._percent = 100 * done // max(total, 1)

        try:
            self.slide.build_coarse_levels(note, self.stop)
        except Exception as error:
            self._failure = error

    def _report(self) -> None:
        while self._building.is_alive():
            self._building.join(_SECONDS_BETWEEN_REPORTS)
            self.reported.emit(self._percent)
        self.ended.emit(self._failure)

    # --- in the main thread ---

    def _on_report(self, percent: int) -> None:
        if layers_of(self.slide):
            self._was_seen = True
        elif self._was_seen:
            self.stop.set()
        if self._bar is None:  # Qt's widgets are made in the main thread, files read in others
            name = self.slide.path.name
            self._bar = progress(total=100, desc=for_qt(f"Making coarse levels of {name}"))
        self._bar.update(percent - self._bar.n)

    def _on_end(self, failure: Exception | None) -> None:
        _builds.discard(self)
        atexit.unregister(self._stop_now)
        if self._bar is not None:
            self._bar.close()
        if failure is not None:
            name = self.slide.path.name
            show_warning(for_qt(f"Coarse levels of {name} could not be made: {failure}"))
        if self.slide.coarse_ready:
            for layer in layers_of(self.slide):
                ready = self.slide.dask_levels()[self.slide.n_native_levels :]
                layer.data = [*layer.data[: self.slide.n_native_levels], *ready]

    def _stop_now(self) -> None:
        self.stop.set()
        self._building.join(_SECONDS_TO_STOP)


def layers_of(slide: "Slide") -> list[Layer]:
    """The layers that show a slide, in whichever viewer."""
    # napari has no public list of its viewers; without this one the current viewer serves.
    with_window = {*getattr(Viewer, "_instances", ()), current_viewer()} - {None}
    viewers = {id(viewer): viewer for viewer in (*with_window, *_viewers)}.values()
    return [
        layer
        for viewer in viewers
        for layer in viewer.layers
        if layer.metadata.get(SLIDE_KEY) is slide
    ]
