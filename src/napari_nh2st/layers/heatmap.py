"""The layer that shows one gene of a prediction on its slide."""

from typing import Any
from weakref import WeakSet

import numpy as np
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.layers.keys import PREDICTION_KEY, SHOWN_KEY, id_of
from napari_nh2st.layers.tile_image import TileImage, place
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.shown_text import for_qt

_UNTRAINED = " · UNTRAINED"
_UNMOVED: dict[str, Any] = {
    "scale": (1, 1),
    "translate": (0, 0),
    "rotate": 0,
    "shear": (0,),
    "affine": np.eye(3),
}

_heatmaps: "WeakSet[Heatmap]" = WeakSet()
"""Those that somebody holds: a layer must not be kept by its heatmap after it was removed."""


class Heatmap:
    """One image layer, one value per tile; switching the gene changes its data alone.

    Parameters
    ----------
    layer
        Shows ``gene`` of ``prediction`` where its tiles lie; see :meth:`add` for a new one and
        :func:`heatmap_of` for one that is there.
    prediction
        May still fill up; :meth:`refresh` shows what has come.
    gene
        Shown first.
    slide_name
        Stands in the layer's name.

    Attributes
    ----------
    image
        Puts the values into the layer, and holds the rule for its contrast limits.
    is_filling
        Whether a run fills the prediction; see :meth:`set_filling`.
    filling_changed
        Emitted with the heatmap itself when that begins or ends.
    shown
        Emitted with the name of another gene when it is shown.
    filled
        Emitted when values have come, by whoever fills the prediction.
    replaced
        Emitted with the heatmap itself and the former prediction when it shows another.
    """

    shown = Signal(str)
    filled = Signal()
    replaced = Signal(object, object)
    filling_changed = Signal(object)

    def __init__(self, layer: Image, prediction: AnnData, gene: str, slide_name: str) -> None:
        self.prediction = prediction
        self.raster = HeatmapRaster.of(prediction)
        self.gene = gene
        self.layer = layer
        self.slide_name = slide_name
        self.is_filling = False
        self.image = TileImage(layer, self.raster)
        self.image.values = self.values_of(gene)
        self._has_colorbar = False
        _heatmaps.add(self)

    @classmethod
    def add(
        cls, viewer: ViewerModel, slide_layer: Image, prediction: AnnData, gene: str
    ) -> "Heatmap":
        """Add a layer to the viewer.

        Parameters
        ----------
        viewer
            Gets the layer.
        slide_layer
            The slide's layer: the heatmap lies where its tiles are on it, whatever its transform.
        prediction, gene
            As in the class.
        """
        raster = HeatmapRaster.of(prediction)
        layer = Image(
            np.full(raster.shape, np.nan, np.float32),
            name=layer_name(prediction, gene, slide_layer.name),
            colormap="magma",
            contrast_limits=(0.0, 1.0),
            opacity=0.7,
            blending="translucent_no_depth",
            interpolation2d="nearest",
            metadata={PREDICTION_KEY: prediction},
            units=slide_layer.units,
            **_transform_onto(slide_layer, raster),
        )
        # Before it is in the viewer: whoever hears of the layer there asks for its heatmap.
        heatmap = cls(layer, prediction, gene, slide_layer.name)
        heatmap._note_shown(slide_layer=id_of(slide_layer))
        heatmap.refresh()
        viewer.add_layer(layer)
        # napari numbers names that are taken: the layer's is the one to compare with later.
        heatmap._note_shown(slide_layer=id_of(slide_layer))
        return heatmap

    def _show_colorbar(self) -> None:
        if hasattr(self.layer, "colorbar"):  # since napari 0.7
            self.layer.colorbar.visible = True

    def show(self, gene: str) -> None:
        """Switch to another gene of the prediction."""
        if gene != self.gene:
            self.gene = gene
            renamed = self.renamed
            if not renamed:
                self.layer.name = layer_name(self.prediction, gene, self.slide_name)
            self._note_shown(renamed)
            self.image.follow_values()
            self.refresh()
            self.shown.emit(gene)

    def take(self, prediction: AnnData, slide_layer: Image) -> None:
        """Show another prediction of the slide in the same layer, which keeps its appearance.

        The gene stays if the other prediction has it, else its most reliable one is shown; limits
        that the user set stay with the gene, as long as the values are of the same model.

        Parameters
        ----------
        prediction
            As in the class; its tiles may lie elsewhere.
        slide_layer
            As in :meth:`add`.
        """
        former, self.prediction = self.prediction, prediction
        renamed, gene = self.renamed, self.gene
        if gene not in prediction.var_names:
            self.gene = str(prediction.var["reliability"].sort_values(ascending=False).index[0])
        if gene != self.gene or not of_same_model(former, prediction):
            self.image.follow_values()
        self.raster = self.image.raster = HeatmapRaster.of(prediction)
        self.slide_name = slide_layer.name
        self.layer.metadata[PREDICTION_KEY] = prediction
        self.refresh()
        place(self.layer, _UNMOVED | _transform_onto(slide_layer, self.raster))
        self.layer.units = slide_layer.units
        if not renamed:
            self.layer.name = layer_name(prediction, self.gene, self.slide_name)
        self._note_shown(renamed, slide_layer=id_of(slide_layer))
        self.replaced.emit(self, former)
        if gene != self.gene:
            self.shown.emit(self.gene)

    def refresh(self, *, filling: bool = False) -> None:
        """Show the values that are there by now.

        The contrast limits follow the values until the user sets them, and again from the next
        gene on.

        Parameters
        ----------
        filling
            More values will come soon: see :meth:`TileImage.show`.
        """
        values = self.values_of(self.gene)
        self.image.show(values, filling=filling)
        # With the first values, not with the layer: making it takes napari a tenth of a second.
        if not self._has_colorbar and np.isfinite(values).any():
            self._has_colorbar = True
            self._show_colorbar()

    def set_filling(self, filling: bool) -> None:
        """Say whether a run fills the prediction; it is not exported meanwhile."""
        if filling != self.is_filling:
            self.is_filling = filling
            self.filling_changed.emit(self)

    @property
    def renamed(self) -> bool:
        """Whether the user gave the layer a name of their own."""
        return bool(self.layer.name != self.layer.metadata.get(SHOWN_KEY, {}).get("name"))

    def is_of(self, slide_layer: Layer) -> bool:
        """Whether it was made for this layer of a slide."""
        known = self.layer.metadata.get(SHOWN_KEY, {}).get("slide_layer")
        return bool(known) and known == id_of(slide_layer)

    def _note_shown(self, renamed: bool = False, **more: str) -> None:
        """Keep with the layer what it shows: a widget that is opened later goes on from there."""
        shown = self.layer.metadata.get(SHOWN_KEY, {}) | more
        shown |= {"gene": self.gene, "slide": self.slide_name}
        if not renamed:
            shown["name"] = self.layer.name
        self.layer.metadata[SHOWN_KEY] = shown
        self.prediction.uns["nh2st"]["shown_gene"] = self.gene  # what a file of it opens with

    def values_of(self, gene: str) -> NDArray[np.float32]:
        """(n,) values of a gene, NaN where there is none yet."""
        column = self.prediction.var_names.get_loc(gene)
        return np.ascontiguousarray(self.prediction.X[:, column])


