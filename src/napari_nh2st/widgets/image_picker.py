"""Picker of an image of a slide's file, where it has several."""

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.shown_text import for_qt
from napari_nh2st.slide import Slide
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.slide_choice import SlideChoice


class ImagePicker(QComboBox):
    """Offers the images of the picked slide's file; hidden where there is but one.

    The one that is chosen becomes a layer of its own, which is picked then; the layer of the
    other image is hidden, since both begin at the same corner.

    Parameters
    ----------
    viewer
        Where it becomes a layer.
    slide
        The picked slide.
    """

    def __init__(self, viewer: ViewerModel, slide: SlideChoice) -> None:
        super().__init__()
        self._viewer = viewer
        self._slide = slide
        # As wide as the dock, not as the longest of the file's names.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setToolTip("The file has several images: another one opens as a layer of its own")
        slide.picker.changed.connect(self._show_images)
        self.activated.connect(self._open)
        self._show_images()

    def _show_images(self, _layer: Any = None) -> None:
        slide = self._slide.peek()
        images = slide.images if slide is not None else ()
        with signals_blocked(self):
            self.clear()
            self.addItems([for_qt(f"{i}: {image}") for i, image in enumerate(images)])
            if slide is not None:
                self.setCurrentIndex(slide.image)
        self.setVisible(len(images) > 1)

    def _open(self, number: int) -> None:
        slide, former = self._slide.peek(), self._slide.layer
        if slide is None or number == slide.image:
            return
        layer = self._layer_of(slide, number)
        if layer is None:
            try:
                ((data, attributes, kind),) = read_slide(slide.path, image=number)
            except InputError as error:
                show_error(str(error))
                self._show_images()
                return
            layer = self._viewer.add_layer(Layer.create(data, attributes, kind))
        if former is not None:
            former.visible = False
        layer.visible = True
        self._viewer.layers.selection.active = layer

    def _layer_of(self, slide: Slide, number: int) -> Layer | None:
        """The layer that shows an image of the slide's file already."""
        for layer in self._viewer.layers:
            shown = layer.metadata.get(SLIDE_KEY) if isinstance(layer, Image) else None
            if isinstance(shown, Slide) and (shown.path, shown.image) == (slide.path, number):
                return layer
        return None
