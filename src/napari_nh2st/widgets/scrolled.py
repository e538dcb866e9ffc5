"""A dock's content that scrolls where the window is too low for it."""

from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget


def scroll_within(widget: QWidget, content: QWidget) -> QScrollArea:
    """Fill a widget with content that scrolls up and down.

    Parameters
    ----------
    widget
        Has no layout yet.
    content
        As wide as the widget.
    """
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(area)
    return area
