"""Domains drawn over the tiles, one pixel a tile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import domains_metadata
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.prediction.schema import notes, slide_mpp, slide_stem
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

_OPACITY = 0.6


def opened_domains(prediction: AnnData) -> list["LayerData"]:
    """The domains of a prediction at tiles that comes from a file, for napari to add.

    Returns
    -------
    list of LayerData
        One Labels layer where the prediction's heatmap lies; visible if the domains were seen
        last, see :func:`shows_domains`. Empty if the prediction has no domains.
    """
    domains = NamedDomains.of(prediction)
    if domains is None:
        return []
    raster = HeatmapRaster.of(prediction)
    scale, translate = raster.placement(slide_mpp(prediction))
    placement = {"scale": scale, "translate": translate, "units": ("um", "um")}
    data, attributes, kind = domains_layer(prediction, raster, domains, placement)
    return [(data, attributes | {"visible": shows_domains(prediction)}, kind)]


def domains_layer(
    prediction: AnnData, raster: HeatmapRaster, domains: NamedDomains, placement: dict[str, Any]
) -> "LayerData":
    """A new Labels layer of domains, as napari takes layers from readers.

    Parameters
    ----------
    prediction
        Has the domains.
    raster
        Raster of its heatmap.
    domains
        With their names.
    placement
        Attributes that put the raster onto the slide.
    """
    name = for_qt(f"domains · {slide_stem(prediction)}")
    attributes = {
        "name": name,
        "opacity": _OPACITY,
        "metadata": domains_metadata(prediction, name),
        "colormap": domain_colormap(domains.colors),
        "features": _named(domains.names),
    }
    return label_image(raster, domains.labels), attributes | placement, "labels"


def shows_domains(prediction: AnnData) -> bool:
    """Whether the domains of a prediction were seen last, in the place of its genes."""
    return bool(notes(prediction).get("shows_domains", False))


def put_domains(layer: Labels, heatmap: Heatmap, domains: NamedDomains) -> None:
    """Show other domains in a layer, where a heatmap lies."""
    layer.data = label_image(heatmap.raster, domains.labels)
    place(layer, placement_of(heatmap.layer))
    layer.colormap = domain_colormap(domains.colors)
    name_domains(layer, domains.names)


def name_domains(layer: Labels, names: tuple[str, ...]) -> None:
    """Let the viewer's status bar say the domain under the mouse."""
    layer.features = _named(names)


def label_image(raster: HeatmapRaster, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n,) labels of tiles → image on their heatmap's raster, 0 where there is no tile."""
    return np.asarray(np.nan_to_num(raster.image(labels.astype(np.float32))), np.uint8)


def domain_colormap(domain_colors: Sequence[str]) -> DirectLabelColormap:
    """Colors of labels 1 and up; everything else is transparent."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colors |= dict(enumerate(domain_colors, start=1))
    return DirectLabelColormap(color_dict=colors)


def _named(names: tuple[str, ...]) -> pd.DataFrame:
    """Features of labels 0 and up."""
    return pd.DataFrame({"index": range(len(names) + 1), "domain": ["", *map(for_qt, names)]})