def heatmap_of(layer: Layer) -> Heatmap | None:
    """The heatmap of a layer that shows a prediction; None for other layers.

    A layer that came with a prediction from elsewhere, such as a file, gets one.
    """
    prediction = layer.metadata.get(PREDICTION_KEY)
    if not isinstance(layer, Image) or not isinstance(prediction, AnnData):
        return None
    # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
    heatmap = next((known for known in _heatmaps if known.layer == layer), None)
    if heatmap is None:
        shown = layer.metadata.get(SHOWN_KEY)
        if shown is not None and shown["gene"] in prediction.var_names:
            return Heatmap(layer, prediction, shown["gene"], shown["slide"])
        gene, slide_name = _read_name(layer.name, prediction)
        heatmap = Heatmap(layer, prediction, gene or prediction.var_names[0], slide_name)
        heatmap._note_shown(renamed=gene is None)
    return heatmap


def _read_name(name: str, prediction: AnnData) -> tuple[str | None, str]:
    """Gene and slide in the name of a layer from a file; no gene where the user has named it."""
    genes = [gene for gene in prediction.var_names if name.startswith(f"{gene} · ")]
    if not genes:
        return None, name
    gene = max(genes, key=len)
    return gene, name.removeprefix(f"{gene} · ").removesuffix(_UNTRAINED)


def of_same_model(one: AnnData, other: AnnData) -> bool:
    """Whether two predictions were made with the same model: their values can be compared."""
    models = [prediction.uns["nh2st"]["model"] for prediction in (one, other)]
    first, second = ((str(model["name"]), str(model.get("sha256"))) for model in models)
    return first == second


def layer_name(prediction: AnnData, gene: str, slide_name: str) -> str:
    """What a heatmap's layer is called; it says so where the model is untrained."""
    trained = bool(prediction.uns["nh2st"]["model"]["trained"])
    return for_qt(f"{gene} · {slide_name}") + ("" if trained else _UNTRAINED)


def _transform_onto(slide_layer: Image, raster: HeatmapRaster) -> dict[str, Any]:
    """Scale and translation (or an affine) that put the raster onto the slide's layer.

    napari's pixel k has its center at k, a slide's at k + 0.5: hence the half pixels.
    """
    first = np.subtract(raster.center, 0.5)
    corner = np.array(slide_layer.data_to_world(first)[-2:])
    columns = [
        np.array(slide_layer.data_to_world(first + step)[-2:]) - corner
        for step in np.diag(raster.step)
    ]
    linear = np.column_stack(columns)
    if np.count_nonzero(linear - np.diag(np.diag(linear))) == 0 and (np.diag(linear) > 0).all():
        return {"scale": np.diag(linear), "translate": corner}
    affine = np.eye(3)
    affine[:2, :2], affine[:2, 2] = linear, corner
    return {"affine": affine}
