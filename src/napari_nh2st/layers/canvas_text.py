"""Lines of text in a corner of the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from napari.components import ViewerModel
from napari.components.overlays import TextOverlay

KEY = "nh2st_text"
"""What the overlays' names in the viewer begin with."""

_POSITION = "top_left"
_WIDTH_OF_LETTER = 0.93
"""Pixels for each point of the font's size, on average: napari draws text as wide as that."""


@dataclass(frozen=True)
class CanvasLine:
    """Text of one color.

    Parameters
    ----------
    text
        May have several lines.
    color
        As #rrggbb; None for the theme's.
    size
        Size of the font, in points.
    """

    text: str
    color: str | None = None
    size: float = 10.0


class CanvasText:
    """Shows lines in overlays of its own; those of napari and of the user stay as they are.

    Parameters
    ----------
    viewer
        Whose canvas it is.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._lines: tuple[CanvasLine, ...] = ()

    def show(self, lines: Sequence[CanvasLine]) -> None:
        """Show these lines instead of the former ones, one below the other."""
        former, self._lines = self._lines, tuple(lines)
        if self._lines == former:
            return
        overlays = self.viewer.canvas.overlays
        for number, line in enumerate(self._lines):
            if line not in former[number : number + 1]:  # napari lays all out anew for each
                _show_line(overlays, f"{KEY}_{number}", line)
        for number in range(len(self._lines), len(former)):
            overlays.pop(f"{KEY}_{number}", None)

    def clear(self) -> None:
        """Remove the lines."""
        self.show(())


def first_that_fits(texts: Sequence[str], size: float, width: float) -> str:
    """The first of some texts that is not too long; the last one's first words, where all are.

    Parameters
    ----------
    texts
        At least one; the best first.
    size
        Size of the font, in points.
    width
        Room for the line, in pixels of the canvas.
    """
    most = max(2, int(width / (size * _WIDTH_OF_LETTER)))
    for text in texts:
        if len(text) <= most:
            return text
    words = shorten(texts[-1], most, placeholder=" …")
    return words if words != "…" else texts[-1][: most - 1] + "…"


def _show_line(overlays: Any, key: str, line: CanvasLine) -> None:
    looks = {"text": line.text, "color": line.color, "font_size": line.size}
    if key in overlays:
        overlay = overlays[key]
        for name, value in looks.items():
            setattr(overlay, name, value)
    else:
        overlays[key] = TextOverlay(visible=True, position=_POSITION, **looks)
