"""Curves of a training while it runs, drawn beside the viewer."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QImage, QPalette, QPixmap

from napari_nh2st.training.events import EpochDone
from napari_nh2st.widgets.labels import PlainLabel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MS_BETWEEN_DRAWINGS = 1000
_HEIGHT = 360
_DPI = 96.0

# Title of each axes, and its curves: field, label, colour and style. Mid tones, readable on dark
# and on light.
_AXES = (
    (
        "Losses",
        (
            ("loss", "total", "#888888", "-"),
            ("query_loss", "query", "#3a86c8", "-"),
            ("neighbor_loss", "neighbor", "#c98a00", "-"),
            ("mse", "MSE", "#3c9d57", "-"),
        ),
    ),
    ("Validation PCC", (("validation_pcc", "validation PCC", "#3a86c8", "-"),)),
    (
        "Validation MSE",
        (
            ("validation_mse", "model", "#3c9d57", "-"),
            ("baseline_mse", "mean of each gene", "#888888", "--"),
        ),
    ),
)


def curves_figure(
    epochs: Sequence[EpochDone], size_px: tuple[int, int], *, text: str, dpi: float = _DPI
) -> "Figure":
    """Losses, and where sections are set aside validation PCC and MSE, by epoch.

    Parameters
    ----------
    epochs
        In order.
    size_px
        (width, height) of the figure.
    text
        Colour of its words and axes, for example ``"#f0f1f2"``.
    dpi
        How large a point is.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    validated = bool(epochs) and epochs[-1].validation_pcc is not None
    shown = _AXES if validated else _AXES[:1]
    width, height = size_px
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="none")
    all_axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    # Fixed, in pixels: laying out by what is drawn takes longer than drawing it.
    figure.subplots_adjust(
        left=46 / width, right=1 - 6 / width, top=1 - 20 / height, bottom=38 / height, hspace=0.3
    )
    x = [epoch.epoch for epoch in epochs]
    for axes, (title, curves) in zip(all_axes, shown, strict=True):
        values = np.array([[_number(getattr(e, name)) for e in epochs] for name, *_ in curves])
        for row, (name, label, color, style) in zip(values, curves, strict=True):
            axes.plot(x, row, style, color=color, label=label, gid=name, lw=1.3, marker=".", ms=4)
        if validated:
            axes.axvline(epochs[-1].best_epoch, color="#888888", ls=":", lw=1)
        # The start has no losses yet.
        known = values[np.isfinite(values)]
        if title == "Losses" and known.size and known.min() > 0:
            axes.set_yscale("log")  # the MSE is a hundredth of the contrastive losses
        axes.set_facecolor("none")
        axes.set_title(title, fontsize=8, color=text, loc="left", pad=3)
        axes.tick_params(which="both", colors=text, labelsize=7)
        for spine in axes.spines.values():
            spine.set_color("#888888")
        if len(curves) > 1 and epochs:
            axes.legend(
                fontsize=7,
                frameon=False,
                labelcolor=text,
                ncols=len(curves),
                loc="lower right",
                bbox_to_anchor=(1.02, 0.93),
                handlelength=1.2,
                columnspacing=0.9,
            )
    all_axes[-1].set_xlabel("epoch", fontsize=8, color=text)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def curves_picture(
    epochs: Sequence[EpochDone], size_px: tuple[int, int], ratio: float, text: str
) -> NDArray[np.uint8]:
    """The figure as (height, width, 4) RGBA, ``ratio`` device pixels for each of ``size_px``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size = (round(size_px[0] * ratio), round(size_px[1] * ratio))
    canvas: Any = FigureCanvasAgg(curves_figure(epochs, size, text=text, dpi=_DPI * ratio))
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)


class TrainCurves(PlainLabel):
    """Shows the curves as they are drawn in a thread: matplotlib takes longer than a frame.

    Hidden until there is a drawing.

    Attributes
    ----------
    epochs
        What is shown, or soon is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[EpochDone] = []
        self._worker: Any = None
        self._is_old = False
        self.setMinimumSize(1, _HEIGHT)
        self.setToolTip(
            "One point an epoch, 0 is what the training starts from; the dotted line is the best "
            "epoch so far"
        )
        self.hide()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MS_BETWEEN_DRAWINGS)
        self._timer.timeout.connect(self._draw)

    @property
    def is_idle(self) -> bool:
        """Whether no thread draws."""
        return self._worker is None

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
        self._is_old = True
        if hasattr(self, "_timer") and not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        if self._worker is not None or not self.epochs:
            return
        self._is_old = False
        text = self.palette().color(QPalette.ColorRole.WindowText).name()
        size = (max(self._width(), 100), max(self.height(), _HEIGHT))
        self._worker = create_worker(
            curves_picture,
            tuple(self.epochs),
            size,
            self.devicePixelRatioF(),
            text,
            _connect={"returned": self._show, "finished": self._on_finished},
        )

    def _width(self) -> int:
        """Of the drawing; before it is shown first, that of what is around it."""
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

    def _on_finished(self) -> None:
        self._worker = None
        if self._is_old:
            self._draw_soon()


def epochs_of(rows: Sequence[dict[str, str]]) -> list[EpochDone]:
    """Epochs of an earlier run, from the rows of its ``history.csv``."""
    whole = ("epoch", "epochs", "best_epoch")
    return [
        EpochDone(
            **{
                name: None if not text else int(text) if name in whole else float(text)
                for name, text in row.items()
            }  # type: ignore[arg-type]
        )
        for row in rows
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
