"""Curves of a training while it runs, drawn beside the viewer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent
from qtpy.QtGui import QImage, QPalette, QPixmap

from napari_nh2st.training.curves import curves_picture
from napari_nh2st.training.events import EpochDone
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.labels import PlainLabel

_MS_BETWEEN_DRAWINGS = 1000
_HEIGHT = 360


class TrainCurves(PlainLabel):
    """Shows the curves, drawn in a thread: matplotlib takes longer than a frame.

    Hidden until there is a drawing.

    Attributes
    ----------
    epochs
        The epochs shown, or soon to be.
    """

    def __init__(self) -> None:
        self.epochs: list[EpochDone] = []  # Qt asks for its palette before it is all made
        super().__init__()
        self._drawing = Background(self, throttle_ms=_MS_BETWEEN_DRAWINGS)
        self.setMinimumSize(1, _HEIGHT)
        self.setToolTip(
            "One point per epoch; epoch 0 is the start of the training, and the dotted line the "
            "best epoch so far"
        )
        self.hide()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is drawn, or soon to be."""
        return not self._drawing.is_busy

    def clear_epochs(self) -> None:
        """Begin anew."""
        self.epochs = []
        self.hide()

    def add(self, *epochs: EpochDone) -> None:
        """Show more epochs, soon: many at once are drawn once."""
        self.epochs += epochs
        self._draw_soon()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw in the new size."""
        super().resizeEvent(event)
        self._draw_soon()

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._draw_soon()

    def _draw_soon(self) -> None:
        if self.epochs:
            text = self.palette().color(QPalette.ColorRole.WindowText).name()
            size = (max(self._width(), 100), max(self.height(), _HEIGHT))
            self._drawing.start(
                curves_picture,
                tuple(self.epochs),
                size,
                self.devicePixelRatioF(),
                text,
                done=self._show,
            )

    def _width(self) -> int:
        """Width of the drawing; before it is shown first, that of what is around it."""
        around = self.parentWidget()
        layout = None if around is None else around.layout()
        if self.isVisible() or layout is None:
            return self.width()
        return layout.contentsRect().width()

    def _show(self, picture: NDArray[np.uint8]) -> None:
        if not self.epochs:  # begun anew since
            return
        height, width = picture.shape[:2]
        image = QImage(picture.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
        pixmap = QPixmap.fromImage(image)
        pixmap.setDevicePixelRatio(self.devicePixelRatioF())
        self.setPixmap(pixmap)
        self.show()
