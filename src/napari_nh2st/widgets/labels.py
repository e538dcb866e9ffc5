"""Labels that do not guess from a text whether it is markup, as Qt's own do."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget


class PlainLabel(QLabel):
    """Text as it is.

    Parameters
    ----------
    text
        Shown first.
    parent
        Parent widget.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


class MarkupLabel(QLabel):
    """Markup of our own; what comes from elsewhere is escaped by who puts it in.

    Parameters
    ----------
    text
        Shown first.
    parent
        Parent widget.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setText(text)
