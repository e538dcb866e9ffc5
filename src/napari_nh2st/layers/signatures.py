"""Layers of signatures, whose scores are drawn one pixel a tile."""

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.signatures import Signature, kept_signatures
from napari_nh2st.layers.keys import SIGNATURE_KEY, SIGNATURE_OF_KEY
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.prediction.schema import slide_mpp, slide_stem
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

COLORMAP = "PiYG"
_MOST_OPENED = 12
"""Layers of one file: more would bury the others."""
_OPACITY = 0.7


def opened_signatures(prediction: AnnData) -> list["LayerData"]:
    """The signatures of a prediction at tiles that comes from a file, for napari to add.

    Returns
    -------
    list of LayerData
        One hidden image for each where the prediction's heatmap lies; of more than twelve, the
        last. Empty if the prediction has no scores.
    """
    kept = list(kept_signatures(prediction).items())[-_MOST_OPENED:]
    if not kept:
        return []
    raster = HeatmapRaster.of(prediction)
    scale, translate = raster.placement(slide_mpp(prediction))
    placement = {"scale": scale, "translate": translate, "units": ("um", "um")}
    layers: list[LayerData] = []
    for column, signature in kept:
        scores = prediction.obs[column].to_numpy(np.float64)
        attributes: dict[str, Any] = {
            "name": signature_layer_name(signature, slide_stem(prediction)),
            "colormap": COLORMAP,
            "contrast_limits": symmetric_limits(scores),
            "opacity": _OPACITY,
            "blending": "translucent_no_depth",
            "interpolation2d": "nearest",
            "visible": False,
            "metadata": {
                SIGNATURE_KEY: {"name": signature.name, "genes": list(signature.genes)},
                SIGNATURE_OF_KEY: prediction,
            },
        }
        layers.append((raster.image(scores), attributes | placement, "image"))
    return layers


def signature_layer_name(signature: Signature, slide_name: str) -> str:
    """What the layer of a signature is called."""
    kind = "" if signature.name.casefold().startswith("signature") else "signature "
    return for_qt(f"{kind}{signature.title} · {slide_name}")


def symmetric_limits(
    values: NDArray[np.floating], percentiles: tuple[float, float] = (1, 99)
) -> tuple[float, float]:
    """Robust contrast limits around 0, whose color then means the section's mean.

    Parameters
    ----------
    values
        Any shape; NaN is left out.
    percentiles
        Lower and upper; the one that is farther from 0 decides.
    """
    reach = max(map(abs, robust_limits(values, percentiles)))
    return -reach, reach
