"""Buttons beside the µm/px of a slide: usual values, a printed scale bar, and the one before."""

from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QInputDialog, QMenu, QToolButton, QWidget

from napari_nh2st.layers.scale_bar_line import ScaleBarLine
from napari_nh2st.session.connections import Connections
from napari_nh2st.slide.usual_mpp import usual_values
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.slide_choice import SlideChoice

_USUAL_BAR_UM = 1000.0
_LEAST_MPP = 0.01


class UndoMppButton(QToolButton):
    """Goes back to the µm/px before the last; hidden where there is none.

    Parameters
    ----------
    slide
        The picked layer, and its µm/px.
    """

    def __init__(self, slide: SlideChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slide = slide
        self.setText("↶")
        self.setToolTip("Go back to the former µm/px, for the layer and everything on it")
        slide.mpp.valueChanged.connect(self._show_or_hide)
        slide.picker.changed.connect(self._show_or_hide)
        self.clicked.connect(slide.take_back)
        self._show_or_hide()

    def _show_or_hide(self, _value: Any = None) -> None:
        self.setVisible(self._slide.can_take_back)


class UsualMppButton(QToolButton):
    """Offers the µm/px that scans usually have in a menu, and to measure a printed scale bar.

    Parameters
    ----------
    slide
        Takes the value that is chosen.
    connections
        Connections of the dock: with it goes a line that was not drawn.

    Attributes
    ----------
    line
        Line over the scale bar.
    """

    def __init__(
        self, slide: SlideChoice, connections: Connections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._slide = slide
        self._menu = QMenu(self)
        self.line = ScaleBarLine(slide.viewer)
        # After napari is done with the mouse.
        self.line.drawn.connect(lambda px: QTimer.singleShot(0, lambda: self._ask_length(px)))
        connections.when_closed(self.line.clear)
        self.setText("▾")
        # Qt draws an arrow of its own across the text.
        self.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        self.setToolTip("Usual values of µm/px, and the size that the image would have with each")
        self.setMenu(self._menu)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.offer_for(None)

    def offer_for(self, shape: tuple[int, int] | None) -> None:
        """Offer them for an image, (height, width) in pixels."""
        self._menu.clear()
        for value in usual_values(shape):
            action = self._menu.addAction(value.words)
            assert action is not None
            action.triggered.connect(lambda _checked, mpp=value.mpp: self._slide.mpp.setValue(mpp))
        measure = self._menu.addAction("From a printed scale bar …")
        assert measure is not None
        measure.triggered.connect(self.measure)

    def measure(self) -> None:
        """Have a line drawn over a scale bar on the picked slide, and its length asked for."""
        if self._slide.layer is None:
            show_info("Open a slide with a scale bar printed on it.")
            return
        self.line.ask(self._slide.layer)
        show_info("Draw a line over the scale bar, from one end to the other.")

    def take(self, length_px: float, length_um: float) -> None:
        """Take the µm/px of a bar of this length; one that no slide has is refused."""
        mpp = length_um / length_px
        if not _LEAST_MPP <= mpp <= self._slide.mpp.maximum():
            show_error(
                f"A scale bar of {length_um:g} µm over {length_px:.0f} px would make {mpp:.3g} "
                "µm/px, which no slide has: draw the line over the whole bar, and give its "
                "length in µm."
            )
            return
        self._slide.mpp.setValue(mpp)

    def _ask_length(self, length_px: float) -> None:
        slide_layer = self._slide.layer
        if self.line.layer is None or slide_layer is None:
            return
        text = f"The line is {length_px:.0f} pixels long. Length of the scale bar in µm:"
        length_um, given = QInputDialog.getDouble(
            self, "Scale bar", text, _USUAL_BAR_UM, 0.1, 1e6, 1
        )
        is_same = self._slide.layer == slide_layer
        self.line.clear()
        if given and is_same:
            self.take(length_px, length_um)
