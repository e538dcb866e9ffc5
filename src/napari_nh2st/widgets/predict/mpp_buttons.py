"""Buttons beside the µm/px of a slide: usual values, and the one before."""

from typing import Any

from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_nh2st.slide.usual_mpp import usual_values
from napari_nh2st.widgets.slide_choice import SlideChoice


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
        self.setToolTip("Back to the former µm/px, with the layer and all that lies on it")
        slide.mpp.valueChanged.connect(self._show_or_hide)
        slide.picker.changed.connect(self._show_or_hide)
        self.clicked.connect(slide.take_back)
        self._show_or_hide()

    def _show_or_hide(self, _value: Any = None) -> None:
        self.setVisible(self._slide.can_take_back)


class UsualMppButton(QToolButton):
    """Offers the µm/px that scans usually have in a menu.

    Parameters
    ----------
    slide
        Takes the value that is chosen.
    """

    def __init__(self, slide: SlideChoice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slide = slide
        self._menu = QMenu(self)
        self.setText("▾")
        self.setToolTip("Usual values of µm/px, and the size that each makes of this image")
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
