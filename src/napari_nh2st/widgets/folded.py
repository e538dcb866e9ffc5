"""Collapsible part of a dock, with an arrow that is seen in every theme."""

from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

_EXPANDED, _COLLAPSED = "▾", "▸"


class Folded(QCollapsible):
    """A :class:`~superqt.QCollapsible` that begins folded.

    Its arrow is drawn again when the theme changes: superqt draws it once, in the color that
    texts have before the window's style is known.

    Parameters
    ----------
    title
        Stands beside the arrow.
    content
        Is folded away.
    tip
        Tooltip: what it holds.
    """

    def __init__(self, title: str, content: QWidget, tip: str) -> None:
        super().__init__(title, expandedIcon=_EXPANDED, collapsedIcon=_COLLAPSED)
        self.setContent(content)
        self.setToolTip(tip)
        self.toggleButton().setToolTip(tip)
        self.collapse(animate=False)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Draw the arrow in the color of the theme's texts."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange):
            self._draw_arrow()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Draw the arrow now that the style is known."""
        super().showEvent(event)
        self._draw_arrow()

    def _draw_arrow(self) -> None:
        self.toggleButton().ensurePolished()
        self.setExpandedIcon(_EXPANDED)
        self.setCollapsedIcon(_COLLAPSED)
