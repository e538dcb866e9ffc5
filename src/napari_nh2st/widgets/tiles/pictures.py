"""Pictures of a tile and its neighborhood, three by three."""

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QWidget

from napari_nh2st.analysis.tile_lookup import AROUND, PICTURE_SIDE, TilePicture
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.labels import PlainLabel

_MARKED = "border: 2px solid #17b6c9;"


class TilePictures(QWidget):
    """Three by three pictures, the tile itself framed in the middle.

    Attributes
    ----------
    labels
        By (row, column).
    """

    def __init__(self) -> None:
        super().__init__()
        self.labels: dict[tuple[int, int], PlainLabel] = {}
        grid = QGridLayout(self)
        grid.setSpacing(2)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        for cell in [*AROUND, (1, 1)]:
            label = PlainLabel()
            label.setFixedSize(PICTURE_SIDE, PICTURE_SIDE)
            label.setScaledContents(True)
            if cell == (1, 1):
                label.setStyleSheet(_MARKED)
            grid.addWidget(label, *cell)
            self.labels[cell] = label

    def show_pictures(self, pictures: list[TilePicture]) -> None:
        """Show these; places without one are empty."""
        for label in self.labels.values():
            label.clear()
            label.setToolTip("")
        for picture in pictures:
            label = self.labels[picture.cell]
            label.setPixmap(_pixmap(picture.pixels))
            label.setToolTip(for_qt(picture.words))


def _pixmap(pixels: NDArray[np.uint8]) -> QPixmap:
    height, width = pixels.shape[:2]
    content = pixels.tobytes()  # Qt reads them until the pixmap has its copy
    image = QImage(content, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image).scaled(
        2 * PICTURE_SIDE,
        2 * PICTURE_SIDE,
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
