"""Pictures of the canvas as it is, with scale bar, color scales and cautions: saved, or copied."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure import check_figure
from napari_nh2st.files import whole_output
from napari_nh2st.session import Session
from napari_nh2st.session.picture_facts import ColorScale, PictureFacts
from napari_nh2st.widgets.notifications import show_error, show_info

_MARGIN, _GAP, _BAR_HEIGHT = 10, 6, 12
_FONT_PX = 13
_BAR_WIDTH = 180
_SUFFIX = ".png"
_LINES = 10_000
"""Pixels: higher than all lines of text are."""


class CanvasPicture(QWidget):
    """Buttons that save or copy what the canvas shows.

    Parameters
    ----------
    session
        Its viewer has the canvas; without a window the buttons do nothing but say so.

    Attributes
    ----------
    save_button, copy_button
        To a file, and to the clipboard.
    """

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.save_button = QPushButton("Save picture…")
        self.save_button.setToolTip(
            "Save what the canvas shows as PNG, with scale bar, color scales and cautions"
        )
        self.copy_button = QPushButton("Copy picture")
        self.copy_button.setToolTip(
            "Copy what the canvas shows, with scale bar, color scales and cautions"
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.save_button)
        layout.addWidget(self.copy_button)
        self.save_button.clicked.connect(self._ask)
        self.copy_button.clicked.connect(self.copy)

    def picture(self) -> QImage:
        """The canvas as it is, and below it what its colors mean and what to mind.

        Raises
        ------
        InputError
            The viewer has no window.
        """
        facts = PictureFacts.of(self._session)
        return with_facts(as_image(canvas_pixels(self._session.viewer)), facts)

    def copy(self) -> None:
        """Copy the picture; a problem is a notification."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        try:
            clipboard.setImage(self.picture())
        except InputError as error:
            show_error(str(error))

    def save(self, path: Path, overwrite: bool = False) -> None:
        """Write the picture; how it ended is a notification.

        Parameters
        ----------
        path
            Ends in ``.png``.
        overwrite
            The user has agreed that what is there is replaced.
        """
        try:
            if path.suffix.lower() != _SUFFIX:
                raise InputError(f"{path}: a picture of the canvas must end in {_SUFFIX}")
            check_figure(path, overwrite)
            picture = self.picture()
            picture.setText("Software", "napari-nh2st")  # by which it may be overwritten
            with whole_output(path) as draft:
                if not picture.save(str(draft), "PNG"):
                    raise InputError(f"{path} could not be written.")
        except InputError as error:
            show_error(str(error))
        else:
            show_info(f"Wrote {path}")

    def _ask(self) -> None:
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the picture", f"picture{_SUFFIX}", f"PNG (*{_SUFFIX})"
        )
        if name:
            path = Path(name)
            self.save(path if path.suffix else path.with_suffix(_SUFFIX), overwrite=True)


def canvas_pixels(viewer: Any) -> NDArray[np.uint8]:
    """(height, width, 4) what a viewer's canvas shows, with the scale bar.

    Raises
    ------
    InputError
        The viewer has no window.
    """
    if getattr(viewer, "window", None) is None:
        raise InputError("There is no window to take a picture of.")
    bar = viewer.canvas.overlays.scale_bar
    had_bar, bar.visible = bar.visible, True
    try:
        pixels: NDArray[np.uint8] = np.asarray(viewer.screenshot(canvas_only=True, flash=False))
    finally:
        bar.visible = had_bar
    return pixels


def as_image(pixels: NDArray[np.uint8]) -> QImage:
    """(height, width, 4) pixels as an image of their own."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels)
    image = QImage(data.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return image.copy()  # Qt does not keep the bytes


def with_facts(picture: QImage, facts: PictureFacts) -> QImage:
    """A picture with color scales, names and cautions below it, on white.

    Parameters
    ----------
    picture
        Stays as it is.
    facts
        Without any, the picture is all.
    """
    font = QFont(QApplication.font())
    font.setPixelSize(_FONT_PX)
    metrics = QFontMetrics(font)
    lines = [*facts.names, *(f"⚠ {caution}" for caution in facts.cautions)]
    room = picture.width() - 2 * _MARGIN
    line_boxes = [_text_box(metrics, line, room) for line in lines]
    scale_boxes = [_text_box(metrics, scale.title, room) for scale in facts.scales]
    scale_height = metrics.height() + _GAP
    below = sum(box.height() + _GAP for box in line_boxes)
    below += sum(box.height() + scale_height + _GAP for box in scale_boxes)
    if not below:
        return picture
    size = picture.size()
    whole = QImage(size.width(), size.height() + below + 2 * _MARGIN, picture.format())
    whole.fill(QColor("white"))
    painter = QPainter(whole)
    painter.setFont(font)
    painter.setPen(QColor("black"))
    painter.drawImage(0, 0, picture)
    y = size.height() + _MARGIN
    for scale, box in zip(facts.scales, scale_boxes, strict=True):
        painter.drawText(box.translated(_MARGIN, y), _FLAGS, scale.title)
        y += box.height()
        _draw_scale(painter, scale, y, room)
        y += scale_height + _GAP
    for line, box in zip(lines, line_boxes, strict=True):
        painter.drawText(box.translated(_MARGIN, y), _FLAGS, line)
        y += box.height() + _GAP
    painter.end()
    return whole


_FLAGS = int(Qt.TextFlag.TextWordWrap)


def _text_box(metrics: QFontMetrics, text: str, width: int) -> QRect:
    box = metrics.boundingRect(QRect(0, 0, width, _LINES), _FLAGS, text)
    return QRect(0, 0, width, box.height())


def _draw_scale(painter: QPainter, scale: ColorScale, y: int, room: int) -> None:
    """A bar between its two numbers, which begin at the left margin."""
    metrics = painter.fontMetrics()
    low, high = (f"{value:.3g}".replace("-", "−") for value in scale.limits)
    of_low, of_high = (metrics.horizontalAdvance(text) + _GAP for text in (low, high))
    steps, width = len(scale.colors), max(1, min(_BAR_WIDTH, room - of_low - of_high))
    row = QImage(scale.colors.tobytes(), steps, 1, 4 * steps, QImage.Format.Format_RGBA8888)
    base, top = y + metrics.ascent(), y + (metrics.height() - _BAR_HEIGHT) // 2
    painter.drawText(_MARGIN, base, low)
    painter.drawImage(QRect(_MARGIN + of_low, top, width, _BAR_HEIGHT), row)
    painter.drawText(_MARGIN + of_low + width + _GAP, base, high)
