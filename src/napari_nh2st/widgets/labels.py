"""Labels that do not guess from a text whether it is markup, as Qt's own do."""

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_nh2st.widgets.text_colors import is_new_style, text_color

_NARROWEST = 160
"""Pixels for which a label is made high enough before it has its width."""


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
    fits
        Whether it is made as high as its lines need: Qt asks forms for the height at a width that
        their rows do not have yet.
    """

    _FORMAT = Qt.TextFormat.PlainText

    def __init__(
        self,
        text: str = "",
        parent: QWidget | None = None,
        *,
        wrap: bool = False,
        tip: str = "",
        fits: bool = False,
    ) -> None:
        super().__init__(parent)
        self._fits = fits
        self.setTextFormat(self._FORMAT)
        self.setText(text)
        self.setWordWrap(wrap)
        self.setToolTip(tip)

    def setText(self, text: str | None) -> None:  # Qt's name
        """Show a text."""
        super().setText(text)
        self._fit()

    def show_text(self, text: str) -> None:
        """Show a text; without one the label takes no room."""
        self.setText(text)
        self.setVisible(bool(text))

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Take the height that the lines need at this width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Take the colors that read on the theme."""
        super().changeEvent(event)
        if is_new_style(event):
            self._color_by_theme()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Take them now that the style is known."""
        super().showEvent(event)
        self._color_by_theme()

    def _fit(self) -> None:
        if self._fits:
            self.setMinimumHeight(0)  # Qt's answer is never less than this
            if self.text():
                self.setMinimumHeight(self.heightForWidth(max(self.width(), _NARROWEST)))

    def _color_by_theme(self) -> None:
        """Color what has no color of the style."""


class MarkupLabel(PlainLabel):
    """Markup of our own; what comes from elsewhere is escaped by who puts it in.

    Links, and what has the class ``bad``, have colors that read on the theme.
    """

    _FORMAT = Qt.TextFormat.RichText
    _markup = ""
    _style = ""

    def setText(self, text: str | None) -> None:  # Qt's name
        """Show markup."""
        self._markup = text or ""
        self._style = self._style_of_theme()
        super().setText(self._markup and self._style + self._markup)

    def text(self) -> str:
        """The markup, without the colors."""
        return self._markup

    def _style_of_theme(self) -> str:
        link, bad = (text_color(self, kind).name() for kind in ("link", "bad"))
        return f"<style>a {{ color: {link} }} .bad {{ color: {bad} }}</style>"

    def _color_by_theme(self) -> None:
        if self._style != self._style_of_theme():
            self.setText(self._markup)


class CautionLabel(PlainLabel):
    """Text to be minded: it wraps, in a color of its own."""

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, tip: str = "", fits: bool = False
    ) -> None:
        super().__init__(text, parent, wrap=True, tip=tip, fits=fits)
        self._color_by_theme()

    def _color_by_theme(self) -> None:
        style = f"color: {text_color(self, 'caution').name()}"
        if style != self.styleSheet():  # which is a change of the style again
            self.setStyleSheet(style)
