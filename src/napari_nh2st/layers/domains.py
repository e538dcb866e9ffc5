"""Domains drawn over the tiles, one pixel a tile."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.domain_colormap import domain_colormap
from napari_nh2st.layers.heatmap import Heatmap, of_same_model
from napari_nh2st.layers.keys import DOMAINS_KEY, OWN_NAME_KEY, SHOWS_DOMAINS
from napari_nh2st.layers.roles import are_own_domains
from napari_nh2st.layers.tile_image import place, placement_of
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.prediction.schema import slide_mpp
from napari_nh2st.session.shown_layers import ShownLayers
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

_OPACITY = 0.6


def opened_domains(prediction: AnnData) -> list["LayerData"]:
    """The domains of a prediction at tiles that comes from a file, for napari to add.

    Returns
    -------
    list of LayerData
        One Labels layer with the names and colours that :func:`draw_domains` gave it, where the
        prediction's heatmap lies; visible if the domains were seen last, see
        :func:`shows_domains`. Empty if the prediction has no domains.
    """
    domains = NamedDomains.of(prediction)
    if domains is None:
        return []
    raster = HeatmapRaster.of(prediction)
    scale, translate = raster.placement(slide_mpp(prediction))
    attributes = _attributes(prediction) | {
        "visible": shows_domains(prediction),
        "scale": scale,
        "translate": translate,
        "units": ("um", "um"),
        "colormap": domain_colormap(len(domains.names)),
        "features": _named(domains.names),
    }
    return [(label_image(raster, domains.labels), attributes, "labels")]


def shows_domains(prediction: AnnData) -> bool:
    """Whether the domains of a prediction were seen last, in the place of its genes."""
    return bool(prediction.uns["nh2st"].get(SHOWS_DOMAINS, False))


def draw_domains(viewer: ViewerModel, heatmap: Heatmap, domains: NamedDomains) -> Labels:
    """Show domains in the viewer, in place of former ones and of the genes shown.

    Parameters
    ----------
    viewer
        Gets a layer, unless it has one; a layer that the user renamed is kept as it is.
    heatmap
        The tiles lie where it shows them.
    domains
        Of its prediction.
    """
    layer = domain_layer(viewer, heatmap)
    if layer is None:
        selected, active = set(viewer.layers.selection), viewer.layers.selection.active
        layer = viewer.add_labels(
            label_image(heatmap.raster, domains.labels),
            **_attributes(heatmap.prediction),
            **placement_of(heatmap.layer),
        )
        viewer.layers.selection = selected
        viewer.layers.selection.active = active
    _put(layer, heatmap, domains)
    # Under a gene's colors those of the legend would not be found again.
    ShownLayers.of(viewer).show(layer)
    return layer


def move_domains(viewer: ViewerModel, heatmap: Heatmap, former: AnnData) -> None:
    """Draw the domains of the other prediction that a heatmap has taken, in the same layer.

    Parameters
    ----------
    viewer
        Has the layer, if they were drawn.
    heatmap
        With its new prediction; it is shown instead of them, if they were drawn.
    former
        The one before. A layer of its domains stays as it is where the new one has none; it is
        then a layer like any other.
    """
    layer = _layer_of(viewer, former)
    if layer is None:
        return
    layer.metadata[DOMAINS_KEY] = heatmap.prediction
    ShownLayers.of(viewer).show(heatmap.layer)
    domains = NamedDomains.of(heatmap.prediction)
    if domains is None:
        del layer.metadata[DOMAINS_KEY]
    else:
        _put(layer, heatmap, domains)


def domain_layer(viewer: ViewerModel, heatmap: Heatmap) -> Labels | None:
    """The layer that shows the domains of a heatmap's prediction and still has its own name."""
    return _layer_of(viewer, heatmap.prediction)


def _layer_of(viewer: ViewerModel, prediction: AnnData) -> Labels | None:
    for layer in viewer.layers:
        ours = layer.metadata.get(DOMAINS_KEY) is prediction
        if ours and isinstance(layer, Labels) and are_own_domains(layer):
            return layer
    return None


def _attributes(prediction: AnnData) -> dict[str, Any]:
    """Name, look and origin of a new layer."""
    name = for_qt(f"domains · {Path(str(prediction.uns['nh2st']['slide']['name'])).stem}")
    metadata = {DOMAINS_KEY: prediction, OWN_NAME_KEY: name}
    return {"name": name, "opacity": _OPACITY, "metadata": metadata}


def _put(layer: Labels, heatmap: Heatmap, domains: NamedDomains) -> None:
    layer.data = label_image(heatmap.raster, domains.labels)
    place(layer, placement_of(heatmap.layer))
    layer.colormap = domain_colormap(len(domains.names))
    name_domains(layer, domains.names)


def name_domains(layer: Labels, names: tuple[str, ...]) -> None:
    """Let the viewer's status bar say the domain under the mouse."""
    layer.features = _named(names)


def _named(names: tuple[str, ...]) -> pd.DataFrame:
    """Features of labels 0 and up."""
    return pd.DataFrame({"index": range(len(names) + 1), "domain": ["", *map(for_qt, names)]})


def label_image(raster: HeatmapRaster, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n,) labels of tiles → image on their heatmap's raster, 0 where there is no tile."""
    return np.asarray(np.nan_to_num(raster.image(labels.astype(np.float32))), np.uint8)


def carry_domains(former: AnnData, prediction: AnnData) -> None:
    """Give a prediction the domains of a former one, tile by tile.

    Nothing is given where the tiles lie elsewhere, or the values are of another model.
    """
    domains = NamedDomains.of(former)
    one, other = (each.uns["nh2st"] for each in (former, prediction))
    if domains is None or not (
        "step_px_fullres" in one
        and "step_px_fullres" in other
        and np.allclose(one["step_px_fullres"], other["step_px_fullres"])
        and one["layout"] == other["layout"]
        and of_same_model(former, prediction)
    ):
        return
    domains.carried_to(prediction, former).write(prediction)
