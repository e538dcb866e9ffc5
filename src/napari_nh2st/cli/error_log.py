"""Tracebacks of errors that nobody foresaw: in files, since a user can do nothing with them."""

import os
import platform
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path

import platformdirs

KEPT = 20
"""Files; the oldest go."""

_PREFIX, _SUFFIX = "nh2st-", ".log"


def log_folder() -> Path:
    """Where they are: below ``$NH2ST_CACHE`` where that is set, else the platform's log folder."""
    base = os.environ.get("NH2ST_CACHE")
    return Path(base) / "log" if base else Path(platformdirs.user_log_dir("napari-nh2st", False))


def write_error_log(error: BaseException | str) -> Path | None:
    """Write an error's traceback to a file that nobody else may read.

    Parameters
    ----------
    error
        The error, or its traceback as text.

    Returns
    -------
    Path or None
        The file; None where none can be written.
    """
    folder = log_folder()
    trace = error if isinstance(error, str) else "".join(traceback.format_exception(error))
    text = (
        f"napari-nh2st {metadata.version('napari-nh2st')}, Python {platform.python_version()}, "
        f"{platform.platform()}\n{sys.argv!r}\n\n{trace}"
    )
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds))
    name = f"{_PREFIX}{moment}-{nanoseconds:09}{_SUFFIX}"  # in order of time
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / name
        private = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(private, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123
            file.write(text)
        for old in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))[:-KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path
