"""Named classes of tiles, such as domains, with their colors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.colors import to_rgb

from napari_nh2st.errors import InputError

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class TileClasses:
    """A column of ``obs`` as classes.

    Parameters
    ----------
    labels
        (tiles,) class of each tile; missing where it belongs to none.
    colors
        Color by class; empty where none are recorded.
    """

    labels: pd.Categorical
    colors: dict[str, Color]

    @property
    def names(self) -> list[str]:
        """Names of the classes, in their order."""
        return [str(name) for name in self.labels.categories]


def tile_classes(prediction: AnnData, column: str) -> TileClasses:
    """The classes of tiles in a column, with the colors that scanpy or this package left.

    Parameters
    ----------
    prediction
        At tiles or spots.
    column
        Of ``obs``; colors are those of ``uns[f"{column}_colors"]`` if there are as many
        and all are colors.

    Raises
    ------
    InputError
        There is no such column.
    """
    if column not in prediction.obs:
        raise InputError(
            f"There are no domains {column!r} in the prediction: obs has "
            f"{', '.join(map(str, prediction.obs.columns))}."
        )
    classes = TileClasses(pd.Categorical(prediction.obs[column]), {})
    colors = prediction.uns.get(f"{column}_colors")
    try:
        parts = [to_rgb(tuple(c) if np.ndim(c) else str(c)) for c in np.asarray(colors)]
    except (TypeError, ValueError):  # no list, or no colors
        return classes
    if len(parts) != len(classes.names):
        return classes
    rgb = [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in parts]
    return TileClasses(classes.labels, dict(zip(classes.names, rgb, strict=True)))
