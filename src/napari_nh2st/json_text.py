"""JSON of somebody else: finite numbers, whole characters and a bounded depth."""

import json
import math
from typing import Any

_DEEPEST = 64
_MOST_DIGITS = 19
"""Digits of a whole number: those of 2⁶³."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that is to be computed with, shown and written again.

    Raises
    ------
    ValueError
        It is not JSON; or it has numbers that are infinite, NaN or of more digits than 2⁶³, half
        a character, or more than 64 brackets within one another.
    """
    try:
        content = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, parse_int=_of_few_digits
        )
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    waiting = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("its brackets are nested too deeply")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            for name in value:
                _check_text(name)
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
    return content


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has half a character (a surrogate)")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def _of_few_digits(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"{digits[:20]}… is too large a number")
    return int(digits)
