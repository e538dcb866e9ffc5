"""Numeric columns of ``obs``: what can be drawn of tiles in the place of a gene.

Beside what this package writes, such as the density of nuclei, these are columns that the user or
another tool has added.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.prediction.reading import (
    UNFAMILIAR_IN_SHORT,
    UNFAMILIAR_SCALE,
    unfamiliarity_in_words,
)
from napari_nh2st.prediction.schema import NUCLEI, UNFAMILIAR, notes
from napari_nh2st.spots.positions import ARRAY, PIXELS

DOMAIN_STABLE_IN = "domain_stable_in"
"""Column of ``obs``: in how many of the model's heads a tile is in the same domain."""

UNFAMILIAR_LIMITS = (0.0, 2.0)
"""Contrast limits of unfamiliar places: 1 is where unfamiliar begins."""

_PLACES = (*ARRAY, *PIXELS, "in_tissue")


class TileColumn(NamedTuple):
    """What a column is called where it is shown.

    Parameters
    ----------
    title
        For lists and layers.
    meaning
        What its numbers are; empty where nothing is known of them.
    in_short
        The same in a few words.
    """

    title: str
    meaning: str = ""
    in_short: str = ""


def tile_columns(prediction: AnnData, without: Collection[str] = ()) -> dict[str, TileColumn]:
    """Numeric columns of a prediction, but for those of positions.

    Parameters
    ----------
    prediction
        At tiles or spots.
    without
        Names of columns that are left out.
    """
    return {
        str(name): _described(prediction, str(name))
        for name in prediction.obs.columns
        if name not in (*_PLACES, *without)
        and getattr(prediction.obs[name].dtype, "kind", "O") in "iuf"
    }


def has_values(prediction: AnnData, name: str) -> bool:
    """Whether a column has a number anywhere that can be drawn."""
    return bool(np.isfinite(column_values(prediction, name)).any())


def column_values(prediction: AnnData, name: str) -> NDArray[np.float64]:
    """(tiles,) values of a column, NaN where there is none that a float32 image can hold."""
    values: NDArray[np.float64] = prediction.obs[name].to_numpy(np.float64, na_value=np.nan)
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)


def column_limits(
    prediction: AnnData, name: str, values: NDArray[np.floating]
) -> tuple[float, float]:
    """Contrast limits of a column's values: a count of heads from 0 to all of them."""
    if name == UNFAMILIAR:
        return UNFAMILIAR_LIMITS
    n_heads = _n_heads(prediction) if name == DOMAIN_STABLE_IN else 0
    return (0.0, float(n_heads)) if n_heads else robust_limits(values)


def column_in_words(prediction: AnnData, name: str, tile: int) -> str:
    """A tile's value of a column in words, such as "1,240 nuclei per mm²"; empty without one.

    Parameters
    ----------
    prediction, name
        Column of a prediction.
    tile
        Row of the prediction.
    """
    value = float(prediction.obs[name].iat[tile])
    if np.isnan(value):
        return ""
    if name == UNFAMILIAR:
        return unfamiliarity_in_words(value)
    if name == NUCLEI:
        return f"{value:,.0f} nuclei per mm²"
    if name == DOMAIN_STABLE_IN:
        return stable_in_words(prediction, tile)
    return f"{_described(prediction, name).title} {value:,.4g}"


def stable_in_words(prediction: AnnData, tile: int) -> str:
    """In how many heads a tile is in the same domain; empty where that is not known."""
    known, n_heads = prediction.obs.get(DOMAIN_STABLE_IN), _n_heads(prediction)
    if known is None or not n_heads:
        return ""
    return f"same domain in {int(known.iat[tile])} of {n_heads} heads"


def _described(prediction: AnnData, name: str) -> TileColumn:
    if name == UNFAMILIAR:
        return TileColumn("unfamiliar places", UNFAMILIAR_SCALE, UNFAMILIAR_IN_SHORT)
    if name == NUCLEI:
        return TileColumn("nuclei per mm²", "estimated density in a tile")
    if name == DOMAIN_STABLE_IN and (n_heads := _n_heads(prediction)):
        return TileColumn(
            "stability of domains",
            f"in how many of the model's {n_heads} heads a tile is in the same domain",
            f"how many of {n_heads} heads agree",
        )
    return TileColumn(name)


def _n_heads(prediction: AnnData) -> int:
    return int(notes(prediction).get("domain_heads", 0))
