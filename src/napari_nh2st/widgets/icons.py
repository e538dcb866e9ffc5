"""Icons of the docks: badges of genes and swatches of layers."""

from functools import cache

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap


@cache
def dot_icon(color: str, side: int = 24) -> QIcon:
    """A round dot of a color."""
    pixmap, painter = _canvas(side, side)
    painter.setBrush(QColor(color))
    painter.drawEllipse(2, 2, side - 4, side - 4)
    painter.end()
    return QIcon(pixmap)


def swatch_icon(color: str, badge: str, side: int = 24) -> QIcon:
    """A square of a layer's color, and the badge of its gene beside it.

    Parameters
    ----------
    color, badge
        As #rrggbb.
    side
        Height in pixels; it is twice as wide.
    """
    pixmap, painter = _canvas(2 * side, side)
    painter.setBrush(QColor(color))
    painter.drawRect(2, 2, side - 5, side - 5)
    painter.setBrush(QColor(badge))
    painter.drawEllipse(side + 2, 2, side - 4, side - 4)
    painter.end()
    return QIcon(pixmap)


def _canvas(width: int, height: int) -> tuple[QPixmap, QPainter]:
    pixmap = QPixmap(width, height)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QColor("#808080"))
    return pixmap, painter
