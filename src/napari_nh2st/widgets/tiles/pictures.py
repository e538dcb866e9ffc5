"""A tile and its neighborhood as small pictures from the slide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QWidget
from scipy.optimize import linear_sum_assignment

from napari_nh2st.shown_text import for_qt
from napari_nh2st.slide import Slide
from napari_nh2st.slide.level import DAMAGED_GREY
from napari_nh2st.widgets.labels import PlainLabel

SIDE = 72
"""Pixels of a picture on the screen."""

_CELLS = [(row, column) for row in (0, 1, 2) for column in (0, 1, 2) if (row, column) != (1, 1)]
_MARKED = "border: 2px solid #17b6c9;"


@dataclass(frozen=True)
class TilePicture:
    """What the slide shows at a tile.

    Parameters
    ----------
    cell
        (row, column) in the three by three; (1, 1) for the tile itself.
    words
        Which tile it is.
    pixels
        (height, width, 3) uint8.
    """

    cell: tuple[int, int]
    words: str
    pixels: NDArray[np.uint8]


def read_tiles(
    slide: Slide, centers: NDArray[np.float64], side_px: NDArray[np.float64]
) -> list[NDArray[np.uint8]]:
    """Read tiles from the level that is just fine enough for the screen.

    Parameters
    ----------
    slide
        Open.
    centers
        (n, 2) (y, x) in full-resolution pixels.
    side_px
        (2,) height and width of a tile in full-resolution pixels.

    Returns
    -------
    list of ndarray
        (height, width, 3) uint8 each, all of one size; white beyond the slide's edge, grey where
        it is damaged.
    """
    number = slide.best_level(float(side_px.min()) / SIDE, native_only=not slide.coarse_ready)
    down = np.asarray(slide.downsamples[number])
    height, width = (max(1, round(float(side))) for side in side_px / down)
    top_left = np.rint((centers - side_px / 2) / down).astype(int).tolist()
    level = slide.levels[number]
    return [level.read(y, x, height, width, damaged=DAMAGED_GREY) for y, x in top_left]


def cells_around(offsets: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Places in the three by three for the tiles around one, by where they lie.

    Parameters
    ----------
    offsets
        (n, 2) (y, x) from the tile in the middle, n at most 8.

    Returns
    -------
    list
        (row, column) of each. Inside the tissue of a square array it is the array itself; else
        the directions are kept as well as can be (the least sum of squared differences).
    """
    if not len(offsets):
        return []
    directions = np.array(_CELLS, float) - 1
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    length = np.linalg.norm(offsets, axis=1, keepdims=True)
    own = np.divide(offsets, length, out=np.zeros_like(offsets), where=length > 0)
    cost = ((own[:, None] - directions) ** 2).sum(-1)
    _, chosen = linear_sum_assignment(cost)
    return [_CELLS[place] for place in chosen]


class TilePictures(QWidget):
    """Three by three pictures, the tile itself framed in the middle.

    Parameters
    ----------
    parent
        Of the widget.

    Attributes
    ----------
    labels
        By (row, column).
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.labels: dict[tuple[int, int], PlainLabel] = {}
        grid = QGridLayout(self)
        grid.setSpacing(2)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        for cell in [*_CELLS, (1, 1)]:
            label = PlainLabel()
            label.setFixedSize(SIDE, SIDE)
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
        2 * SIDE,
        2 * SIDE,
        Qt.AspectRatioMode.IgnoreAspectRatio,
        Qt.TransformationMode.SmoothTransformation,
    )
