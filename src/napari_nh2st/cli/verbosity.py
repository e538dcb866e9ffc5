"""What the command shows on stderr: ``-v``, ``-q`` and ``--log-file``.

Little is imported here, since ``nh2st --help`` needs it.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from napari_nh2st.cli.output import SAID, show_from
from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import in_one_line

_LEVELS = (
    (logging.WARNING, logging.WARNING),
    (logging.INFO, logging.WARNING),
    (logging.DEBUG, logging.INFO),
)
"""Least levels of the package's own records and of libraries', by the times of ``-v``."""

_VERBOSE = "verbose_"
"""Begins the names of arguments that count ``-v``."""

_SAY_THEMSELVES = ("tifffile",)
"""Libraries whose warnings are said in sentences of our own."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options, which each command has and which may stand before the command too."""
    much = command.add_mutually_exclusive_group()
    much.add_argument(
        "-v",
        "--verbose",
        action="count",
        # Those before the command, after it and after its action add up.
        dest=f"{_VERBOSE}{command.prog.count(' ')}",
        default=argparse.SUPPRESS,
        help="show on stderr what is being done; -vv adds details and messages of libraries",
    )
    much.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show only errors on stderr: no progress, no notices",
    )
    command.add_argument(
        "--log-file",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="append everything to this file, with times, whatever is shown (default: "
        "NH2ST_LOG_FILE, else none)",
    )


@contextmanager
def as_asked(args: argparse.Namespace, *, owns_process: bool) -> Iterator[None]:
    """Show and log as the arguments say, in the block.

    Parameters
    ----------
    args
        Of the command line.
    owns_process
        Whether records of libraries are the command's to show, without ``-v`` as well.

    Raises
    ------
    InputError
        ``-v`` and ``-q`` are given, or the log file cannot be written.
    """
    from pathlib import Path

    from napari_nh2st.log_file import VARIABLE, logging_to

    verbose = sum(times for name, times in vars(args).items() if name.startswith(_VERBOSE))
    quiet = "quiet" in args
    if verbose and quiet:
        raise InputError("-v and -q cannot be combined")
    log_file = getattr(args, "log_file", None) or os.environ.get(VARIABLE) or None
    package, libraries = _LEVELS[min(verbose, len(_LEVELS) - 1)]
    shown = []
    if quiet:
        shown.append(_Shown(logging.ERROR, logging.ERROR))
    elif owns_process or verbose or log_file:
        shown.append(_Shown(package, libraries))
    before = show_from(logging.ERROR if quiet else logging.INFO)
    try:
        path = None if log_file is None else Path(log_file)
        with logging_to(path, *shown, libraries=libraries):
            if log_file is not None:
                _log_what_runs()
            yield
    finally:
        show_from(before)


def _log_what_runs() -> None:
    import platform
    from importlib import metadata

    logging.getLogger(SAID).info(
        "napari-nh2st %s, Python %s, %s, in %s: %s",
        metadata.version("napari-nh2st"),
        platform.python_version(),
        platform.platform(),
        os.getcwd(),  # noqa: PTH109
        in_one_line(" ".join(map(_without_key, sys.argv))),
    )


def _without_key(argument: str) -> str:
    from napari_nh2st.remote.urls import is_url, shown_url

    return shown_url(argument) if is_url(argument) else argument


class _Shown(logging.Handler):
    """Prints records on stderr in a line, but for those that were said there."""

    def __init__(self, package: int, libraries: int) -> None:
        super().__init__()
        self._levels = package, libraries

    def emit(self, record: logging.LogRecord) -> None:
        from napari_nh2st.log_file import is_wanted

        if record.name == SAID or not is_wanted(record, *self._levels):
            return
        if record.name.startswith(_SAY_THEMSELVES) and self._levels[0] == logging.WARNING:
            return
        line = f"{record.levelname.capitalize()}: {in_one_line(record.getMessage())}"
        print(line, file=sys.stderr, flush=True)
