"""Values and other results as CSV."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.prediction.schema import STATUS, slide_mpp
from napari_nh2st.prediction.values import chosen_genes
from napari_nh2st.spots.positions import ARRAY, IN_TISSUE, PIXELS, positions
from napari_nh2st.table_cells import csv_encoding

_OF_EVERY_TILE = (IN_TISSUE, *ARRAY, *PIXELS, STATUS)

TILE_COLUMNS = ("tile", *ARRAY, "x_px")
"""The first of a table of tiles; at spots there is no array."""


def prediction_table(prediction: AnnData, genes: Sequence[str] | None = None) -> pd.DataFrame:
    """Make a table with one row per tile: its position and its values.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots.
    genes
        Genes to include, in this order; None for all.

    Returns
    -------
    DataFrame
        Index ``tile``; columns ``array_row`` and ``array_col`` if there is an array, ``x_px``
        and ``y_px`` of the center in full-resolution pixels, ``x_um`` and ``y_um`` in µm from the
        slide's corner, ``status``, the further columns of ``obs``, such as domains and scores of
        signatures, then one per gene; NaN for a tile without a value.

    Raises
    ------
    InputError
        A gene was not predicted.

    Examples
    --------
    .. code-block:: python

        prediction_table(prediction, ["ERBB2", "CD74"])
    """
    names = chosen_genes(prediction, genes)
    x, y = positions(prediction).T
    mpp_y, mpp_x = slide_mpp(prediction)
    obs = prediction.obs
    where = {name: obs[name].to_numpy() for name in ARRAY if name in obs}
    where |= {"x_px": x, "y_px": y, "x_um": x * mpp_x, "y_um": y * mpp_y}
    if STATUS in obs:
        where[STATUS] = obs[STATUS].astype(str).to_numpy()
    where |= {str(name): obs[name].to_numpy() for name in obs if name not in _OF_EVERY_TILE}
    index = pd.Index(obs.index.astype(str), name="tile")
    columns = prediction.var_names.get_indexer(list(names))
    values = pd.DataFrame(prediction.X[:, columns], index=index, columns=list(names))
    return pd.concat([pd.DataFrame(where, index=index), values], axis=1)


def write_table(table: pd.DataFrame, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a table as CSV with its index, numbers to eight digits; complete or not at all.

    Parameters
    ----------
    table
        Table of tiles, regions or genes.
    path
        File to write, ending in ``.csv``.
    overwrite
        Whether an existing table may be replaced, if its first columns are like this one's.

    Raises
    ------
    InputError
        The name does not end in .csv, the file exists and may not be replaced, or it cannot be
        written.
    """
    path = Path(path)
    check_table(path, overwrite, [str(table.index.name or ""), *map(str, table.columns)])
    texts = table.select_dtypes(exclude="number").astype(str).to_numpy().ravel()
    words = (*map(str, (table.index.name, *table.columns, *table.index)), *texts)
    encoding = csv_encoding("".join(words))
    with whole_output(path) as draft:
        table.to_csv(draft, float_format="%.8g", encoding=encoding)  # too large for one text


def check_table(path: Path, overwrite: bool, columns: Sequence[str] = TILE_COLUMNS) -> None:
    """Check beforehand that a table can be written.

    Parameters
    ----------
    path
        File to write, ending in ``.csv``.
    overwrite
        Whether an existing table may be replaced, if its first columns are like these.
    columns
        First columns of the table to write; by default those of a table of tiles.

    Raises
    ------
    InputError
        The name does not end in .csv, or the file may not be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path}: a table must end in .csv")
    check_place(
        path,
        overwrite,
        is_ours=lambda place: _is_such_a_table(place, columns),
        kind="a table with such columns",
    )


def _is_such_a_table(path: Path, columns: Sequence[str]) -> bool:
    """Whether a CSV begins with the same column, and half of the next three are alike.

    Tables of one kind differ in genes, and in columns that are not always known. Tables of
    measured counts, which are CSV too, begin otherwise.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = next(csv.reader([file.readline(100_000)]), [])[:4]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    own = list(columns[:4])
    alike = len(set(found) & set(own))
    return found[:1] == own[:1] and 2 * alike >= min(len(found), len(own))
