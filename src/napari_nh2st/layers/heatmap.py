"""Heatmaps: the layer that shows one gene of a prediction on its slide."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from napari.layers import Image, Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.layers.keys import (
    OWN_LIMITS_KEY,
    PREDICTION_KEY,
    SHOWN_KEY,
    has_own_name,
    heatmap_metadata,
    id_of,
)
from napari_nh2st.layers.tile_image import TileImage, place
from napari_nh2st.prediction.preview import has_preview
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.prediction.schema import (
    is_trained,
    notes,
    of_same_model,
    slide_fingerprint,
)
from napari_nh2st.prediction.values import best_gene, chosen_genes, gene_values
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

_UNTRAINED = " · UNTRAINED"
_PREVIEW = " · PREVIEW"
_UNMOVED: dict[str, Any] = {
    "scale": (1, 1),
    "translate": (0, 0),
    "rotate": 0,
    "shear": (0,),
    "affine": np.eye(3),
}


def heatmap_layer(
    prediction: AnnData,
    gene: str,
    slide_name: str,
    placement: dict[str, Any],
    slide_layer: Image | None = None,
    detail: str = "",
    raster: HeatmapRaster | None = None,
) -> "LayerData":
    """A new heatmap, as napari takes layers from readers.

    Parameters
    ----------
    prediction
        Prediction at tiles.
    gene
        Gene shown first.
    slide_name
        Name of the slide, for the layer's name.
    placement
        Attributes that put its raster onto the slide, such as scale, translate and units.
    slide_layer
        The slide's layer that it is made on; None if it comes from a file.
    detail
        Text in the layer's name that tells it from other heatmaps of the slide.
    raster
        Raster of the prediction, if already known.

    Returns
    -------
    LayerData
        One image, with NaN (transparent) where there is no value.
    """
    values = gene_values(prediction, gene)
    name = layer_name(prediction, gene, slide_name, detail)
    attributes = {
        "name": name,
        "colormap": "magma",
        "contrast_limits": robust_limits(values),
        "opacity": 0.7,
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "metadata": heatmap_metadata(prediction, gene, slide_name, name, slide_layer, detail),
    }
    raster = raster or HeatmapRaster.of(prediction)
    return raster.image(values), attributes | placement, "image"


class Heatmap:
    """One image layer, one value per tile; switching the gene changes its data alone.

    A :class:`~napari_nh2st.session.Session` has one for each layer of a prediction.

    Parameters
    ----------
    layer
        Layer with the metadata of a :func:`heatmap_layer`. Without them, only the prediction is
        known, and the gene is the one that its file was saved with, or the most reliable one.
    raster
        Raster of its prediction, if already known.

    Attributes
    ----------
    prediction
        The prediction, which may still fill up; :meth:`refresh` shows new values.
    slide_name
        Name of the slide, for the layer's name.
    raster
        Where the tiles lie.
    image
        Puts the values into the layer, and holds the rule for its contrast limits.
    gene_changed
        Emitted with the name of another gene when it is shown.
    filled
        Emitted with the heatmap itself when its prediction has new values.
    replaced
        Emitted with the heatmap itself and the former prediction when it shows another.
    filling_changed
        Emitted with the heatmap itself when a run begins or stops filling its prediction, or
        showing a preview in it.
    """

    gene_changed = Signal(str)
    filled = Signal(object)
    replaced = Signal(object, object)
    filling_changed = Signal(object)

    def __init__(self, layer: Image, raster: HeatmapRaster | None = None) -> None:
        prediction: AnnData = layer.metadata[PREDICTION_KEY]
        shown = layer.metadata.get(SHOWN_KEY, {})
        known = shown.get("gene") in prediction.var_names
        self._gene: str = shown["gene"] if known else shown_gene(prediction)
        self._is_filling = False
        self._is_preview = has_preview(prediction)
        self._has_colorbar = False
        self.prediction = prediction
        self.slide_name: str = shown.get("slide", layer.name)
        self._detail: str = shown.get("detail", "")
        self.layer = layer
        self.raster = raster or HeatmapRaster.of(prediction)
        self.image = TileImage(layer, self.raster)
        self.image.values = self.values_of(self._gene)
        self._note_shown()

    @classmethod
    def made_on(
        cls, slide_layer: Image, prediction: AnnData, gene: str, detail: str = ""
    ) -> "Heatmap":
        """A new layer that lies where a prediction's tiles are on a slide's layer.

        It is for the caller to add the layer to the viewer; see
        :meth:`~napari_nh2st.session.Session.add_heatmap`.
        """
        raster = HeatmapRaster.of(prediction)
        data, attributes, _ = heatmap_layer(
            prediction,
            gene,
            slide_layer.name,
            _placement_on(slide_layer, raster),
            slide_layer,
            detail,
            raster,
        )
        heatmap = cls(Image(data, **attributes), raster)
        heatmap.refresh()
        return heatmap

    @property
    def gene(self) -> str:
        """The gene that is shown; assign another gene of the prediction to switch to it.

        Raises
        ------
        InputError
            The prediction does not have the gene that is assigned.
        """
        return self._gene

    @gene.setter
    def gene(self, gene: str) -> None:
        if gene not in self.prediction.var_names:
            chosen_genes(self.prediction, [gene])  # raises, with the names that are similar
        if gene != self._gene:
            renamed, self._gene = self.renamed, gene
            self._name_layer(renamed)
            self.image.follow_values()
            self.refresh()
            self.gene_changed.emit(gene)

    @property
    def detail(self) -> str:
        """Text in the layer's name that tells it from other heatmaps of the slide; assignable."""
        return self._detail

    @detail.setter
    def detail(self, detail: str) -> None:
        renamed, self._detail = self.renamed, detail
        self.layer.metadata[SHOWN_KEY]["detail"] = detail
        self._name_layer(renamed)

    @property
    def is_filling(self) -> bool:
        """Whether a run fills the prediction; it is not exported meanwhile."""
        return self._is_filling

    @is_filling.setter
    def is_filling(self, filling: bool) -> None:
        if filling != self._is_filling:
            self._is_filling = filling
            self.filling_changed.emit(self)

    def take(self, prediction: AnnData, slide_layer: Image) -> None:
        """Show another prediction of the slide in the same layer, which keeps its appearance.

        The gene stays if the other prediction has it, else its most reliable one is shown; limits
        that the user set stay with the gene, as long as the values are of the same model.

        Parameters
        ----------
        prediction
            As in the class; its tiles may lie elsewhere.
        slide_layer
            As in :meth:`made_on`.
        """
        former, self.prediction = self.prediction, prediction
        renamed, gene = self.renamed, self._gene
        if gene not in prediction.var_names:
            self._gene = best_gene(prediction)
        if gene != self._gene or not of_same_model(former, prediction):
            self.image.follow_values()
        self.raster = self.image.raster = HeatmapRaster.of(prediction)
        self.slide_name = slide_layer.name
        self.layer.metadata[PREDICTION_KEY] = prediction
        self.refresh()
        place(self.layer, _UNMOVED | _placement_on(slide_layer, self.raster))
        self.layer.metadata[SHOWN_KEY]["slide_layer"] = id_of(slide_layer)
        self._name_layer(renamed)
        self.replaced.emit(self, former)
        if gene != self._gene:
            self.gene_changed.emit(self._gene)

    def refresh(self, *, filling: bool = False) -> None:
        """Show the values computed so far.

        The contrast limits follow the values until the user sets them, and again from the next
        gene on.

        Parameters
        ----------
        filling
            More values will come soon: see :meth:`TileImage.show`.
        """
        values = self.values_of(self._gene)
        self.image.show(values, filling=filling)
        if has_preview(self.prediction) != self._is_preview:
            self._is_preview = not self._is_preview
            self._name_layer(self.renamed)
            self.filling_changed.emit(self)
        # With the first values, not with the layer: making it takes napari a tenth of a second.
        if not self._has_colorbar and np.isfinite(values).any():
            self._has_colorbar = True
            self.layer.colorbar.visible = True

    @property
    def renamed(self) -> bool:
        """Whether the user gave the layer a name of their own."""
        return not has_own_name(self.layer, self.layer.metadata[SHOWN_KEY].get("name", ""))

    def is_of(self, slide_layer: Layer) -> bool:
        """Whether it was made for this layer of a slide."""
        return bool(self.layer.metadata[SHOWN_KEY].get("slide_layer") == id_of(slide_layer))

    def _name_layer(self, renamed: bool) -> None:
        """Name the layer after what it shows, unless the user has named it; note what it shows."""
        if not renamed:
            name = layer_name(self.prediction, self._gene, self.slide_name, self._detail)
            self.layer.name = self.layer.metadata[SHOWN_KEY]["name"] = name
        self._note_shown()

    def _note_shown(self) -> None:
        shown = self.layer.metadata.get(SHOWN_KEY, {})
        self.layer.metadata[SHOWN_KEY] = shown | {"gene": self._gene, "slide": self.slide_name}
        notes(self.prediction)["shown_gene"] = self._gene  # what a file of it opens with

    def values_of(self, gene: str) -> NDArray[np.float32]:
        """(n,) values of a gene, NaN for tiles without one yet."""
        column = self.prediction.var_names.get_loc(gene)
        return np.ascontiguousarray(self.prediction.X[:, column])


