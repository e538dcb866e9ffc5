"""Text of files, models and layers where it is shown: as it is, never as markup or a command.

A terminal takes some characters for commands. Qt takes a text for HTML where it looks like it, and
loads the pictures that it names: a gene called ``<img src="/dev/zero">`` would end napari.
Matplotlib takes what stands between two dollar signs for a formula.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from math import isfinite

from napari_nh2st.errors import InputError

_MARK = "\N{ZERO WIDTH SPACE}"
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
    return "".join(each if is_harmless(each) else _escaped(each) for each in text)


def in_one_line(text: str) -> str:
    """Printable text in which every line break is a space."""
    return printable(" ".join(text.split()))


def for_qt(text: str) -> str:
    """A text that Qt does not take for markup, for tooltips and for napari's own widgets.

    After each ``<`` comes a character without width, so that no tag begins there. Labels of our
    own are :class:`~napari_nh2st.widgets.labels.PlainLabel` and need none of this.
    """
    return re.sub(f"<(?!{_MARK})", f"<{_MARK}", text)


@contextmanager
def errors_for_qt() -> Iterator[None]:
    """Let an :class:`InputError` say what it says by :func:`for_qt`: napari will show it."""
    try:
        yield
    except InputError as error:
        raise InputError(for_qt(str(error))) from error


def from_qt(text: str) -> str:
    """The text that :func:`for_qt` was given."""
    return text.replace(f"<{_MARK}", "<")


def for_matplotlib(text: str) -> str:
    """A text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def plain_number(number: float) -> str:
    """A number of six digits or fewer without a power of ten, but for very small ones.

    Such as ``1,000,000``, ``0.25`` or ``1e-05``; whole numbers have all of their digits.
    """
    if abs(number) < 1 or not isfinite(number):
        return f"{number:g}"
    return f"{int(number):,}" if number == int(number) else f"{Decimal(f'{number:.6g}'):,f}"


def with_minus(text: str) -> str:
    """A number with a true minus sign."""
    return text.replace("-", "\N{MINUS SIGN}")


def is_harmless(character: str) -> bool:
    """Whether a character changes nothing but the picture of a line on a terminal."""
    return character.isprintable() or character in _LAYOUT


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
