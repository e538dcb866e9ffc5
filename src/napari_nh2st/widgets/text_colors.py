"""Colors of texts that are to be minded or passed over, in either theme of napari."""

from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QWidget

_CAUTION = {"light": QColor("#7a4a00"), "dark": QColor("#e09a3e")}
_TEXT_SHARE = 0.68
"""Share of the text's own color in what is greyed: at least 4.5 : 1 against the background."""


def caution_color(widget: QWidget) -> QColor:
    """Color of a caution, at least 4.5 : 1 against the window's background.

    Parameters
    ----------
    widget
        Its own palette says nothing: a label is transparent, and its text has this color.
    """
    window = widget.window()
    assert window is not None
    window.ensurePolished()
    has_light_text = window.palette().color(QPalette.ColorRole.WindowText).lightness() > 127
    return _CAUTION["dark" if has_light_text else "light"]


def greyed_color(widget: QWidget) -> QColor:
    """Color of a text that matters less, between the text and the background of a list or table."""
    widget.ensurePolished()
    palette = widget.palette()
    text, background = (
        palette.color(QPalette.ColorRole.Text),
        palette.color(QPalette.ColorRole.Base),
    )
    parts = zip(text.getRgb()[:3], background.getRgb()[:3], strict=True)
    return QColor(*(round(_TEXT_SHARE * a + (1 - _TEXT_SHARE) * b) for a, b in parts))


def is_new_style(event: Any) -> bool:
    """Whether an event tells a widget that its theme may be another one."""
    return event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange)
