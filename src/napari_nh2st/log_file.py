"""Log file: what the package and its libraries do, of all processes of a run, with their times.

A command gives its name to the processes that it starts by the environment, and each appends to it.
The package's own records are there from DEBUG on. Those of libraries are there from WARNING on, or
from INFO on where they are asked for: asked, some also write to stderr by themselves.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import printable

VARIABLE = "NH2ST_LOG_FILE"
PACKAGE = "napari_nh2st"

_WITH_ADDRESSES = ("httpcore", "httpx", "httpx2", "urllib3")
"""Libraries whose records below WARNING have whole URLs, which may be signed."""

_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d [A-Z]")


@contextmanager
def logging_to(
    path: Path | None, *others: logging.Handler, libraries: int = logging.WARNING
) -> Iterator[None]:
    """Append what is logged in the block to a file, also by the processes that it starts.

    Parameters
    ----------
    path
        The file; None for none.
    *others
        Further handlers, for as long.
    libraries
        Least level of the records of libraries.

    Raises
    ------
    InputError
        It cannot be written, or is a file of another kind.
    """
    handlers = [*others, *([] if path is None else [_handler(path, libraries)])]
    before = os.environ.get(VARIABLE)
    root, package = logging.getLogger(), logging.getLogger(PACKAGE)
    levels = root.level, package.level
    if path is not None:
        os.environ[VARIABLE] = str(path.absolute())
    for handler in handlers:
        root.addHandler(handler)
    if handlers:
        root.setLevel(libraries)
        package.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.setLevel(levels[0])
        package.setLevel(levels[1])
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        if path is not None:
            os.environ.pop(VARIABLE)
            if before is not None:
                os.environ[VARIABLE] = before


def log_as_parent() -> None:
    """Let this process append to the log file of the command that started it, if there is one."""
    name = os.environ.get(VARIABLE)
    root = logging.getLogger()
    if name and not any(isinstance(handler, _LogFile) for handler in root.handlers):
        try:
            root.addHandler(_handler(Path(name)))
        except InputError:  # the log is a convenience: the work goes on without
            return
        logging.getLogger(PACKAGE).setLevel(logging.DEBUG)


def is_wanted(record: logging.LogRecord, package: int, libraries: int) -> bool:
    """Whether a record has the least level of the package's, or of libraries'."""
    name = record.name.partition(".")[0]
    if name == PACKAGE:
        return record.levelno >= package
    least = max(libraries, logging.WARNING) if name in _WITH_ADDRESSES else libraries
    return record.levelno >= least


class _LogFile(logging.StreamHandler[IO[str]]):
    """Appends a line for each record, and the lines of its traceback."""

    def __init__(self, stream: IO[str], libraries: int) -> None:
        super().__init__(stream)
        self.setFormatter(_Format("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
        self.addFilter(lambda record: is_wanted(record, logging.DEBUG, libraries))

    def handleError(self, record: logging.LogRecord) -> None:
        """Leave it: a full disk of the log is no reason to stop, nor to fill the screen."""

    def close(self) -> None:
        """Close the file; what a full disk has no room for is lost."""
        super().close()
        with suppress(OSError):
            self.stream.close()


class _Format(logging.Formatter):
    """Times as ISO 8601 has them, in milliseconds; nothing in it steers a terminal."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return (
            datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        )

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record)).replace("\n", "\n  ")


def _handler(path: Path, libraries: int = logging.WARNING) -> _LogFile:
    try:
        path = path.expanduser()
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                if _LINE.match(file.read(64)) is None:
                    raise InputError(
                        f"{path} is not a log of nh2st: nothing is written to it. Give another file"
                    )
        # Of what other processes append at the same time, whole lines stay whole.
        stream = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"the log file {path} cannot be written: {reason}") from None
    return _LogFile(stream, libraries)
