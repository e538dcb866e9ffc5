"""A dock's content that scrolls where the window is too low for it."""

from qtpy.QtCore import QEvent, QObject, QSize
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

_AROUND_PINNED = (10, 4, 10, 4)
"""Pixels left, above, right, below."""


class UprightArea(QScrollArea):
    """Scrolls up and down, and is never narrower than what is in it."""

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """As wide as the content must be, with the scroll bar beside it."""
        content, bar = self.widget(), self.verticalScrollBar()
        assert content is not None
        assert bar is not None
        width = content.minimumSizeHint().width() + bar.sizeHint().width()
        return super().minimumSizeHint().expandedTo(QSize(width, 0))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Let who lays this out know when the content is to be wider, which Qt does not."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))


def scroll_within(widget: QWidget, content: QWidget, below: QWidget | None = None) -> QScrollArea:
    """Fill a widget with content that scrolls up and down.

    Parameters
    ----------
    widget
        Has no layout yet.
    content
        As wide as the widget, which becomes no narrower than the content can be.
    below
        Stays in sight at the bottom, such as the buttons that start and stop.
    """
    area = UprightArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addWidget(area, 1)
    if below is not None:
        pinned = QVBoxLayout()
        pinned.setContentsMargins(*_AROUND_PINNED)
        pinned.addWidget(below)
        layout.addLayout(pinned)
    return area
