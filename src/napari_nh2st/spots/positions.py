"""Positions of spots and tiles, and which of them are under tissue."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError

SPATIAL = "spatial"
"""Key of ``obsm``: centers (x, y) in full-resolution pixels; also key of ``uns`` of pictures and
scale factors."""

EMBEDDING = "X_spatial"
"""Key of ``obsm``: centers (x, −y), with y upwards: CELLxGENE opens no file without an embedding,
which is what begins with ``X_``, and draws embeddings as diagrams."""

IN_TISSUE = "in_tissue"
"""Column of ``obs``: 1 where a spot or tile lies under tissue."""

ARRAY = ("array_row", "array_col")
"""Columns of ``obs``: row and column in the array of spots, or in the grid of tiles."""

PIXELS = ("pxl_row_in_fullres", "pxl_col_in_fullres")
"""Columns of ``obs``: center (y, x) in full-resolution pixels, named as by Space Ranger."""

_YES = frozenset({"1", "true", "t", "yes", "y", "intissue", "tissue", "in", "inside"})
_NO = frozenset(
    {"0", "false", "f", "no", "n", "", "nan", "none", "na", "<na>", "notintissue", "offtissue"}
    | {"outoftissue", "out", "outside", "background"}
)


def positions(data: AnnData) -> NDArray[np.float64]:
    """(n, 2) centers (x, y) in full-resolution pixels."""
    return np.asarray(data.obsm[SPATIAL], np.float64)


def centers(data: AnnData) -> NDArray[np.float64]:
    """(n, 2) centers (y, x) in full-resolution pixels."""
    return positions(data)[:, ::-1]


def beyond(xy: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(n,) whether centers (x, y) lie beyond the edges of a slide of this (height, width)."""
    return np.asarray(((xy < 0) | (xy >= shape[::-1])).any(1))


def has_array(obs: pd.DataFrame) -> bool:
    """Whether rows and columns of an array are recorded."""
    return set(ARRAY) <= set(obs)


def position_columns(
    names: pd.Index | Sequence[str],
    xy: NDArray[np.float64],
    array: NDArray[np.int64] | None,
) -> pd.DataFrame:
    """``obs`` of spots or tiles under tissue.

    Parameters
    ----------
    names
        (n,) names of the rows.
    xy
        (n, 2) centers (x, y) in full-resolution pixels.
    array
        (n, 2) (row, column) on the array; None where there is none.

    Returns
    -------
    DataFrame
        Columns ``in_tissue`` (1), ``array_row`` and ``array_col`` where there is an array, and
        ``pxl_row_in_fullres`` and ``pxl_col_in_fullres``.
    """
    columns = {IN_TISSUE: np.ones(len(xy), np.int64)}
    if array is not None:
        columns |= dict(zip(ARRAY, array.T, strict=True))
    return pd.DataFrame(columns | dict(zip(PIXELS, xy.T[::-1], strict=True)), index=names)


def spatial_embeddings(xy: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """``obsm`` of tiles or spots.

    Parameters
    ----------
    xy
        (n, 2) centers (x, y) in full-resolution pixels.

    Returns
    -------
    dict
        ``"spatial"`` is `xy`, as scanpy and squidpy want it; ``"X_spatial"`` is (x, -y).
    """
    return {SPATIAL: xy, EMBEDDING: xy * np.array([1.0, -1.0])}


def under_tissue(column: pd.Series, where: str) -> NDArray[np.bool_]:
    """Read a column such as ``in_tissue``: numbers, booleans, categories or text.

    Parameters
    ----------
    column
        1, True, "True", "in_tissue" and the like; or 0, False and so on; empty is False.
    where
        The file and column, for the message.

    Returns
    -------
    ndarray
        (n,) bool.

    Raises
    ------
    InputError
        A value is neither.
    """
    text = column.astype(object).map(_word)
    inside: NDArray[np.bool_] = text.isin(_YES).to_numpy(bool)
    unknown = ~inside & ~text.isin(_NO).to_numpy(bool)
    if unknown.any():
        value = column.iloc[int(np.flatnonzero(unknown)[0])]
        raise InputError(f"{where}: {value!r} does not say whether a spot is under tissue")
    return inside


def _word(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    try:
        return f"{float(value):g}"  # type: ignore[arg-type]  # text of numbers, too
    except (TypeError, ValueError):
        return str(value).strip().lower().replace("_", "").replace(" ", "").replace("-", "")
