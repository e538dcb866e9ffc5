"""Compilation of what napari draws labels with, in another thread than the one that draws."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
from napari.layers import Labels

_P = ParamSpec("_P")
_T = TypeVar("_T")


def compile_labels_drawing() -> None:
    """Have numba import and compile what the first Labels layer needs: it takes seconds."""
    Labels(np.zeros((1, 1), np.uint8), colormap={0: "transparent", 1: "white", None: "white"})


def then_compiled(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function for a thread, after which what it found can be drawn as labels at once."""

    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        result = function(*args, **kwargs)
        compile_labels_drawing()
        return result

    return call
