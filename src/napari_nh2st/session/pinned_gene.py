"""A gene of a prediction in a layer of its own."""

from dataclasses import dataclass

import numpy as np
from napari.layers import Image

from napari_nh2st.layers.heatmap import Heatmap, layer_name
from napari_nh2st.layers.tile_image import TileImage


@dataclass(frozen=True, eq=False)
class Pin:
    """A gene in a layer of its own.

    Parameters
    ----------
    gene
        It stays this one.
    source
        Heatmap of the prediction that its values are from.
    image
        Its layer.
    in_composite
        It came with a composite and goes with it.
    own_name
        What the layer is called until the user renames it.
    """

    gene: str
    source: Heatmap
    image: TileImage
    in_composite: bool = False
    own_name: str = ""

    @property
    def layer(self) -> Image:
        """The layer."""
        return self.image.layer

    @property
    def reliability(self) -> float:
        """Held-out PCC of the gene; NaN where it is unknown."""
        known = self.source.prediction.var["reliability"]
        return float(known.get(self.gene, np.nan))

    def refresh(self) -> None:
        """Show the values that are there by now."""
        self.image.show(self.source.values_of(self.gene))


def pin_name(gene: str, source: Heatmap, in_composite: bool) -> str:
    """What the layer of a pinned gene is called."""
    ending = "composite" if in_composite else "pinned"
    return f"{layer_name(source.prediction, gene, source.slide_name)} · {ending}"
