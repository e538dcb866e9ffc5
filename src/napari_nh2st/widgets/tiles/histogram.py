"""Histogram of a gene's values, with the place of one of them."""

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_nh2st.widgets.text_colors import text_color

_BINS = 40


class Histogram(QWidget):
    """Bars in the color of the text; a line and its value where the marked one lies.

    Attributes
    ----------
    counts, edges
        Values in each bar, and the bars' limits, one more.
    marked
        Where the line is; None for no line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self.edges: NDArray[np.float64] = np.zeros(0)
        self.marked: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_values(self, values: NDArray[np.floating], marked: float | None = None) -> None:
        """Show values, NaN left out, and mark one; none at all for an empty picture."""
        known = values[np.isfinite(values)]
        if known.size:
            self.counts, self.edges = np.histogram(known.astype(np.float64), _BINS)
        else:
            self.counts, self.edges = np.zeros(0, np.int64), np.zeros(0)
        self.marked = marked if marked is not None and np.isfinite(marked) else None
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """Low and wide."""
        return QSize(300, 96)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """As high as it is to be, narrow if need be."""
        return QSize(120, 96)

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # Qt's name
        """Draw the bars, the axis' ends, and the line."""
        if not self.counts.size:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        metrics = QFontMetricsF(painter.font())
        line = metrics.height()
        area = QRectF(4, line + 2, self.width() - 8, self.height() - 2 * line - 6)
        text = self.palette().color(self.foregroundRole())
        bars = QColor(text)
        bars.setAlphaF(0.45)
        width = area.width() / len(self.counts)
        for number, height in enumerate(area.height() * self.counts / self.counts.max()):
            left = area.left() + number * width
            painter.fillRect(QRectF(left, area.bottom() - height, max(width - 1, 1), height), bars)
        painter.setPen(QPen(text, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        low, high = float(self.edges[0]), float(self.edges[-1])
        under = QRectF(area.left(), area.bottom() + 2, area.width(), line)
        painter.drawText(under, Qt.AlignmentFlag.AlignLeft, f"{low:.3g}")
        painter.drawText(under, Qt.AlignmentFlag.AlignRight, f"{high:.3g}")
        if self.marked is None:
            return
        share = (self.marked - low) / (high - low)
        x = area.left() + area.width() * float(np.clip(share, 0, 1))
        painter.setPen(QPen(text_color(self, "caution"), 2))
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        label = f"{self.marked:.3g}"
        wide = metrics.horizontalAdvance(label)
        left = float(np.clip(x - wide / 2, area.left(), max(area.left(), area.right() - wide)))
        painter.drawText(QPointF(left, area.top() - 4), label)
