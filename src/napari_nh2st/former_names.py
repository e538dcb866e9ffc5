"""Deprecated names, which warn for one minor version before they go."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def former_names(
    module: str, homes: Mapping[str, str], other: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """``__getattr__`` of a module whose names have moved.

    Parameters
    ----------
    module
        The module's ``__name__``.
    homes
        Name → where it is now, as ``"package.module:name"``.
    other
        ``__getattr__`` for all other names; without one there are none.

    Returns
    -------
    callable
        It gives what has moved, with a :class:`FutureWarning` that names the new place.
    """

    def attribute(name: str) -> Any:
        if name in homes:
            home, _, now = homes[name].partition(":")
            warnings.warn(
                f"{module}.{name} is deprecated and will be removed in the next minor version: "
                f"use {home}.{now}",
                FutureWarning,
                stacklevel=2,
            )
            return getattr(import_module(home), now)
        if other is not None:
            return other(name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return attribute
