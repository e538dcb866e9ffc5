"""Names of genes and other things as users write them: lists of them, and near misses."""

import difflib
import re
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[,;\s]+")
_QUOTES = "'\"`"

_NEAREST = 3
_ALIKE = 0.5
"""Names offered for an unknown one, at most, and how alike they must be (difflib's ratio)."""


def parse_genes(text: str) -> tuple[str, ...]:
    """Extract gene names from pasted text.

    Parameters
    ----------
    text
        Names separated by commas, semicolons, spaces, tabs or new lines, with or without quotes.

    Returns
    -------
    tuple of str
        The names in the text's order, each once.

    Examples
    --------
    >>> parse_genes("ERBB2, CD74; 'HLA-A' CD74")
    ('ERBB2', 'CD74', 'HLA-A')
    """
    names = (name.strip(_QUOTES) for name in _SEPARATORS.split(text))
    return tuple(dict.fromkeys(name for name in names if name))


def folded_names(known: Iterable[str]) -> dict[str, str]:
    """Names by their case-folded form; of those that differ in case alone, the first."""
    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(name.casefold(), name)
    return folded


def nearest_names(
    name: str, known: Iterable[str], n: int = _NEAREST, alike: float = _ALIKE
) -> tuple[str, ...]:
    """Known names that are spelled most like one, whatever their case.

    Parameters
    ----------
    name
        Not among the known ones.
    known
        Names, or a dictionary of :func:`folded_names`.
    n
        How many at most.
    alike
        Least ratio of difflib, from 0 to 1.

    Returns
    -------
    tuple of str
        The most alike first; empty where none is.

    Examples
    --------
    >>> nearest_names("epcan", ["ERBB2", "EPCAM", "CD74"])
    ('EPCAM',)
    """
    folded = known if isinstance(known, dict) else folded_names(known)
    near = difflib.get_close_matches(name.casefold(), folded, n=n, cutoff=alike)
    return tuple(folded[match] for match in near)
