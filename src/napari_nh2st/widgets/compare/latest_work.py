"""Work in a thread, of which only the last that was begun arrives."""

from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker
from psygnal import Signal


class LatestWork:
    """Does one thing at a time in a thread; what was begun before arrives no more.

    Attributes
    ----------
    is_busy
        Whether something is still to arrive.
    idle
        Emitted when a thread has ended and nothing more is to arrive; before what it returned does.
    """

    idle = Signal()

    def __init__(self) -> None:
        self._worker: Any = None

    @property
    def is_busy(self) -> bool:
        """Whether something is still to arrive."""
        return self._worker is not None

    def begin(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Do something in a thread.

        Parameters
        ----------
        work
            Is done in the thread.
        on_done, on_error
            Get, in the thread of the viewer, what it returns or the error it ends in.
        """

        def is_wanted() -> bool:
            wanted = worker is self._worker
            if wanted:
                self._worker = None
            if not self.is_busy:
                self.idle.emit()
            return wanted

        def returned(result: Any) -> None:
            if is_wanted():
                on_done(result)

        def errored(error: Exception) -> None:
            if is_wanted():
                on_error(error)

        worker: Any = create_worker(
            work,
            _connect={"returned": returned, "errored": errored},
            _start_thread=False,
            _ignore_errors=True,
        )
        self._worker = worker
        worker.start()

    def abandon(self) -> None:
        """Nothing that was begun arrives."""
        self._worker = None
