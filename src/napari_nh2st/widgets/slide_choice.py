"""Which layer is predicted, and at which µm/px."""

from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtWidgets import QDoubleSpinBox

from napari_nh2st.errors import InputError
from napari_nh2st.layers.given_mpp import (
    can_take_back,
    give_mpp,
    given_or_own,
    mpp_news,
    shown_mpp,
    take_back_mpp,
)
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.widgets.number_box import number_box


class SlideChoice:
    """A picker of slide layers and the µm/px of the picked one.

    Parameters
    ----------
    viewer
        Its layers are offered, from :meth:`follow` to :meth:`close`.

    Attributes
    ----------
    picker
        The RGB image layers.
    mpp
        µm/px of the picked one; what is typed is kept with the layer and set on it, and the boxes
        of other docks show it too.
    in_use
        A slide that a run reads: it stays open whatever becomes of its layer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.picker = ComboBox(
            label="Slide", choices=self._choices, nullable=True, tooltip="Slide to predict"
        )
        self.mpp: QDoubleSpinBox = number_box(0.0, 20.0, 4, " µm/px", "not recorded: give it")
        self.mpp.setToolTip(
            "µm per pixel of the slide; scans at 20× are about 0.5, at 40× 0.25. It is set on the "
            "layer too, and what lies on that moves along"
        )
        self.mpp.setSingleStep(0.05)
        # Not for every digit: a layer is not to jump while its µm/px is typed.
        self.mpp.setKeyboardTracking(False)
        self.in_use: Slide | None = None
        self._opened: dict[Path, Slide | None] = {}
        self._following = False
        self.picker.changed.connect(self._show_mpp)
        self.mpp.valueChanged.connect(self._keep_mpp)

    @property
    def layer(self) -> Image | None:
        """The picked layer."""
        return self.picker.value

    def chosen(self) -> Slide:
        """The slide of the picked layer, with the µm/px given for it.

        Raises
        ------
        InputError
            No layer is picked, it does not show a slide's pixels, or its µm/px is not known.
        """
        layer = self.layer
        if layer is None:
            raise InputError("There is no image layer: open a slide first.")
        selected = [la for la in self._image_layers() if la in self.viewer.layers.selection]
        if len(selected) > 1:
            names = " and ".join(repr(la.name) for la in selected[:3])
            raise InputError(f"The slides {names} are selected: select the one to predict.")
        slide = self._slide_of(layer)
        if slide is None:
            raise InputError(
                f"Layer {layer.name!r} was not opened from a slide: open the file with NH2ST "
                "(File › Open, then choose the reader napari-nh2st)."
            )
        finest = layer.data[0] if layer.multiscale else layer.data
        if finest.shape[-3:-1] != slide.shape:
            raise InputError(
                f"Layer {layer.name!r} is {_size(finest.shape[-3:-1])}, but the slide "
                f"{slide.path.name} is {_size(slide.shape)}: open the file with NH2ST."
            )
        if not self.mpp.value() and slide.mpp is None:
            raise InputError(f"The µm/px of {layer.name!r} is not recorded: give it above.")
        return self._as_measured(slide)

    def peek(self) -> Slide | None:
        """The slide of the picked layer as far as it can be told, with the µm/px given for it."""
        slide = self._slide_of(self.layer) if self.layer is not None else None
        return None if slide is None else self._as_measured(slide)

    @property
    def can_take_back(self) -> bool:
        """Whether a µm/px was given for the picked layer that can be taken back."""
        return self.layer is not None and can_take_back(self.layer)

    def take_back(self) -> None:
        """Go back to the µm/px before the one given last."""
        if self.layer is not None:
            take_back_mpp(self.viewer, self.layer, self._slide_of(self.layer))

    def follow(self) -> None:
        """Offer the viewer's layers from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.selection.events.active.connect(self._on_active)
            self.viewer.layers.events.inserted.connect(self._update)
            self.viewer.layers.events.removed.connect(self._update)
            mpp_news.given.connect(self._on_given)
        self._update()
        if self.layer is not None:  # its µm/px may have been given while this was closed
            self._on_given(self.layer)

    def close(self) -> None:
        """Let go of the viewer, and of the files opened here that no run reads."""
        if self._following:
            self._following = False
            self.viewer.layers.selection.events.active.disconnect(self._on_active)
            self.viewer.layers.events.inserted.disconnect(self._update)
            self.viewer.layers.events.removed.disconnect(self._update)
            mpp_news.given.disconnect(self._on_given, missing_ok=True)
        self._close_unused(shown=[])

    def release(self) -> None:
        """The run is over: what it read may be closed."""
        self.in_use = None
        self._close_unused(self._image_layers() if self._following else [])

    def _as_measured(self, slide: Slide) -> Slide:
        mpp = given_or_own(slide, self.mpp.value())
        return slide if mpp is None or mpp == slide.mpp else slide.with_mpp(mpp)

    def _on_active(self, _event: Any = None) -> None:
        """The slide layer that is selected is the one picked."""
        layer = self.viewer.layers.selection.active
        if layer != self.layer and layer in self._image_layers():
            self.picker.value = layer

    def _image_layers(self) -> list[Image]:
        return [la for la in self.viewer.layers if is_picture(la)]

    def _choices(self, _picker: Any) -> list[tuple[str, Image]]:
        return [(layer.name, layer) for layer in self._image_layers()]

    def _update(self, _event: Any = None) -> None:
        layers = self._image_layers()
        self.picker.reset_choices()
        if self.picker.value is None and layers:
            self.picker.value = layers[-1]
        self._close_unused(layers)

    def _show_mpp(self, layer: Image | None) -> None:
        self.mpp.blockSignals(True)
        self.mpp.setValue(0.0 if layer is None else shown_mpp(layer, self._slide_of(layer)))
        self.mpp.blockSignals(False)

    def _keep_mpp(self, value: float) -> None:
        if self.layer is not None:
            give_mpp(self.viewer, self.layer, self._slide_of(self.layer), value)

    def _on_given(self, layer: Image) -> None:
        """Another dock gave a µm/px: whoever follows this box is to hear of it."""
        if layer != self.layer:
            return
        former = self.mpp.value()
        self.mpp.setValue(shown_mpp(layer, self._slide_of(layer)))
        if self.mpp.value() != former:
            self.mpp.editingFinished.emit()

    def _slide_of(self, layer: Image) -> Slide | None:
        """The slide behind a layer: ours, or the file that another reader opened it from."""
        slide = layer.metadata.get(SLIDE_KEY)
        if isinstance(slide, Slide):
            return slide
        path = _source(layer)
        if path is None:
            return None
        if path not in self._opened:
            try:
                self._opened[path] = open_slide(path)
            except InputError:
                self._opened[path] = None  # no slide: not to be asked again
        return self._opened[path]

    def _close_unused(self, shown: list[Image]) -> None:
        sources = {_source(layer) for layer in shown}
        for path, slide in list(self._opened.items()):
            read = self.in_use is not None and slide is not None and self.in_use.path == slide.path
            if path not in sources and not read:
                self._opened.pop(path)
                if slide is not None:
                    slide.close()


def _source(layer: Image) -> Path | None:
    return Path(layer.source.path) if layer.source.path is not None else None


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + " px"
