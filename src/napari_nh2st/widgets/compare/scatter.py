"""Scatter plot of one gene: predicted against measured, spot by spot."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure import SUFFIXES, check_figure, save_figure
from napari_nh2st.files import whole_output
from napari_nh2st.shown_text import for_matplotlib
from napari_nh2st.widgets.notifications import show_error, show_info

_SPOTS, _IDENTITY = "#3b8fc4", "#d98e04"
"""Middle tones, for both of napari's themes."""
_RING = "#e0218a"
_NEAR_PX = 8
"""From the mouse to the middle of a point that it picks."""


class GeneScatter(QWidget):
    """A scatter plot in the colors of napari's theme, with buttons to copy and to save it.

    Attributes
    ----------
    canvas
        Shows ``figure``.
    axes
        Axes of the plot.
    copy_button, save_button
        As a picture.
    picked
        Emitted with the number of the spot whose point was clicked; None for a click beside all.
    """

    picked = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.figure = Figure((3.4, 2.9))
        # A layout that is found anew for each gene would take longer than the drawing.
        self.figure.subplots_adjust(left=0.16, bottom=0.17, right=0.97, top=0.89)
        canvas: Any = FigureCanvasQTAgg
        self.canvas: Any = canvas(self.figure)
        self.canvas.setMinimumHeight(260)
        self.canvas.setToolTip(
            "Each point is a spot; on the line, predicted and measured are equal. Click a point "
            "to find its spot on the slide"
        )
        self.canvas.mpl_connect("button_press_event", self._on_press)
        self.axes = self.figure.subplots()
        self.gene = ""
        (self._line,) = self.axes.plot([], [], color=_IDENTITY, lw=1.2, ls="--", zorder=1)
        self._spots = self.axes.scatter([], [], s=9, color=_SPOTS, alpha=0.7, lw=0, zorder=2)
        self._ring = self.axes.scatter([], [], s=70, color="none", edgecolor=_RING, lw=2, zorder=3)
        self._values: NDArray[np.floating] = np.empty((0, 2))
        self._spot: int | None = None
        self.axes.set_xlabel("measured")
        self.axes.set_ylabel("predicted")
        # Places that are found anew, and more ticks, would take half of the time of drawing.
        self.axes.xaxis.set_label_coords(0.5, -0.11)
        self.axes.yaxis.set_label_coords(-0.12, 0.5)
        self.axes.locator_params(nbins=4)
        self.axes.spines[["top", "right"]].set_visible(False)
        self.copy_button = QPushButton("Copy figure")
        self.copy_button.setToolTip("Copy the plot as a picture")
        self.save_button = QPushButton("Save figure…")
        self.save_button.setToolTip("Save the plot as PNG, SVG or PDF")
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        layout.addLayout(buttons)
        self.copy_button.clicked.connect(self.copy)
        self.save_button.clicked.connect(self._ask)

    def show_gene(
        self,
        gene: str,
        measured: NDArray[np.floating],
        predicted: NDArray[np.floating],
        title: str,
    ) -> None:
        """Plot a gene.

        Parameters
        ----------
        gene
            Proposed for the file's name.
        measured, predicted
            (spots,); spots without either are left out.
        title
            Above the plot.
        """
        self.gene = gene
        self._values = np.column_stack([measured, predicted])
        both = self._values[np.isfinite(self._values).all(1)]
        self._spots.set_offsets(both)
        low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
        margin = 0.04 * (high - low) or 0.5
        ends = (low - margin, high + margin)
        self._line.set_data(ends, ends)
        self.axes.set_xlim(ends)
        self.axes.set_ylim(ends)
        self.axes.set_title(for_matplotlib(title), fontsize=10, y=1.0)
        self._ring_picked()
        self.canvas.draw_idle()

    def show_picked(self, spot: int | None) -> None:
        """Ring the point of a spot, from gene to gene; None for none."""
        if spot != self._spot:
            self._spot = spot
            self._ring_picked()
            self.canvas.draw_idle()

    def _ring_picked(self) -> None:
        rows = [self._spot] if self._spot is not None and self._spot < len(self._values) else []
        self._ring.set_offsets(self._values[rows])

    def _on_press(self, event: Any) -> None:
        """Pick the point that is nearest to the mouse, if one is near."""
        if event.button != 1 or event.inaxes is not self.axes:
            return
        known = np.flatnonzero(np.isfinite(self._values).all(1))
        on_screen = self.axes.transData.transform(self._values[known])
        distances = np.hypot(*(on_screen - (event.x, event.y)).T)
        near = len(known) > 0 and distances.min() <= _NEAR_PX * self.canvas.device_pixel_ratio
        self.picked.emit(int(known[distances.argmin()]) if near else None)

    def follow_theme(self, name: str) -> None:
        """Take the colors of a theme of napari."""
        theme = get_theme(name)
        text, background = theme.text.as_hex(), theme.background.as_hex()
        self.figure.set_facecolor(background)
        self.axes.set_facecolor(background)
        self.axes.tick_params(colors=text, labelsize=8)
        for part in (self.axes.xaxis.label, self.axes.yaxis.label, self.axes.title):
            part.set_color(text)
        self.axes.spines[["left", "bottom"]].set_color(text)
        self.canvas.draw_idle()

    def copy(self) -> None:
        """Copy the plot as it is on the screen."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setPixmap(self.canvas.grab())

    def save(self, path: Path, overwrite: bool = False) -> None:
        """Write the plot; how it ended is a notification.

        Parameters
        ----------
        path
            ``.png``, ``.svg`` or ``.pdf``.
        overwrite
            The user has agreed that what is there is replaced.
        """
        try:
            check_figure(path, overwrite)
            with whole_output(path) as draft:
                save_figure(self.figure, draft, dpi=200)
        except InputError as error:
            show_error(str(error))
        else:
            show_info(f"Wrote {path}")

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Save the plot")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters([f"{suffix[1:].upper()} (*{suffix})" for suffix in SUFFIXES])
        dialog.setDefaultSuffix(SUFFIXES[0])
        dialog.filterSelected.connect(lambda chosen: dialog.setDefaultSuffix(_suffix_in(chosen)))
        dialog.selectFile(f"{self.gene}{SUFFIXES[0]}")
        if dialog.exec():
            self.save(Path(dialog.selectedFiles()[0]), overwrite=True)


def _suffix_in(name_filter: Any) -> str:
    return str(name_filter).partition("(*")[2].rstrip(")")
