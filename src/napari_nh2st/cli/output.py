"""Output of the command: results on stdout, everything else on stderr, safe for terminals.

Names of files and genes, model cards and error messages come from other people's files. What in
them is no printable character is shown as its escape, as in Python's source. All goes through here.
"""

import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

_LAYOUT = "\n\u00a0\u202f"
"""Line breaks and narrow spaces: not printable as Python has it, and harmless."""


def printable(text: str) -> str:
    """Text with each control character, lone surrogate and mark of direction as its escape.

    Line breaks stay. A tab becomes spaces, since no table survives one.

    Examples
    --------
    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    text = text.expandtabs(4)
    if text.isprintable():
        return text
    return "".join(each if _is_harmless(each) else _escaped(each) for each in text)


def in_one_line(text: str) -> str:
    """Printable text in which every line break is a space."""
    return printable(" ".join(text.split()))


def show(text: str = "", *, end: str = "\n") -> None:
    """Print a line of a result on stdout."""
    print(printable(text), end=end, flush=True)


def report(text: str, bar: "tqdm[Any] | None" = None) -> None:
    """Print a sentence on stderr, above a progress bar if there is one."""
    if bar is not None:
        bar.write(printable(text), file=sys.stderr)
    else:
        print(printable(text), file=sys.stderr, flush=True)


def print_json(content: Any) -> None:
    """Print a result as JSON, valid whatever stdout can encode; NaN and infinity are null."""
    text = json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    text = "".join(
        each if _is_harmless(each) else json.dumps(each)[1:-1] for each in text.replace("\t", " ")
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
    """Print warnings and log records of libraries as everything else: they name files too."""

    def show_warning(message: Warning | str, *others: Any, **more: Any) -> None:
        report(f"Warning: {in_one_line(str(message))}")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            report(f"{record.levelname.capitalize()}: {in_one_line(record.getMessage())}")

    warnings.showwarning = show_warning
    logging.lastResort = Handler(logging.WARNING)


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


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in _LAYOUT


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content
