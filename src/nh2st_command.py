"""Start of the command ``nh2st``: from its first line on, Ctrl-C ends in no traceback.

Outside the package, whose import takes some milliseconds; nothing but the command imports it.
"""

import os
import sys


def _end_quietly(kind: type[BaseException], error: BaseException, traceback: object) -> None:
    if issubclass(kind, KeyboardInterrupt):
        os.write(2, b"nh2st: Stopped.\n")
        os._exit(1)
    sys.__excepthook__(kind, error, traceback)  # type: ignore[arg-type]


sys.excepthook = _end_quietly

from napari_nh2st.thread_waits import short_waits  # noqa: E402

os.environ.update(short_waits())

from napari_nh2st.cli import main  # noqa: E402

__all__ = ["main"]
