"""Picker of a layer: those of one kind, by the names that they have by now."""

from collections.abc import Callable, Mapping
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from psygnal import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_nh2st.session.connections import Connections


class LayerPicker(QComboBox):
    """Offers the layers of a viewer that are of one kind.

    Parameters
    ----------
    viewer
        Its layers are offered.
    connections
        Connections of the dock: the viewer is followed while they are open.
    accepts
        Whether a layer is of the kind.
    first
        Values offered before the layers, by their texts, as ``{"whole slide": WHOLE}``.
    follow_selection
        Whether a layer that becomes the active one is picked, and without a choice the last layer.

    Attributes
    ----------
    changed
        Emitted with another :attr:`value`, whoever picked it.
    updated
        Emitted when the viewer's layers are others; after ``changed``.
    """

    changed = Signal(object)
    updated = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        connections: Connections,
        accepts: Callable[[Layer], bool],
        *,
        first: Mapping[str, object] | None = None,
        follow_selection: bool = False,
    ) -> None:
        super().__init__()
        self.viewer = viewer
        self._accepts = accepts
        self._first = dict(first or {})
        self._follow_selection = follow_selection
        self._value: Any = next(iter(self._first.values()), None)
        # As wide as the dock, not as the longest name.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.currentIndexChanged.connect(self._on_index)
        for event in ("inserted", "removed", "renamed"):
            connections.add(getattr(viewer.layers.events, event), self.update_layers)
        if follow_selection:
            connections.add(viewer.layers.selection.events.active, self._on_active)
        self.update_layers()
        connections.when_opened(self.update_layers)

    @property
    def value(self) -> Any:
        """The layer that is picked, or one of ``first``; None while there is nothing to pick."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        row = self._row_of(value)
        if row is None:
            self.update_layers()
            row = self._row_of(value)
        if row is not None:
            self.setCurrentIndex(row)

    @property
    def layers(self) -> list[Layer]:
        """The layers that are offered, from the bottom."""
        return [layer for layer in self.viewer.layers if self._accepts(layer)]

    def update_layers(self, _event: Any = None) -> None:
        """Offer the layers that there are, by their names; what is picked stays if it is there."""
        layers = self.layers
        with signals_blocked(self):
            self.clear()
            for text, value in self._first.items():
                self.addItem(text, value)
            for layer in layers:
                self.addItem(layer.name, layer)
            row = self._row_of(self._value)
            if self._follow_selection and (row is None or self._value is None):
                row = self.count() - 1
            self.setCurrentIndex(row or 0)
        self._on_index(self.currentIndex())
        self.updated.emit()

    def _row_of(self, value: Any) -> int | None:
        # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
        rows = (row for row in range(self.count()) if self.itemData(row) == value)
        return next(rows, None)

    def _on_index(self, row: int) -> None:
        value = self.itemData(row) if row >= 0 else None
        if value != self._value:
            self._value = value
            self.changed.emit(value)

    def _on_active(self, _event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        row = None if layer is None else self._row_of(layer)
        if row is not None:
            self.setCurrentIndex(row)
