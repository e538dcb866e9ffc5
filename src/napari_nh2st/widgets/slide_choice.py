"""Choice of a slide's layer and of its µm/px."""

from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image, Layer
from qtpy.QtWidgets import QDoubleSpinBox
from superqt.utils import signals_blocked

from napari_nh2st.errors import InputError
from napari_nh2st.layers.given_mpp import (
    can_take_back,
    give_mpp,
    given_or_own,
    shown_mpp,
    take_back_mpp,
)
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.remote import is_url
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.widgets.layer_picker import LayerPicker


class SlideChoice:
    """A picker of slide layers and the µm/px of the picked one.

    Parameters
    ----------
    viewer
        Its layers are offered.
    connections
        Connections of the dock: while they are open the viewer is followed, and files that other
        readers' layers are of stay open.

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

    def __init__(self, viewer: ViewerModel, connections: Connections) -> None:
        self.viewer = viewer
        self.picker = LayerPicker(
            viewer, connections, is_picture, first={"-----": None}, follow_selection=True
        )
        self.session = Session.of(viewer)
        if (current := self.session.slide) is not None:  # the one that was selected last
            self.picker.value = current
        self.picker.setToolTip("Slide to predict")
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0.0, 20.0)
        self.mpp.setDecimals(4)
        self.mpp.setSuffix(" µm/px")
        self.mpp.setSpecialValueText("not recorded: give it")
        self.mpp.setToolTip(
            "µm per pixel of the slide; scans at 20× are about 0.5, at 40× 0.25. It is set on "
            "the layer too, and layers on it are rescaled"
        )
        self.mpp.setSingleStep(0.05)
        # Not for every digit: a layer is not to jump while its µm/px is typed.
        self.mpp.setKeyboardTracking(False)
        self.in_use: Slide | None = None
        self._opened: dict[Path, Slide | None] = {}
        self.connections = connections
        self.picker.changed.connect(self._show_mpp)
        self.picker.updated.connect(self._close_unused)
        self.mpp.valueChanged.connect(self._keep_mpp)
        connections.add(self.session.mpp_given, self._on_given)
        connections.when_opened(self._catch_up)
        connections.when_closed(self._close_unused)

    @property
    def layer(self) -> Image | None:
        """The picked layer."""
        layer: Image | None = self.picker.value
        return layer

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
        selected = [la for la in self.picker.layers if la in self.viewer.layers.selection]
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
        """The slide of the picked layer with the µm/px given for it; None where it has none."""
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
            self.session.mpp_given.emit(self.layer)

    def release(self) -> None:
        """The run is over: what it read may be closed."""
        self.in_use = None
        self._close_unused()

    def _as_measured(self, slide: Slide) -> Slide:
        mpp = given_or_own(slide, self.mpp.value())
        return slide if mpp is None or mpp == slide.mpp else slide.with_mpp(mpp)

    def _catch_up(self) -> None:
        """Show the µm/px that may have been given while the dock was closed."""
        if self.layer is not None:
            self._on_given(self.layer)

    def _show_mpp(self, layer: Image | None) -> None:
        with signals_blocked(self.mpp):
            self.mpp.setValue(0.0 if layer is None else shown_mpp(layer, self._slide_of(layer)))

    def _keep_mpp(self, value: float) -> None:
        layer = self.layer
        if layer is not None and give_mpp(self.viewer, layer, self._slide_of(layer), value):
            self.session.mpp_given.emit(layer)

    def _on_given(self, layer: Image) -> None:
        """Another dock gave a µm/px: whoever follows this box hears of it."""
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

    def _close_unused(self) -> None:
        """Close files opened here that no layer is of, or all once the dock is closed.

        One that a run reads stays open.
        """
        shown = filter(is_picture, self.viewer.layers) if self.connections.is_open else ()
        sources = {_source(layer) for layer in shown}
        for path, slide in list(self._opened.items()):
            read = self.in_use is not None and slide is not None and self.in_use.path == slide.path
            if path not in sources and not read:
                self._opened.pop(path)
                if slide is not None:
                    slide.close()


def _source(layer: Layer) -> Path | None:
    """The file that a layer was opened from; not its URL, as a server may hold up the dock."""
    place = layer.source.path
    return None if place is None or is_url(str(place)) else Path(place)


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) + " px"
