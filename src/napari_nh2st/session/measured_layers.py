"""Measured spots in the viewer: what was measured, what was predicted there, and the difference."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Points
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_nh2st.layers.keys import COMPARISON_KIND_KEY
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.session.side_by_side import SideBySide
from napari_nh2st.shown_text import for_qt

Kind = Literal["measured", "predicted", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COLORMAPS: Mapping[Kind, str] = {
    "measured": "magma",
    "predicted": "magma",
    "residual": "BrBG",  # neither end is a colour of H&E
}

_SPOT = 0.55
"""Diameter of a spot in pitches: 110 µm on a legacy array, 55 µm on a Visium slide."""

_UNTRAINED = " · UNTRAINED"

_PROPOSED = "#e69f00"
"""Reads on H&E, and on both of napari's themes."""

_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units")


class MeasuredLayers:
    """Points layers over a slide layer, one for each kind of value.

    A kind's layer is made when it is first shown, and has the gene shown as its one feature:
    switching the gene changes that and the colours alone. What the user removes from the viewer
    stays away until it is asked for again. Spots cannot be edited, and stay on the slide layer
    when that is moved.

    Parameters
    ----------
    viewer
        Gets the layers.
    slide_layer
        Spots lie where they are on it, whatever its transform.
    metadata
        Of every layer, for example where the spots were read from.
    found
        Layers that are there already, to go on with.

    Attributes
    ----------
    layers
        Those there are, by kind.
    gene
        The one shown.
    kind
        The one that is visible, unless they are side by side.
    is_trained
        Whether what is predicted means something; else the names of its layers say so.
    limits
        (low, high) of each kind's colours; measured and predicted have the same.
    beside_ended
        Emitted when two kinds are not side by side any more because a layer was removed.
    """

    beside_ended = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        slide_layer: Image,
        metadata: Mapping[str, Any] | None = None,
        found: Mapping[Kind, Points] | None = None,
    ) -> None:
        self.viewer = viewer
        self.slide_layer = slide_layer
        self._metadata = dict(metadata or {})
        self.layers: dict[Kind, Points] = dict(found or {})
        self.gene = ""
        self.kind: Kind = "measured"
        self.is_trained = True
        self.limits: dict[Kind, tuple[float, float]] = {}
        self._values: dict[Kind, pd.DataFrame] = {}
        self._positions: NDArray[np.float64] = np.empty((0, 2))
        self._size = 1.0
        self._colored: dict[Kind, str] = {}
        self._proposed: Points | None = None
        self._beside: SideBySide | None = None
        self._following = False
        for layer in self.layers.values():
            layer.editable = False
            self._place(layer)
        self.follow()

    # --- values and places ---

    def set_values(
        self, values: Mapping[Kind, pd.DataFrame], positions: ArrayLike, pitch_px: float
    ) -> None:
        """Show these kinds of values, and no others.

        Parameters
        ----------
        values
            Spots × genes, of the same spots and genes for all kinds.
        positions
            (spots, 2) (x, y) in full-resolution pixels.
        pitch_px
            Distance between spots.
        """
        beside = self.is_beside
        self.show_beside(False)
        genes = next(iter(values.values())).columns
        if self.gene not in genes:
            self.gene = str(genes[0])
        if self.kind not in values:
            self.kind = "measured"
        there = self._there()
        fitting = [k for k in there if k in values and len(there[k].data) == len(values[k])]
        self._drop(*[kind for kind in self.layers if kind not in fitting])
        self._values = dict(values)
        self._colored = {}
        self._limit()
        self.move(positions, pitch_px)
        for kind, layer in self._there().items():
            layer.name = self._name(kind)
        self._make(self.kind)
        self._show_only(self.kind)
        for kind in self._there():
            self._color(kind)
        self.show_beside(beside and "predicted" in values)

    def move(self, positions: ArrayLike, pitch_px: float) -> None:
        """Put the spots elsewhere."""
        self._positions, self._size = _on_layer(positions), _SPOT * pitch_px
        for layer in self._there().values():
            if not np.array_equal(layer.data, self._positions):
                layer.data = self._positions
            if not np.all(layer.size == self._size):
                layer.size = self._size

    def propose(self, positions: ArrayLike | None, pitch_px: float = 1.0) -> None:
        """Show as rings where spots might lie; None for no longer."""
        if self._proposed is not None and self._proposed in self.viewer.layers:
            self.viewer.layers.remove(self._proposed)
        self._proposed = None
        if positions is not None:
            selected = set(self.viewer.layers.selection)
            active = self.viewer.layers.selection.active
            self._proposed = self.viewer.add_points(
                _on_layer(positions),
                name="proposed places",
                face_color="transparent",
                border_color=_PROPOSED,
                border_width=0.12,
                size=_SPOT * pitch_px,
                **placement_of(self.slide_layer),
            )
            self._proposed.editable = False
            # Rings are to be looked at: what the user has selected stays selected.
            self.viewer.layers.selection.active = active
            self.viewer.layers.selection = selected

    def note(self, metadata: Mapping[str, Any]) -> None:
        """Put something more into the metadata of every layer, also of those still to come."""
        self._metadata |= metadata
        for layer in self._there().values():
            layer.metadata.update(metadata)

    def remove(self) -> None:
        """Take all layers out of the viewer."""
        self.show_beside(False)
        self.propose(None)
        self._drop(*list(self.layers))
        self._values = {}
        self.let_go()

    # --- what is shown ---

    def show_gene(self, gene: str) -> None:
        """Colour the spots by another gene."""
        self.gene = gene
        self._limit()
        for kind, layer in self._there().items():
            layer.name = self._name(kind)
            self._color(kind)

    def show_kind(self, kind: Kind) -> None:
        """Show one kind of values; side by side, the one beside the measured."""
        self.kind = kind
        self._make(kind)
        if self._beside is None:
            self._show_only(kind)
        elif (second := self._second()) is not None:
            self._beside.change(second)

    @property
    def is_beside(self) -> bool:
        """Whether two kinds are side by side."""
        return self._beside is not None

    def show_beside(self, beside: bool) -> None:
        """Measured and predicted (or the residual) side by side on the slide, or one at a time."""
        if beside == self.is_beside:
            return
        if self._beside is not None:
            ending, self._beside = self._beside, None
            ending.end()
            self._show_only(self.kind)
            return
        self._make("measured")
        self._make("predicted")
        second, first = self._second(), self._there().get("measured")
        if self.slide_layer in self.viewer.layers and first is not None and second is not None:
            self._beside = SideBySide(self.viewer, self.slide_layer)
            self._beside.begin(first, second)

    def lie_on(self, layer: Image | None) -> bool:
        """Whether spots lie on a layer: the slide's, or the one beside it."""
        beside = self._beside.copy if self._beside is not None else None
        return layer is not None and layer in (self.slide_layer, beside)

    # --- the viewer ---

    def follow(self) -> None:
        """Follow what happens to the layers in the viewer."""
        if self._following:
            return
        self._following = True
        for name in _TRANSFORM:
            getattr(self.slide_layer.events, name).connect(self._on_transform)
        self.viewer.layers.events.removed.connect(self._on_removed)
        for layer in self.layers.values():
            self._follow(layer)

    def let_go(self) -> None:
        """Follow it no more: the layers may be those of another widget."""
        if not self._following:
            return
        self._following = False
        for name in _TRANSFORM:
            getattr(self.slide_layer.events, name).disconnect(self._on_transform)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self.layers.values():
            self._unfollow(layer)

    def _follow(self, layer: Points) -> None:
        layer.events.visible.connect(self._on_visible)
        layer.events.editable.connect(self._on_editable)

    def _unfollow(self, layer: Points) -> None:
        layer.events.visible.disconnect(self._on_visible)
        layer.events.editable.disconnect(self._on_editable)

    def _on_visible(self, _event: Any = None) -> None:
        for kind in self._there():
            self._color(kind)

    def _on_editable(self, _event: Any = None) -> None:
        """Napari lets points be edited again whenever it goes back from 3D to 2D."""
        for layer in self._there().values():
            layer.editable = False

    def _on_removed(self, _event: Any = None) -> None:
        if self._beside is not None and not self._beside.is_whole:
            self.show_beside(False)
            self.beside_ended.emit()

    def _on_transform(self, _event: Any = None) -> None:
        there: list[Points] = list(self._there().values())
        if self._proposed is not None:
            there.append(self._proposed)
        for layer in there:
            self._place(layer)
        if self._beside is not None:
            self._beside.follow_slide()

    # --- inside ---

    def _make(self, kind: Kind) -> None:
        """Add a kind's layer if it is not there."""
        if kind not in self._values or kind in self._there():
            return
        if (former := self.layers.pop(kind, None)) is not None:  # removed by the user
            self._unfollow(former)
        layer = self.viewer.add_points(
            self._positions,
            name=self._name(kind),
            features=self._features(kind),
            face_color=for_qt(self.gene),
            face_colormap=COLORMAPS[kind],
            face_contrast_limits=self.limits[kind],
            border_width=0,
            size=self._size,
            metadata=self._metadata | {COMPARISON_KIND_KEY: kind},
            **placement_of(self.slide_layer),
        )
        layer.editable = False
        self.layers[kind], self._colored[kind] = layer, self.gene
        self._follow(layer)

    def _color(self, kind: Kind) -> None:
        """Colour a layer by the gene; one that is hidden, when it is shown."""
        layer = self.layers[kind]
        if not layer.visible or self._colored.get(kind) == self.gene:
            return
        self._colored[kind] = self.gene
        with warnings.catch_warnings():
            # That the feature it was coloured by is gone: the next one comes below.
            warnings.simplefilter("ignore", RuntimeWarning)
            layer.features = self._features(kind)
        layer.face_contrast_limits = self.limits[kind]
        layer.face_color = for_qt(self.gene)

    def _features(self, kind: Kind) -> pd.DataFrame:
        return pd.DataFrame({for_qt(self.gene): self._values[kind][self.gene].to_numpy()})

    def _name(self, kind: Kind) -> str:
        untrained = kind != "measured" and not self.is_trained
        return for_qt(f"{kind} · {self.gene}") + (_UNTRAINED if untrained else "")

    def _show_only(self, kind: Kind) -> None:
        for other, layer in self._there().items():
            if layer.visible != (other == kind):
                layer.visible = other == kind

    def _second(self) -> Points | None:
        """The layer that stands beside the measured."""
        return self._there().get("residual" if self.kind == "residual" else "predicted")

    def _there(self) -> dict[Kind, Points]:
        return {kind: layer for kind, layer in self.layers.items() if layer in self.viewer.layers}

    def _drop(self, *kinds: Kind) -> None:
        there = self._there()
        for kind in kinds:
            if kind in there:
                self.viewer.layers.remove(there[kind])
            self.layers.pop(kind, None)

    def _limit(self) -> None:
        shown = {kind: table[self.gene].to_numpy() for kind, table in self._values.items()}
        together = [shown[kind] for kind in ("measured", "predicted") if kind in shown]
        same = robust_limits(np.concatenate(together))
        self.limits = dict.fromkeys(shown, same)
        if "residual" in shown:
            _, most = robust_limits(np.abs(shown["residual"]))
            self.limits["residual"] = (-most, most)

    def _place(self, layer: Points) -> None:
        place(layer, placement_of(self.slide_layer))


def _on_layer(positions: ArrayLike) -> NDArray[np.float64]:
    """(n, 2) (y, x) in a slide layer's data: napari's pixel k has its center at k, a slide's at
    k + 0.5."""
    return np.asarray(positions, np.float64)[:, ::-1] - 0.5
