"""Values of a prediction: the genes that are asked for, and standard units."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names
from napari_nh2st.prediction.schema import reliability
from napari_nh2st.prediction.value_arrays import row_blocks

SAME = 1e-7
"""A standard deviation below this share of the mean is the rounding of float32."""

GENES_AT_ONCE = 64
"""Columns that are worked on together: a bound on memory."""


def chosen_genes(prediction: AnnData, names: Sequence[str] | None) -> tuple[str, ...]:
    """The genes that were asked for; all of them if None.

    Raises
    ------
    InputError
        A gene was not predicted (similar names are offered), is given twice, or none is given.
    """
    known = [str(name) for name in prediction.var_names]
    if names is None:
        return tuple(known)
    names = tuple(names)  # also those of a table's index
    if not names:
        raise InputError("No gene is chosen: name at least one, or leave the genes out for all.")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"Gene {name} is given more than once.")
        if name not in known:
            similar = nearest_names(name, known)
            hint = f"Did you mean {' or '.join(similar)}?" if similar else f"There is {known[0]}, …"
            raise InputError(f"{name} is not among the {len(known)} predicted genes. {hint}")
    return names


def best_gene(prediction: AnnData) -> str:
    """The gene of the highest reliability; where none is known, the first that has a value."""
    ranked = genes_by_reliability(prediction)
    # One by one: as a rule, the first has values, and no other is read.
    return next((g for g in ranked if np.isfinite(gene_values(prediction, g)).any()), ranked[0])


def genes_by_reliability(prediction: AnnData) -> list[str]:
    """All genes, the most reliable first; those of unknown reliability last, in their order."""
    ranked = reliability(prediction).sort_values(ascending=False, kind="stable")
    return [str(gene) for gene in ranked.index]


def gene_values(prediction: AnnData, gene: str) -> NDArray[np.float32]:
    """(n,) values of one gene; NaN where there is none."""
    return np.asarray(prediction.X[:, prediction.var_names.get_loc(gene)], np.float32)


def predicted_tiles(prediction: AnnData) -> NDArray[np.bool_]:
    """Which tiles have a value.

    Parameters
    ----------
    prediction
        Tiles × genes; NaN in ``X`` where nothing is predicted (yet).

    Returns
    -------
    ndarray
        (tiles,) bool.
    """
    values = np.asarray(prediction.X)
    found = np.empty(len(values), bool)
    for rows in row_blocks(values.shape):
        found[rows] = ~np.isnan(values[rows]).any(1)
    return found


def standardized(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Each gene with mean 0 and standard deviation 1 over the tiles.

    Parameters
    ----------
    values
        (tiles, genes) without NaN.

    Returns
    -------
    ndarray
        (tiles, genes) float32; 0 throughout for a gene without variance.
    """
    result = np.zeros(values.shape, np.float32)
    if not len(values):
        return result
    for first in range(0, values.shape[1], GENES_AT_ONCE):
        genes = slice(first, first + GENES_AT_ONCE)
        part = values[:, genes].astype(np.float64)
        mean = part.mean(0)
        part -= mean
        deviation = np.sqrt(np.mean(part**2, axis=0))
        varies = deviation > SAME * np.abs(mean)
        np.divide(part, deviation, out=result[:, genes], where=varies, casting="same_kind")
    return result
