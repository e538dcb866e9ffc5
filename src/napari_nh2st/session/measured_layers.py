"""Points layers of measured ST: measured values, predicted ones, and their difference."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from napari.layers import Image, Points
from numpy.typing import ArrayLike, NDArray
from psygnal import Signal

from napari_nh2st.layers.keys import COMPARISON_KIND_KEY
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.session.side_by_side import SideBySide
from napari_nh2st.shown_text import for_qt, from_qt

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

Kind = Literal["measured", "predicted", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COLORMAPS: Mapping[Kind, str] = {
    "measured": "magma",
    "predicted": "magma",
    "residual": "BrBG",  # neither end is a color of H&E
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
    switching the gene changes that and the colors alone. What the user removes from the viewer
    stays away until it is asked for again. Spots cannot be edited, and stay on the slide layer
    when that is moved. Without a slide layer, there are values, and no layers.

    Parameters
    ----------
    session
        Its viewer gets the layers.

    Attributes
    ----------
    slide_layer
        Spots lie where they are on it, whatever its transform; None while it is not in the viewer.
    slide_name
        Name of that layer, also once it is gone; empty before the first.
    layers
        Those there are, by kind.
    gene
        The one shown.
    kind
        The one that is visible, unless they are side by side.
    is_trained
        Whether predicted values mean something; else the names of their layers say so.
    limits
        (low, high) of each kind's colors; measured and predicted have the same.
    changed
        Emitted when another gene or kind is shown, or when two kinds are side by side, or no more.
    """

    changed = Signal()

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.slide_layer: Image | None = None
        self.slide_name = ""
        self.layers: dict[Kind, Points] = {}
        self.gene = ""
        self.kind: Kind = "measured"
        self.is_trained = True
        self.limits: dict[Kind, tuple[float, float]] = {}
        self._metadata: dict[str, Any] = {}
        self._values: dict[Kind, pd.DataFrame] = {}
        self._positions: NDArray[np.float64] = np.empty((0, 2))
        self._size = 1.0
        self._colored: dict[Kind, str] = {}
        self._rings: Points | None = None
        self._side_by_side: SideBySide | None = None

    # --- on a slide, or not ---

    def place_on(self, slide_layer: Image) -> None:
        """Lie on a slide's layer from now on."""
        self.slide_layer, self.slide_name = slide_layer, slide_layer.name
        for name in _TRANSFORM:
            getattr(slide_layer.events, name).connect(self._on_transform)
        self._session.viewer.layers.events.removed.connect(self._on_removed)
        for layer in self.layers.values():
            place(layer, placement_of(slide_layer))
        self._show_values()

    def adopt(self, kind: Kind, layer: Points) -> None:
        """Go on with a layer that came from a file."""
        self.layers[kind] = layer
        self._follow(layer)
        layer.editable = False
        if self.slide_layer is not None:
            place(layer, placement_of(self.slide_layer))
        if layer.visible:
            self.kind = kind
            if not self.gene and layer.features.shape[1] == 1:
                self.gene = from_qt(str(layer.features.columns[0]))

    def remove(self) -> None:
        """Take all layers out of the viewer, and leave the slide; the values stay."""
        self.show_side_by_side(False)
        self.show_rings(None)
        self._drop(*list(self.layers))
        self._leave_slide()

    def move_to(self, slide_layer: Image) -> None:
        """Lie on another layer of the same slide, in the same layers."""
        self.show_side_by_side(False)
        self._leave_slide()
        self.place_on(slide_layer)

    def _leave_slide(self) -> None:
        if self.slide_layer is not None:
            for name in _TRANSFORM:
                getattr(self.slide_layer.events, name).disconnect(self._on_transform)
            self._session.viewer.layers.events.removed.disconnect(self._on_removed)
            self.slide_name, self.slide_layer = self.slide_layer.name, None

    # --- values and places ---

    def set_values(
        self,
        values: Mapping[Kind, pd.DataFrame],
        positions: ArrayLike,
        pitch_px: float,
        *,
        gene: str,
        kind: Kind,
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
        gene, kind
            Shown first.
        """
        self.gene, self.kind = gene, kind
        self._values, self._colored = dict(values), {}
        self._positions, self._size = _on_layer(positions), _SPOT * pitch_px
        self._limit()
        self._show_values()

    def show_rings(self, positions: ArrayLike | None, pitch_px: float = 1.0) -> None:
        """Show as rings where spots might lie; None for no longer."""
        layers = self._session.viewer.layers
        if self._rings is not None and self._rings in layers:
            layers.remove(self._rings)
        self._rings = None
        if positions is None or self.slide_layer is None:
            return
        with kept_selection(self._session.viewer):  # rings are to be looked at
            self._rings = self._session.viewer.add_points(
                _on_layer(positions),
                name="proposed places",
                face_color="transparent",
                border_color=_PROPOSED,
                border_width=0.12,
                size=_SPOT * pitch_px,
                **placement_of(self.slide_layer),
            )
        self._rings.editable = False

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add to the metadata of every layer, also of those still to come."""
        self._metadata |= metadata
        for layer in self._there().values():
            layer.metadata.update(metadata)

    # --- what is shown ---

    def show_gene(self, gene: str) -> None:
        """Color the spots by another gene, and show them where all were hidden."""
        self.gene = gene
        self._limit()
        if not any(layer.visible for layer in self._there().values()):
            self._show_only(self.kind)
        for kind, layer in self._there().items():
            layer.name = self._name(kind)
            self._color(kind)
        self.changed.emit()

    def show_kind(self, kind: Kind) -> None:
        """Show one kind of values; side by side, the one beside the measured."""
        self.kind = kind
        self._make(kind)
        if self._side_by_side is None:
            self._show_only(kind)
        elif (second := self._second()) is not None:
            self._side_by_side.change(second)
        self.changed.emit()

    @property
    def is_side_by_side(self) -> bool:
        """Whether two kinds are side by side."""
        return self._side_by_side is not None

    def show_side_by_side(self, wanted: bool) -> None:
        """Measured and predicted (or the residual) side by side on the slide, or one at a time."""
        if wanted == self.is_side_by_side:
            return
        if self._side_by_side is not None:
            both, self._side_by_side = self._side_by_side, None
            self._end(both)
        elif self.slide_layer is not None:
            self._make("measured")
            self._make("predicted")
            second, first = self._second(), self._there().get("measured")
            if first is not None and second is not None:
                both = SideBySide(self._session, self.slide_layer)
                try:
                    both.begin(first, second)
                except Exception:
                    self._end(both)
                    raise
                self._side_by_side = both
        self.changed.emit()

    def _end(self, both: SideBySide) -> None:
        try:
            both.end()
        finally:
            self._show_only(self.kind)
            if both.hid_pins:
                self._session.shown_layers.restore_pins()

    def lie_on(self, layer: Image | None) -> bool:
        """Whether spots lie on a layer: the slide's, or the one beside it."""
        beside = self._side_by_side.copy if self._side_by_side is not None else None
        return layer is not None and (layer == self.slide_layer or layer == beside)

    # --- the viewer ---

    def _follow(self, layer: Points) -> None:
        layer.events.visible.connect(self._on_visible)
        layer.events.editable.connect(self._on_editable)

    def _unfollow(self, layer: Points) -> None:
        layer.events.visible.disconnect(self._on_visible)
        layer.events.editable.disconnect(self._on_editable)

    def _on_visible(self, _event: Any = None) -> None:
        if self._values:
            for kind in self._there():
                self._color(kind)

    def _on_editable(self, _event: Any = None) -> None:
        """Napari lets points be edited again whenever it goes back from 3D to 2D."""
        for layer in self._there().values():
            layer.editable = False

    def _on_removed(self, _event: Any = None) -> None:
        if self._side_by_side is not None and not self._side_by_side.is_whole:
            self.show_side_by_side(False)

    def _on_transform(self, _event: Any = None) -> None:
        if self.slide_layer is None:
            return
        there: list[Points] = list(self._there().values())
        if self._rings is not None:
            there.append(self._rings)
        for layer in there:
            place(layer, placement_of(self.slide_layer))
        if self._side_by_side is not None:
            self._side_by_side.follow_slide()

    # --- inside ---

    def _show_values(self) -> None:
        """Bring the layers in line with the values and places."""
        if not self._values or self.slide_layer is None:
            return
        beside = self.is_side_by_side
        self.show_side_by_side(False)
        there, n_spots = self._there(), len(self._positions)
        fitting = [k for k in there if k in self._values and len(there[k].data) == n_spots]
        self._drop(*[kind for kind in self.layers if kind not in fitting])
        for kind, layer in self._there().items():
            if not np.array_equal(layer.data, self._positions):
                layer.data = self._positions
            if not np.all(layer.size == self._size):
                layer.size = self._size
            layer.name = self._name(kind)
        self._make(self.kind)
        self._show_only(self.kind)
        for kind in self._there():
            self._color(kind)
        self.show_side_by_side(beside and "predicted" in self._values)

    def _make(self, kind: Kind) -> None:
        """Add a kind's layer if it is not there."""
        if kind not in self._values or kind in self._there() or self.slide_layer is None:
            return
        if (former := self.layers.pop(kind, None)) is not None:  # removed by the user
            self._unfollow(former)
        layer = self._session.viewer.add_points(
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
        """Color a layer by the gene; one that is hidden, when it is shown."""
        layer = self.layers[kind]
        if not layer.visible or self._colored.get(kind) == self.gene:
            return
        self._colored[kind] = self.gene
        with warnings.catch_warnings():
            # That the feature it was colored by is gone: the next one comes below.
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
        """Show one kind, in the place of the others and of heatmaps."""
        for other, layer in self._there().items():
            if other != kind and layer.visible:
                layer.visible = False
        if (shown := self._there().get(kind)) is not None:
            self._session.shown_layers.show(shown)

    def _second(self) -> Points | None:
        """The layer that stands beside the measured."""
        return self._there().get("residual" if self.kind == "residual" else "predicted")

    def _there(self) -> dict[Kind, Points]:
        """Layers that are in the viewer, while the slide is."""
        in_viewer = self._session.viewer.layers if self.slide_layer is not None else ()
        return {kind: layer for kind, layer in self.layers.items() if layer in in_viewer}

    def _drop(self, *kinds: Kind) -> None:
        in_viewer = self._session.viewer.layers
        for kind in kinds:
            layer = self.layers.pop(kind)
            self._unfollow(layer)
            if layer in in_viewer:
                in_viewer.remove(layer)

    def _limit(self) -> None:
        shown = {kind: table[self.gene].to_numpy() for kind, table in self._values.items()}
        together = [shown[kind] for kind in ("measured", "predicted") if kind in shown]
        if not together:
            return
        same = robust_limits(np.concatenate(together))
        self.limits = dict.fromkeys(shown, same)
        if "residual" in shown:
            _, most = robust_limits(np.abs(shown["residual"]))
            self.limits["residual"] = (-most, most)


def _on_layer(positions: ArrayLike) -> NDArray[np.float64]:
    """(n, 2) (y, x) in a slide layer's data: napari's pixel k has its center at k, a slide's at
    k + 0.5."""
    return np.asarray(positions, np.float64)[:, ::-1] - 0.5
