"""Colors of texts that say more than others, in either theme of napari."""

from typing import Any, Literal

from qtpy.QtCore import QEvent, QModelIndex, Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem, QWidget

TextKind = Literal["caution", "bad", "good", "link"]

_COLORS: dict[TextKind, tuple[str, str]] = {
    "caution": ("#6b4000", "#f0b562"),
    "bad": ("#8c1d18", "#f8b4b0"),
    "good": ("#145026", "#7ddc9a"),
    "link": ("#124a78", "#9accf5"),
}
"""On a light and on a dark background: no color has 4.5 : 1 against both."""

_TEXT_SHARE = 0.75
"""Share of the text's own color in what is greyed: at least 4.5 : 1 against the background."""

TEXT_ROLE = Qt.ItemDataRole.UserRole + 1
"""Of items in a view with a :class:`TextDelegate`: ``"greyed"``, another kind of text, or None."""


def text_color(widget: QWidget, kind: TextKind) -> QColor:
    """Color of a kind of text, at least 4.5 : 1 against the window's background.

    Parameters
    ----------
    widget
        Its own palette says nothing: a label is transparent, and its text may have this color.
    kind
        What the text is.
    """
    window = widget.window()
    assert window is not None
    window.ensurePolished()
    has_light_text = window.palette().color(QPalette.ColorRole.WindowText).lightness() > 127
    return QColor(_COLORS[kind][has_light_text])


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


class TextDelegate(QStyledItemDelegate):
    """Draws items of a list or table in the color of their :data:`TEXT_ROLE` on the theme.

    Parameters
    ----------
    view
        List or table.
    """

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view

    def initStyleOption(  # Qt's name
        self, option: QStyleOptionViewItem | None, index: QModelIndex
    ) -> None:
        """Set the color of the text."""
        super().initStyleOption(option, index)
        if option is not None and (kind := index.data(TEXT_ROLE)):
            view = self._view
            color = greyed_color(view) if kind == "greyed" else text_color(view, kind)
            option.palette.setColor(QPalette.ColorRole.Text, color)


def is_new_style(event: Any) -> bool:
    """Whether an event tells a widget that its theme may be another one."""
    return event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange)
