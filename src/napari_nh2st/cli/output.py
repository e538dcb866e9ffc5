"""Output of the command: results on stdout, everything else on stderr, safe for terminals.

Names of files and genes, model cards and error messages come from other people's files. What in
them is no printable character is shown as its escape, as in Python's source. All goes through here,
and what is said on stderr is also a log record, for ``--log-file``.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO

from napari_nh2st.shown_text import in_one_line, is_harmless, printable

if TYPE_CHECKING:
    from tqdm import tqdm

SAID = "napari_nh2st.cli"
"""Logger of what is said on stderr; its records are not shown a second time."""

_least = logging.INFO
_log = logging.getLogger(SAID)
_log.addHandler(logging.NullHandler())  # else Python would show them where no log is set up


def show_from(level: int) -> int:
    """Say on stderr only what has at least this level; gives the level from before."""
    global _least
    before, _least = _least, level
    return before


def shows_progress() -> bool:
    """Whether progress is shown: bars as well as lines."""
    return _least <= logging.INFO


def show(text: str = "", *, end: str = "\n") -> None:
    """Print a line of a result on stdout."""
    print(printable(text), end=end, flush=True)


def report(text: str, bar: "tqdm[Any] | None" = None) -> None:
    """Say on stderr how far the work is, above a progress bar if there is one."""
    _say(logging.INFO, text, bar)


def notice(text: str, bar: "tqdm[Any] | None" = None) -> None:
    """Say on stderr what the user should know of a work that goes on."""
    _say(logging.WARNING, f"Notice: {text}", bar)


def complain(text: str, bar: "tqdm[Any] | None" = None) -> None:
    """Say on stderr what went wrong, whatever else is hidden."""
    _say(logging.ERROR, text, bar)


def _say(level: int, text: str, bar: "tqdm[Any] | None" = None) -> None:
    text = printable(text)  # also for logs of others, which may take no lone surrogate
    _log.log(level, "%s", text)
    if level < _least:
        return
    if bar is not None:
        bar.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Print a result as JSON, valid whatever stdout can encode; NaN and infinity are null."""
    text = json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    text = "".join(
        each if is_harmless(each) else json.dumps(each)[1:-1] for each in text.replace("\t", " ")
    )
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(_finite(content), indent=1, allow_nan=False)
    print(text, flush=True)


def print_table(rows: Sequence[tuple[str, str]]) -> None:
    """Print names with their values beside them."""
    names = [printable(name) for name, _ in rows]
    width = max(map(len, names))
    for name, (_, value) in zip(names, rows, strict=True):
        show(f"{name:<{width}}  {value}")


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print a table, the first row being its header."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        first, *others = (
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        show("  ".join((first, *others)).rstrip())


def prepare_streams() -> None:
    """Make stdout and stderr take every text, also where they are closed or know few letters."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def escape_warnings() -> None:
    """Print warnings of libraries as everything else: they name files too."""

    def show_warning(message: Warning | str, *others: Any, **more: Any) -> None:
        _say(logging.WARNING, f"Warning: {in_one_line(str(message))}")

    warnings.showwarning = show_warning


def flush_streams() -> None:
    """Print what is left, so that nothing can fail when the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(stream)


def silence(stream: TextIO) -> None:
    """Send what is left of a stream nowhere: nobody reads it, or its disk is full."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # none of the system's streams, or closed
        pass


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
