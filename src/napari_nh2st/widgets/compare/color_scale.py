"""Color scale of a layer: a bar with its two ends."""

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

_STEPS = 256


class ColorScale(QWidget):
    """A bar of a colormap, its lowest and highest value beside it.

    Attributes
    ----------
    colormap
        A name that napari knows; empty for no bar.
    limits
        Values at the ends.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.colormap = ""
        self.limits = (0.0, 1.0)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_limits(self, colormap: str, limits: tuple[float, float]) -> None:
        """Show a colormap between two values."""
        self.colormap, self.limits = colormap, limits
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """One line of text."""
        return QSize(200, self.fontMetrics().height() + 6)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # Qt's name
        """Draw the bar between the two numbers."""
        if not self.colormap:
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        low, high = (f"{value:.3g}".replace("-", "−") for value in self.limits)
        width = max(self.fontMetrics().horizontalAdvance(text) for text in (low, high)) + 8
        area = QRectF(self.rect())
        align = Qt.AlignmentFlag
        painter.drawText(area, align.AlignLeft | align.AlignVCenter, low)
        painter.drawText(area, align.AlignRight | align.AlignVCenter, high)
        colors = ensure_colormap(self.colormap).map(np.linspace(0, 1, _STEPS))
        row = np.rint(colors * 255).astype(np.uint8)
        picture = QImage(row.tobytes(), _STEPS, 1, 4 * _STEPS, QImage.Format.Format_RGBA8888)
        painter.drawImage(area.adjusted(width, 3, -width, -3), picture)
