"""Labels that do not guess from a text whether it is markup, as Qt's own do."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_nh2st.widgets.text_colors import caution_color, is_new_style


class PlainLabel(QLabel):
    """Text as it is.

    Parameters
    ----------
    text
        Shown first.
    parent
        Of the widget.
    wrap
        Whether it takes as many lines as it needs at its width.
    tip
        Tooltip.
    """

    _FORMAT = Qt.TextFormat.PlainText

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, wrap: bool = False, tip: str = ""
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(self._FORMAT)
        self.setText(text)
        self.setWordWrap(wrap)
        self.setToolTip(tip)

    def show_text(self, text: str) -> None:
        """Show a text; without one the label takes no room."""
        self.setText(text)
        self.setVisible(bool(text))


class MarkupLabel(PlainLabel):
    """Markup of our own; what comes from elsewhere is escaped by who puts it in."""

    _FORMAT = Qt.TextFormat.RichText


class CautionLabel(PlainLabel):
    """Text to be minded: it wraps, in a colour of its own."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, tip: str = "") -> None:
        super().__init__(text, parent, wrap=True, tip=tip)
        self._color_by_theme()

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Take the color that reads on the theme."""
        super().changeEvent(event)
        if is_new_style(event):
            self._color_by_theme()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Take it now that the style is known."""
        super().showEvent(event)
        self._color_by_theme()

    def _color_by_theme(self) -> None:
        style = f"color: {caution_color(self).name()}"
        if style != self.styleSheet():  # which is a change of the style again
            self.setStyleSheet(style)
