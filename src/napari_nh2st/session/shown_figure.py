"""Figure of what is shown: the gene, its contrast, colors and opacity as in the viewer."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from napari.layers import Image, Layer

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure_settings import FigureSettings
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import GENE_KEY, SIGNATURE_KEY, VEIL_KEY
from napari_nh2st.session.remembered import usual_values


def shown_figure(
    heatmap: Heatmap | None, layers: Iterable[Layer] = ()
) -> tuple[FigureSettings, tuple[str, ...] | None]:
    """How to draw what a heatmap's layer shows, or the genes that are shown in its place.

    Parameters
    ----------
    heatmap
        None where there is none: then the user's defaults, and whichever gene is best.
    layers
        Layers of the viewer. Where the heatmap is hidden, the pinned genes of its tiles among
        them that are visible are drawn, with the colors of the heatmap: one picture has one color
        scale.

    Returns
    -------
    settings, genes
        For :func:`~napari_nh2st.export.export`. What the viewer does not show, such as the
        resolution, is as the user's configuration has it.

    Raises
    ------
    InputError
        Only a signature is shown: a figure has genes.
    """
    usual = FigureSettings(**usual_values("export"))
    if heatmap is None:
        return usual, None
    over_it = [each for each in layers if each.visible and _is_over(each, heatmap)]
    fade = heatmap.layer.visible and any(VEIL_KEY in each.metadata for each in over_it)
    drawn: dict[str, Image] = {}
    if not heatmap.layer.visible:
        drawn = {str(e.metadata[GENE_KEY]): e for e in over_it if GENE_KEY in e.metadata}
        if not drawn and any(SIGNATURE_KEY in each.metadata for each in over_it):
            raise InputError(
                "A figure shows genes, and what is shown is a signature: show a gene, or make its "
                "heatmap visible."
            )
    return _settings(usual, heatmap.layer, drawn or {heatmap.gene: heatmap.layer}, fade)


def _settings(
    usual: FigureSettings, heatmap_layer: Image, drawn: dict[str, Image], fade: bool
) -> tuple[FigureSettings, tuple[str, ...]]:
    from matplotlib.colors import ListedColormap

    # napari's colormaps are not all known to matplotlib, its colors are.
    colors = heatmap_layer.colormap.map(np.linspace(0, 1, 256))
    limits = {gene: _limits(layer) for gene, layer in drawn.items()}
    settings = replace(
        usual,
        limits=limits,
        colormap=ListedColormap(colors, name=heatmap_layer.colormap.name),
        opacity=float(heatmap_layer.opacity),
        smooth=str(heatmap_layer.interpolation2d) != "nearest",
        fade=fade,
    )
    return settings, tuple(drawn)


def _limits(layer: Image) -> tuple[float, float]:
    low, high = layer.contrast_limits
    return float(low), float(high)


def _is_over(layer: Layer, heatmap: Heatmap) -> bool:
    """Whether a layer shows tiles of the heatmap's prediction: it has its shape and its place."""
    if not isinstance(layer, Image) or layer.rgb or layer.multiscale:
        return False
    gene = layer.metadata.get(GENE_KEY)
    if gene is not None and gene not in heatmap.prediction.var_names:
        return False
    return layer.data.shape == heatmap.layer.data.shape and bool(
        np.allclose(layer.extent.world, heatmap.layer.extent.world)
    )
