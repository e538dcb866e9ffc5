"""The button that takes back a µm/px given by hand."""

from typing import Any

from qtpy.QtWidgets import QToolButton, QWidget

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
