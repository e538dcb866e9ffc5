"""Sections with measured ST in a session; all docks show the current one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from napari.layers import Image, Layer, Points
from psygnal import Signal

from napari_nh2st.layers.keys import COMPARISON_KEY, COMPARISON_KIND_KEY, SLIDE_KEY
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.remote import SlidePath, slide_path
from napari_nh2st.session.measured_layers import KINDS
from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.slide import Slide

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class MeasuredSections:
    """Sections with measured ST in a viewer.

    A section that is read replaces the current one. A comparison opened from a file becomes the
    current one without replacing it; the former one becomes current again when its layers are
    selected or the other is removed. A section whose slide is removed from the viewer waits until
    the slide is back.

    Parameters
    ----------
    session
        The session; its viewer is followed.

    Attributes
    ----------
    changed
        Emitted when the current section changes, also to none.
    display_changed
        Emitted when another gene or kind of values of the current section is shown.
    """

    changed = Signal()
    display_changed = Signal()

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._current: MeasuredSection | None = None
        self._others: list[MeasuredSection] = []
        self._n_docks = 0
        layers = session.viewer.layers
        # After napari itself has taken note of a layer: others are added and removed here.
        layers.events.inserted.connect(self._on_inserted, position="last")
        layers.events.removed.connect(self._on_removed, position="last")
        layers.selection.events.active.connect(self._on_active)
        for layer in list(layers):
            self._adopt(layer)

    @property
    def current(self) -> MeasuredSection | None:
        """The section that the docks show."""
        return self._current

    @current.setter
    def current(self, section: MeasuredSection | None) -> None:
        if section is not self._current:
            self._replace(section)
            self.changed.emit()

    def add(self, section: MeasuredSection, slide_layer: Image) -> None:
        """Lay a section over a slide, in place of the current one."""
        former, self._current = self._current, None
        if former is not None:
            self._forget(former)
        self._watch(section)
        self._current = section
        section.layers.place_on(_unwrapped(slide_layer))
        self._show_rings()
        self.changed.emit()

    def remove(self) -> None:
        """Take the current section and its layers away."""
        former = self._current
        if former is not None:
            self._current = self._others.pop() if self._others else None
            self._forget(former)
            self.changed.emit()

    # --- docks ---

    def attach(self) -> None:
        """A dock shows the sections: rings show where spots might lie."""
        self._n_docks += 1
        self._show_rings()

    def detach(self) -> None:
        """A dock is closed: with the last one, what only a dock can end is ended."""
        self._n_docks -= 1
        if not self._n_docks and self._current is not None:
            self._current.layers.show_side_by_side(False)
            self._show_rings()

    def _show_rings(self) -> None:
        if self._current is not None:
            self._current.show_rings(self._n_docks > 0)

    # --- sections ---

    def __iter__(self) -> Iterator[MeasuredSection]:
        yield from self._others
        if self._current is not None:
            yield self._current

    def _watch(self, section: MeasuredSection) -> None:
        section.changed.connect(self._on_section)
        section.layers.changed.connect(self._on_display)

    def _forget(self, section: MeasuredSection) -> None:
        section.changed.disconnect(self._on_section)
        section.layers.changed.disconnect(self._on_display)
        section.layers.remove()

    def _replace(self, section: MeasuredSection | None) -> None:
        former, self._current = self._current, section
        if section in self._others:
            self._others.remove(section)
        if former is None:
            return
        former.layers.show_side_by_side(False)
        former.show_rings(False)
        # Without a layer there is no way back to it.
        if former.locked or any(
            layer in self._session.viewer.layers for layer in former.layers.layers.values()
        ):
            self._others.append(former)
        else:
            self._forget(former)

    def _on_section(self) -> None:
        self._show_rings()
        self.changed.emit()

    def _on_display(self) -> None:
        self.display_changed.emit()

    # --- the viewer ---

    def _adopt(self, layer: Layer) -> None:
        """Take up a layer of a comparison that comes from a file."""
        prediction, kind = (
            layer.metadata.get(key) for key in (COMPARISON_KEY, COMPARISON_KIND_KEY)
        )
        if not isinstance(layer, Points) or not isinstance(prediction, AnnData):
            return
        if kind not in KINDS:
            return
        section = next((each for each in self if each.prediction is prediction), None)
        if section is None:
            section = MeasuredSection.of_prediction(self._session, prediction)
            self._watch(section)
            slide_layer = self._slide_layer_of(section)
            if slide_layer is not None:
                section.layers.place_on(slide_layer)
            self._replace(section)
        if section.results is None:
            section.layers.adopt(kind, layer)
            self.changed.emit()

    def _slide_layer_of(self, section: MeasuredSection, image: int | None = None) -> Image | None:
        """The slide's layer in the viewer; the last of several, which a file brings along.

        Of a file with several images, that of a number, unless this is None.
        """
        layers = reversed(self._session.viewer.layers)
        shown = (each for each in layers if is_of_slide(each, section.slide))
        return next((each for each in shown if image is None or _image_of(each) == image), None)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        self._adopt(layer)
        for section in list(self):
            if section.slide_layer is None and is_of_slide(layer, section.slide):
                section.layers.place_on(layer)
                if section is self._current:
                    self._on_section()

    def _on_removed(self, event: Any) -> None:
        for section in list(self):
            if section.slide_layer is not None and section.slide_layer == event.value:
                other = self._slide_layer_of(section, _image_of(event.value))
                if other is None:
                    section.layers.remove()
                else:  # the slide is open twice
                    section.layers.move_to(other)
                if section is self._current:
                    self.changed.emit()

    def _on_active(self, _event: Any = None) -> None:
        layer = self._session.viewer.layers.selection.active
        for section in self._others:
            if layer is not None and layer in section.layers.layers.values():
                self.current = section
                return


def is_of_slide(layer: Layer, path: SlidePath) -> bool:
    """Whether a layer shows the slide of this path, or of this name."""
    if not is_picture(layer):
        return False
    slide = layer.metadata.get(SLIDE_KEY)
    place = slide.path if isinstance(slide, Slide) else layer.source.path
    if place is None:
        return False
    place = slide_path(place)  # other readers' layers have it as a string
    return bool(place == path or place.name == str(path))


def _image_of(layer: Layer) -> int | None:
    """Number of the image that a slide's layer shows; None where its slide is not known."""
    slide = layer.metadata.get(SLIDE_KEY)
    return slide.image if isinstance(slide, Slide) else None


def _unwrapped(layer: Image) -> Image:
    """To a plugin's widget napari gives its layers wrapped."""
    unwrapped: Image = getattr(layer, "__wrapped__", layer)
    return unwrapped
