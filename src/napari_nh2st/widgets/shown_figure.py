"""A figure of what is shown: the gene, its contrast, colors and opacity as in the viewer."""

import numpy as np

from napari_nh2st.export.figure import FigureSettings
from napari_nh2st.widgets.heatmap import Heatmap


def shown_figure(heatmap: Heatmap | None) -> tuple[FigureSettings, tuple[str, ...] | None]:
    """How to draw what a heatmap's layer shows.

    Parameters
    ----------
    heatmap
        None where there is none: then the defaults, and whichever gene is best.

    Returns
    -------
    settings, genes
        For :func:`~napari_nh2st.export.export`.
    """
    if heatmap is None:
        return FigureSettings(), None
    from matplotlib.colors import ListedColormap

    layer = heatmap.layer
    low, high = (float(limit) for limit in layer.contrast_limits)
    # napari's colormaps are not all known to matplotlib, its colors are.
    colors = layer.colormap.map(np.linspace(0, 1, 256))
    settings = FigureSettings(
        limits={heatmap.gene: (low, high)},
        colormap=ListedColormap(colors, name=layer.colormap.name),
        opacity=float(layer.opacity),
        smooth=str(layer.interpolation2d) != "nearest",
    )
    return settings, (heatmap.gene,)
