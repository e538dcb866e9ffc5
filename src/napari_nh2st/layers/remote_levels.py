"""Levels of slides at URLs, drawn as they arrive while the viewer stays fluid."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.utils.notifications import show_warning
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.shown_text import for_qt
from napari_nh2st.slide import Level, Slide
from napari_nh2st.slide.level import DAMAGED_GREY, ArrayView

_PLACEHOLDER_GREY = 235
_BACKDROP_AREA = 2048 * 2048
_IN_MEMORY = 256 * 1024**2
"""Bytes of decoded chunks: some screens."""

_WIDEST_PX = 4096
_THREADS = 4
_MOST_WAITING = 64
"""Chunks; of more, those that were asked for first have left the screen."""

_Chunk = tuple[int, int, int]
"""Level, row and column."""


_undelivered: "list[RemoteLevels]" = []
"""Those whose signals wait for the main thread: the layer may be gone before."""


class RemoteLevels:
    """What napari draws of the native levels of a slide at a URL.

    napari slices in the thread that draws, which a server may not hold up. What is not there is
    drawn from the coarsest level, and asked for in other threads, the latest first. In any other
    thread, and as a whole (``np.asarray``), a level is read as it is.

    Parameters
    ----------
    slide
        Read a first time here, in a thread that may wait.
    layers
        Gives the layers that show it, to be drawn again when something has come.
    """

    arrived = Signal()
    failed = Signal(str)

    def __init__(self, slide: Slide, layers: Callable[[Slide], list[Any]]) -> None:
        self._slide, self._layers = slide, layers
        self._levels = slide.levels[: slide.n_native_levels]
        _ = slide.fingerprint  # for which the docks would wait
        coarsest = self._levels[-1]
        self.backdrop: NDArray[np.uint8] | None = None
        if coarsest.shape[0] * coarsest.shape[1] <= _BACKDROP_AREA:
            self.backdrop = coarsest.read(0, 0, *coarsest.shape, damaged=DAMAGED_GREY)
        self._lock = threading.Lock()
        self._waiting: OrderedDict[_Chunk, None] = OrderedDict()
        self._loading: set[_Chunk] = set()
        self._chunks: OrderedDict[_Chunk, NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0
        self._threads = 0
        self._is_told = self._has_failed = False
        self.arrived.connect(self._on_arrival, thread="main")
        self.failed.connect(self._on_failure, thread="main")

    def views(self) -> list["ArrivingLevel"]:
        """The levels as arrays, uint8, (height, width, 3), finest first."""
        return [ArrivingLevel(level, number, self) for number, level in enumerate(self._levels)]

    def chunk(self, key: _Chunk) -> NDArray[np.uint8] | None:
        """Pixels of a chunk; None where they are yet to come."""
        with self._lock:
            found = self._chunks.get(key)
            if found is not None:
                self._chunks.move_to_end(key)
                return found
            if key not in self._loading:
                self._waiting[key] = None
                self._waiting.move_to_end(key)
                if len(self._waiting) > _MOST_WAITING:
                    self._waiting.popitem(last=False)
            if self._threads < _THREADS and self._waiting:
                self._threads += 1
                # One that hangs does not keep napari from ending.
                threading.Thread(target=self._load, name="nh2st-arriving", daemon=True).start()
        return None

    # --- in threads ---

    def _load(self) -> None:
        while (key := self._next()) is not None:
            number, row, column = key
            level = self._levels[number]
            rows, columns = chunk_shape(level)
            top, left = row * rows, column * columns
            height, width = min(rows, level.shape[0] - top), min(columns, level.shape[1] - left)
            try:
                pixels = level.read(top, left, height, width, damaged=DAMAGED_GREY)
            except Exception as error:
                self._give_up(key, error)
                continue
            self._keep(key, pixels)

    def _next(self) -> _Chunk | None:
        with self._lock:
            if not self._waiting:
                self._threads -= 1
                return None
            key, _ = self._waiting.popitem()
            self._loading.add(key)
            return key

    def _keep(self, key: _Chunk, pixels: NDArray[np.uint8]) -> None:
        with self._lock:
            self._loading.discard(key)
            self._chunks[key] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > _IN_MEMORY and len(self._chunks) > 1:
                self._bytes -= self._chunks.popitem(last=False)[1].nbytes
            is_told, self._is_told, self._has_failed = self._is_told, True, False
        if not is_told:
            _undelivered.append(self)
            self.arrived.emit()

    def _give_up(self, key: _Chunk, error: Exception) -> None:
        with self._lock:
            self._loading.discard(key)
            self._waiting.clear()  # they would fail as well
            is_told, self._has_failed = self._has_failed, True
        if not is_told:
            _undelivered.append(self)
            self.failed.emit(str(error))

    # --- in the main thread ---

    def _on_arrival(self) -> None:
        _undelivered.remove(self)
        with self._lock:
            self._is_told = False
        for layer in self._layers(self._slide):
            layer.refresh()

    def _on_failure(self, reason: str) -> None:
        _undelivered.remove(self)
        if self._layers(self._slide):
            show_warning(for_qt(f"{reason} Move the view to try again."))


def chunk_shape(level: Level) -> tuple[int, int]:
    """Rows and columns that come together: of strips as wide as a slide, a part of each."""
    rows, columns = level.viewer_chunk
    return rows, min(columns, _WIDEST_PX)


class ArrivingLevel(ArrayView):
    """A level as an array whose parts may be yet to come.

    Parameters
    ----------
    level
        The level.
    number
        Which it is.
    levels
        Has what has come, and asks for the rest.
    """

    def __init__(self, level: Level, number: int, levels: RemoteLevels) -> None:
        super().__init__(level)
        self._number, self._levels = number, levels

    @property
    def size(self) -> int:
        """Values of the array."""
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(super().read(0, 0, *self._level.shape), dtype)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        parts = list(key) if isinstance(key, tuple) else [key]
        if Ellipsis in parts:
            at = parts.index(Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim - len(parts) + 1)
        parts += [slice(None)] * (self.ndim - len(parts))
        y, x, channel = parts
        return super().__getitem__((y, x, channel))

    def read(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """What is there of a rectangle, in the main thread; elsewhere all of it."""
        if threading.current_thread() is not threading.main_thread():
            return super().read(y, x, height, width)
        out = np.empty((height, width, 3), np.uint8)
        rows, columns = chunk_shape(self._level)
        for row in range(y // rows, -(-(y + height) // rows)):
            for column in range(x // columns, -(-(x + width) // columns)):
                top, left = row * rows, column * columns
                y0, x0 = max(top, y), max(left, x)
                y1, x1 = min(top + rows, y + height), min(left + columns, x + width)
                pixels = self._levels.chunk((self._number, row, column))
                target = out[y0 - y : y1 - y, x0 - x : x1 - x]
                if pixels is None:
                    target[:] = self._placeholder(y0, x0, y1, x1)
                else:
                    target[:] = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _placeholder(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[np.uint8]:
        """A rectangle of the coarsest level, made larger; grey where that is not at hand."""
        backdrop = self._levels.backdrop
        if backdrop is None:
            return np.full((1, 1, 3), _PLACEHOLDER_GREY, np.uint8)
        rows, columns = (
            np.arange(first, last) * small // full
            for first, last, small, full in (
                (y0, y1, backdrop.shape[0], self._level.shape[0]),
                (x0, x1, backdrop.shape[1], self._level.shape[1]),
            )
        )
        return backdrop[np.ix_(rows, columns)]
