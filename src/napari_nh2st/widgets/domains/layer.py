"""Domains drawn over the tiles, one pixel a tile."""

from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Labels
from numpy.typing import NDArray

from napari_nh2st.widgets.domains.colors import domain_colormap
from napari_nh2st.widgets.domains.named_domains import NamedDomains
from napari_nh2st.widgets.heatmap import Heatmap
from napari_nh2st.widgets.tile_positions import transform_of

DOMAINS_KEY = "nh2st_domains"
"""Key of a Labels layer's metadata under which the prediction lies that it shows domains of."""

_NAME_KEY = "nh2st_name"
_OPACITY = 0.6


def draw_domains(viewer: ViewerModel, heatmap: Heatmap, domains: NamedDomains) -> Labels:
    """Show domains in the viewer, in place of former ones and of the gene shown.

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
            label_image(heatmap, domains.labels),
            name=f"domains · {Path(str(heatmap.prediction.uns['nh2st']['slide']['name'])).stem}",
            opacity=_OPACITY,
            metadata={DOMAINS_KEY: heatmap.prediction},
            **transform_of(heatmap.layer),
        )
        layer.metadata[_NAME_KEY] = layer.name  # napari numbers names that are taken
        viewer.layers.selection = selected
        viewer.layers.selection.active = active
    _put(layer, heatmap, domains)
    # Under a gene's colors those of the legend would not be found again.
    layer.visible, heatmap.layer.visible = True, False
    return layer


def move_domains(viewer: ViewerModel, heatmap: Heatmap, former: AnnData) -> None:
    """Draw the domains of the other prediction that a heatmap has taken, in the same layer.

    Parameters
    ----------
    viewer
        Has the layer, if they were drawn.
    heatmap
        With its new prediction; it is shown again where its domains hid it.
    former
        The one before. A layer of its domains stays as it is where the new one has none; it is
        then a layer like any other.
    """
    layer = _layer_of(viewer, former)
    if layer is None:
        return
    if layer.visible and not heatmap.layer.visible:
        layer.visible, heatmap.layer.visible = False, True
    domains = NamedDomains.of(heatmap.prediction)
    if domains is None:
        del layer.metadata[DOMAINS_KEY]
    else:
        layer.metadata[DOMAINS_KEY] = heatmap.prediction
        _put(layer, heatmap, domains)


def show_gene_again(viewer: ViewerModel, heatmap: Heatmap) -> None:
    """Let the heatmap be seen that its domains have hidden, in their place."""
    layer = domain_layer(viewer, heatmap)
    if layer is not None and not heatmap.layer.visible:
        layer.visible, heatmap.layer.visible = False, True


def domain_layer(viewer: ViewerModel, heatmap: Heatmap) -> Labels | None:
    """The layer that shows the domains of a heatmap's prediction and still has its own name."""
    return _layer_of(viewer, heatmap.prediction)


def _layer_of(viewer: ViewerModel, prediction: AnnData) -> Labels | None:
    for layer in viewer.layers:
        ours = layer.metadata.get(DOMAINS_KEY) is prediction
        if ours and isinstance(layer, Labels) and layer.name == layer.metadata.get(_NAME_KEY):
            return layer
    return None


def _put(layer: Labels, heatmap: Heatmap, domains: NamedDomains) -> None:
    layer.data = label_image(heatmap, domains.labels)
    for name, value in transform_of(heatmap.layer).items():
        setattr(layer, name, value)
    layer.colormap = domain_colormap(len(domains.names))
    name_domains(layer, domains.names)


def name_domains(layer: Labels, names: tuple[str, ...]) -> None:
    """Let the viewer's status bar say the domain under the mouse."""
    layer.features = pd.DataFrame({"index": range(len(names) + 1), "domain": ["", *names]})


def label_image(heatmap: Heatmap, labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n,) labels of tiles → image on the heatmap's raster, 0 where there is no tile."""
    return np.asarray(np.nan_to_num(heatmap.raster.image(labels.astype(np.float32))), np.uint8)
