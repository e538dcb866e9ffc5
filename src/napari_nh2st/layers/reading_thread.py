"""Reading in a thread, while napari draws and shows that it is busy."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from napari_nh2st.shown_text import for_qt

_T = TypeVar("_T")
_SECONDS_BETWEEN_FRAMES = 1 / 60


def read_in_thread(read: Callable[[], _T], name: str) -> _T:
    """Call a function in a thread and wait for what it returns, without stopping the window.

    napari calls a reader in the thread that draws, and takes the layers from what it returns. Its
    progress bar handles Qt's events each time that it moves, so it is moved while the thread works:
    the first prediction that is opened takes seconds, most of them for modules to be imported.

    Parameters
    ----------
    read
        Called without arguments; in the calling thread, if that is not the main one.
    name
        Stands in napari's activity dock.

    Returns
    -------
    object
        What `read` returns.

    Raises
    ------
    Exception
        What `read` raises.
    """
    if threading.current_thread() is not threading.main_thread() or not _is_viewer_open():
        return read()
    from napari.utils import progress

    future: Future[_T] = Future()
    thread = threading.Thread(target=_run, args=(read, future), name="nh2st-reader")
    with progress(total=0, desc=for_qt(f"Opening {name}")) as bar:
        thread.start()
        while not wait([future], _SECONDS_BETWEEN_FRAMES).done:
            bar.update(0)
    return future.result()


def _is_viewer_open() -> bool:
    # The reader works without napari too: what nobody has imported shows nothing.
    napari = sys.modules.get("napari")
    return napari is not None and napari.current_viewer() is not None


def _run(read: Callable[[], _T], future: "Future[_T]") -> None:
    try:
        future.set_result(read())
    except BaseException as error:
        future.set_exception(error)
