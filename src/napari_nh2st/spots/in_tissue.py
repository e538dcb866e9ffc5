"""Column of tables that says whether spots are under tissue."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_nh2st.errors import InputError

_YES = frozenset({"1", "true", "t", "yes", "y", "intissue", "tissue", "in", "inside"})
_NO = frozenset(
    {"0", "false", "f", "no", "n", "", "nan", "none", "na", "<na>", "notintissue", "offtissue"}
    | {"outoftissue", "out", "outside", "background"}
)


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
        raise InputError(
            f"{where}: {value!r} says neither that a spot is under tissue nor that not"
        )
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