def note_limits(prediction: AnnData, metadata: Mapping[str, Any], limits: Sequence[float]) -> None:
    """Keep the contrast limits of a heatmap in its prediction, if they were set by hand.

    Parameters
    ----------
    prediction
        What a file of it opens with is kept in its notes.
    metadata, limits
        Metadata and contrast limits of the heatmap's layer.
    """
    own = metadata.get(OWN_LIMITS_KEY)
    if own is None or list(limits) == list(own):
        notes(prediction).pop("shown_limits", None)
    else:
        notes(prediction)["shown_limits"] = np.array(limits, np.float64)


def with_noted_limits(prediction: AnnData, attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the heatmap of a prediction from a file, with the limits kept in it."""
    noted = notes(prediction).get("shown_limits")
    kept = np.empty(0) if noted is None else np.asarray(noted, np.float64)
    if kept.shape != (2,) or not np.isfinite(kept).all() or not kept[0] < kept[1]:
        return attributes
    own = list(attributes["contrast_limits"])
    return attributes | {
        "contrast_limits": tuple(kept.tolist()),
        "metadata": attributes["metadata"] | {OWN_LIMITS_KEY: own},
    }


def shows_heatmap(layer: Layer) -> bool:
    """Whether a layer is a heatmap of a prediction."""
    return isinstance(layer, Image) and isinstance(layer.metadata.get(PREDICTION_KEY), AnnData)


def shown_gene(prediction: AnnData) -> str:
    """The gene that a prediction was saved with, else its most reliable one."""
    noted = notes(prediction).get("shown_gene")
    return str(noted) if noted in prediction.var_names else best_gene(prediction)


def of_same_slide(one: Heatmap, other: Heatmap) -> bool:
    """Whether two heatmaps are of one slide, by its fingerprint.

    Names are compared where a fingerprint was not recorded: files of different folders may have
    the same.
    """
    first, second = slide_fingerprint(one.prediction), slide_fingerprint(other.prediction)
    if first is None or second is None:
        return one.slide_name == other.slide_name
    return first == second


def layer_name(prediction: AnnData, gene: str, slide_name: str, detail: str = "") -> str:
    """What a heatmap's layer is called; it says so where the model is untrained, or values are a
    preview.
    """
    parts = [gene, slide_name, *([detail] if detail else [])]
    marks = ("" if is_trained(prediction) else _UNTRAINED) + (
        _PREVIEW if has_preview(prediction) else ""
    )
    return for_qt(" · ".join(parts)) + marks


def _placement_on(slide_layer: Image, raster: HeatmapRaster) -> dict[str, Any]:
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
    placement: dict[str, Any] = {"units": slide_layer.units}
    if np.count_nonzero(linear - np.diag(np.diag(linear))) == 0 and (np.diag(linear) > 0).all():
        return placement | {"scale": np.diag(linear), "translate": corner}
    affine = np.eye(3)
    affine[:2, :2], affine[:2, 2] = linear, corner
    return placement | {"affine": affine}
