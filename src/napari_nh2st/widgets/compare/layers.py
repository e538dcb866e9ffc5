"""Measured spots in the viewer: what was measured, what was predicted there, and the difference."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Points
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.export.heatmap import robust_limits

Kind = Literal["measured", "predicted", "residual"]
KINDS: tuple[Kind, ...] = get_args(Kind)

COLORMAPS: Mapping[Kind, str] = {
    "measured": "magma",
    "predicted": "magma",
    "residual": "BrBG",  # neither end is a colour of H&E
}

_SPOT = 0.55
"""Diameter of a spot in pitches: 110 µm on a legacy array, 55 µm on a Visium slide."""

_PROPOSED = "#e69f00"
"""Reads on H&E, and on both of napari's themes."""

SPOTS_PATH_KEY, POSITIONS_PATH_KEY = "nh2st_spots_path", "nh2st_positions_path"
"""Keys of a layer's metadata under which lies where its spots were read from."""


class MeasuredLayers:
    """Points layers over a slide layer, one for each kind of value.

    Switching the gene changes their colours alone. What the user removes from the viewer stays
    away until values are given anew.

    Parameters
    ----------
    viewer
        Gets the layers.
    slide_layer
        Spots lie where they are on it, whatever its transform.
    metadata
        Of every layer, for example where the spots were read from.

    Attributes
    ----------
    layers
        Those there are, by kind.
    gene
        The one shown.
    kind
        The one that is visible, unless they are side by side.
    limits
        (low, high) of each kind's colours; measured and predicted have the same.
    """

    def __init__(
        self, viewer: ViewerModel, slide_layer: Image, metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.viewer = viewer
        self.slide_layer = slide_layer
        self._metadata = dict(metadata or {})
        self.layers: dict[Kind, Points] = {}
        self.gene = ""
        self.kind: Kind = "measured"
        self.limits: dict[Kind, tuple[float, float]] = {}
        self._values: dict[Kind, pd.DataFrame] = {}
        self._colored: dict[Kind, str] = {}
        self._stale: set[Kind] = set()
        self._proposed: Points | None = None
        self._beside: _SideBySide | None = None

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
        self._drop(*[k for k in self.layers if k not in values or not self._fits(k, values[k])])
        self._values = dict(values)
        self._limit()
        for kind in values:
            if kind in self._there():
                self._renew(kind, positions, pitch_px)
            else:
                self._add(kind, positions, pitch_px)
        self.show_beside(beside and "predicted" in values)

    def move(self, positions: ArrayLike, pitch_px: float) -> None:
        """Put the spots elsewhere."""
        for layer in self._there().values():
            layer.data = _on_layer(positions)
            layer.size = _SPOT * pitch_px

    def propose(self, positions: ArrayLike | None, pitch_px: float = 1.0) -> None:
        """Show as rings where spots might lie; None for no longer."""
        if self._proposed is not None and self._proposed in self.viewer.layers:
            self.viewer.layers.remove(self._proposed)
        self._proposed = None
        if positions is not None:
            self._proposed = self.viewer.add_points(
                _on_layer(positions),
                name="proposed places",
                face_color="transparent",
                border_color=_PROPOSED,
                border_width=0.12,
                size=_SPOT * pitch_px,
                **self._transform(),
            )

    def remove(self) -> None:
        """Take all layers out of the viewer."""
        self.show_beside(False)
        self.propose(None)
        self._drop(*list(self.layers))
        self._values = {}

    # --- what is shown ---

    def show_gene(self, gene: str) -> None:
        """Colour the spots by another gene."""
        self.gene = gene
        self._limit()
        for kind, layer in self._there().items():
            layer.name = f"{kind} · {gene}"
            self._color(kind)

    def show_kind(self, kind: Kind) -> None:
        """Show one kind of values; side by side, the one beside the measured."""
        self.kind = kind
        if self._beside is not None:
            self.show_beside(False)
            self.show_beside(True)
            return
        for other, layer in self._there().items():
            layer.visible = other == kind

    @property
    def is_beside(self) -> bool:
        """Whether two kinds are side by side."""
        return self._beside is not None

    def show_beside(self, beside: bool) -> None:
        """Measured and predicted (or the residual) side by side on the slide, or one at a time."""
        if self._beside is not None:
            self._beside.end()
            self._beside = None
            for kind, layer in self._there().items():
                layer.visible = kind == self.kind
        there = self._there()
        if (
            beside
            and self.slide_layer in self.viewer.layers
            and {"measured", "predicted"} <= set(there)
        ):
            second = there["residual" if self.kind == "residual" else "predicted"]
            self._beside = _SideBySide(self.viewer, self.slide_layer)
            self._beside.begin(there["measured"], second)

    def lie_on(self, layer: Image | None) -> bool:
        """Whether spots lie on a layer: the slide's, or the one beside it."""
        beside = self._beside.copy if self._beside is not None else None
        return layer is not None and layer in (self.slide_layer, beside)

    # --- inside ---

    def _fits(self, kind: Kind, table: pd.DataFrame) -> bool:
        """Whether a layer can take other values and stay as the user has made it."""
        layer = self._there().get(kind)
        return layer is not None and len(layer.data) == len(table) and self._colored[kind] in table

    def _renew(self, kind: Kind, positions: ArrayLike, pitch_px: float) -> None:
        layer = self.layers[kind]
        layer.features = self._values[kind]
        layer.data, layer.size = _on_layer(positions), _SPOT * pitch_px
        layer.name = f"{kind} · {self.gene}"
        layer.visible = kind == self.kind
        self._stale.add(kind)
        self._color(kind)

    def _add(self, kind: Kind, positions: ArrayLike, pitch_px: float) -> None:
        layer = self.viewer.add_points(
            _on_layer(positions),
            name=f"{kind} · {self.gene}",
            features=self._values[kind],
            face_color=self.gene,
            face_colormap=COLORMAPS[kind],
            face_contrast_limits=self.limits[kind],
            border_width=0,
            size=_SPOT * pitch_px,
            visible=kind == self.kind,
            metadata=dict(self._metadata),
            **self._transform(),
        )
        self.layers[kind], self._colored[kind] = layer, self.gene
        layer.events.visible.connect(lambda _event: self._on_visible(kind))

    def _color(self, kind: Kind) -> None:
        """Colour a layer by the gene; one that is hidden, when it is shown."""
        layer = self.layers[kind]
        if layer.visible and (self._colored[kind] != self.gene or kind in self._stale):
            self._colored[kind] = self.gene
            self._stale.discard(kind)
            layer.face_color = self.gene
            layer.face_contrast_limits = self.limits[kind]

    def _on_visible(self, kind: Kind) -> None:
        if kind in self._there():
            self._color(kind)

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

    def _transform(self) -> dict[str, Any]:
        layer = self.slide_layer
        names = ("scale", "translate", "rotate", "shear", "affine", "units")
        return {name: getattr(layer, name) for name in names}


class _SideBySide:
    """The slide twice in napari's grid, with other spots on each; :meth:`end` restores the view.

    Other layers are hidden meanwhile: the grid would give them places of their own.
    """

    def __init__(self, viewer: ViewerModel, slide_layer: Image) -> None:
        self.viewer = viewer
        self.slide_layer = slide_layer
        data, attributes, _ = slide_layer.as_layer_data_tuple()
        self.copy = Image(data, **(attributes | {"name": f"{slide_layer.name} (beside)"}))
        # The grid has moved into the canvas with napari 0.9.
        self.grid = getattr(viewer, "canvas", viewer).grid
        self._grid = (self.grid.enabled, self.grid.stride, self.grid.shape)
        self._order = list(viewer.layers)
        self._visible = {layer: layer.visible for layer in viewer.layers}

    def begin(self, left: Points, right: Points) -> None:
        layers = self.viewer.layers
        selected = set(layers.selection)
        layers.append(self.copy)
        # Whoever follows the selected slide stays with the slide itself.
        layers.selection.active = self.slide_layer
        shown = [self.slide_layer, left, self.copy, right]
        for layer in layers:
            layer.visible = layer in shown
        _arrange(self.viewer, [*shown, *(la for la in self._order if la not in shown)])
        self.grid.stride, self.grid.shape = 2, (1, 2)
        self.grid.enabled = True
        layers.selection = selected

    def end(self) -> None:
        layers = self.viewer.layers
        self.grid.enabled, self.grid.stride, self.grid.shape = self._grid
        if self.copy in layers:
            layers.remove(self.copy)
        known = [layer for layer in self._order if layer in layers]
        _arrange(self.viewer, [*known, *(layer for layer in layers if layer not in known)])
        for layer, visible in self._visible.items():
            if layer in layers:
                layer.visible = visible


def _arrange(viewer: ViewerModel, order: list[Any]) -> None:
    """Bring the viewer's layers into an order."""
    for place, layer in enumerate(order):
        now = viewer.layers.index(layer)
        if now != place:
            viewer.layers.move(now, place)


def _on_layer(positions: ArrayLike) -> NDArray[np.float64]:
    """(n, 2) (y, x) in a slide layer's data: napari's pixel k has its center at k, a slide's at
    k + 0.5."""
    return np.asarray(positions, np.float64)[:, ::-1] - 0.5
