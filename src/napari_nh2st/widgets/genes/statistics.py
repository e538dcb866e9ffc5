"""What the gene table says of each gene's map, computed beside the viewer."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.qt.threading import create_worker
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_nh2st.analysis import moran
from napari_nh2st.prediction.values import predicted_tiles
from napari_nh2st.widgets.notifications import show_error


def gene_statistics(prediction: AnnData) -> pd.DataFrame:
    """Mean and Moran's I of each gene's map.

    Parameters
    ----------
    prediction
        Tiles × genes; tiles without values are left out.

    Returns
    -------
    DataFrame
        ``mean`` and ``morans_i`` by gene; NaN where nothing is predicted yet.
    """
    table = pd.DataFrame({"mean": np.nan, "morans_i": np.nan}, index=prediction.var_names)
    predicted = predicted_tiles(prediction)
    if predicted.any():
        table["mean"] = np.mean(prediction.X, 0, dtype=np.float64, where=predicted[:, None])
        table["morans_i"] = moran(prediction)
    return table


class RepeatedWork(QObject):
    """Calls a function in a thread whenever asked, but only so often; the last request wins.

    Parameters
    ----------
    function
        Called in a thread.
    seconds
        At least this long from the end of one call to the start of the next.

    Attributes
    ----------
    done
        Emitted with what the function returned.
    """

    done = Signal(object)

    def __init__(
        self, function: Callable[..., Any], seconds: float, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.function = function
        self.seconds = seconds
        self._wanted: tuple[Any, ...] | None = None
        self._worker: Any = None
        self._ended = -np.inf
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._start)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return self._worker is None and self._wanted is None

    def request(self, *arguments: Any, now: bool = False) -> None:
        """Call the function with these arguments, soon.

        Parameters
        ----------
        *arguments
            Of the function.
        now
            Do not wait for the time since the last call; a call under way is waited for.
        """
        self._wanted = arguments
        if now:
            self._ended = -np.inf
        self._wait()

    def close(self) -> None:
        """Start no more calls, and leave out the result of the one under way."""
        self._wanted = None
        with suppress(RuntimeError):  # when the application ends, Qt may have deleted it first
            self._timer.stop()
        if self._worker is not None:
            self._worker.returned.disconnect(self._on_returned)
            self._worker.errored.disconnect(_show_failure)
            self._on_finished()

    def _wait(self) -> None:
        if self._worker is None and self._wanted is not None:
            left = self._ended + self.seconds - time.monotonic()
            self._timer.start(max(0, round(left * 1000)) if np.isfinite(left) else 0)

    def _start(self) -> None:
        if self._wanted is None or self._worker is not None:
            return
        arguments, self._wanted = self._wanted, None
        self._worker = create_worker(
            self.function,
            *arguments,
            _connect={
                "returned": self._on_returned,
                "errored": _show_failure,
                "finished": self._on_finished,
            },
            _ignore_errors=True,
        )

    def _on_returned(self, result: Any) -> None:
        self.done.emit(result)

    def _on_finished(self) -> None:
        if self._worker is not None:
            self._worker.finished.disconnect(self._on_finished)
            self._worker = None
        self._ended = time.monotonic()
        self._wait()


def _show_failure(error: Exception) -> None:
    show_error(f"The genes' numbers could not be computed: {type(error).__name__}: {error}")
