"""Zarr stores of predictions with more values than memory holds."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_nh2st.prediction.value_arrays import (
    ANNDATA_ARRAY,
    is_by_gene,
    leave_memory,
    row_blocks,
)

_NO_VALUE = float("nan")
"""What an array has where a chunk was lost, rather than zeros that look like values."""

_GENES_IN_CHUNK = 16
"""Few, so that one gene is read fast, and enough for few files."""

_ONLY_CHUNK = "0.0"


def write_in_chunks(group: zarr.Group, name: str, values: NDArray[np.float32]) -> None:
    """Write tiles × genes in compressed chunks, of which little is in memory at a time."""
    blocks = list(row_blocks(values.shape))
    shape = blocks[0].stop, min(_GENES_IN_CHUNK, values.shape[1])
    array = group.create_array(
        name, shape=values.shape, dtype=values.dtype, chunks=shape, fill_value=_NO_VALUE
    )
    array.attrs.update(ANNDATA_ARRAY)
    for rows in blocks:
        array[rows] = values[rows]
        leave_memory(values)


def write_by_gene(group: zarr.Group, name: str, values: NDArray[np.float32], folder: Path) -> None:
    """Write tiles × genes so that :func:`mapped_values` finds each gene in one piece.

    It is an array of anndata like any other, whose only chunk holds one gene after the other.
    It is not compressed, which would make it smaller by an eighth.

    Parameters
    ----------
    group, name
        Where; of zarr format 2.
    values
        (n, genes); of those in a file, little is in memory at a time.
    folder
        Of the group.

    Raises
    ------
    OSError
        The disk is full.
    """
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="<f4",
        chunks=values.shape,
        order="F",
        compressors=None,
        filters=None,
        fill_value=_NO_VALUE,
    )
    array.attrs.update(ANNDATA_ARRAY)
    # Written, not mapped: a disk that is full says so here, and not by a signal.
    with (folder / name / _ONLY_CHUNK).open("wb") as file:
        for rows in row_blocks(values.shape):
            for gene, column in enumerate(np.ascontiguousarray(values[rows].T, "<f4")):
                file.seek(column.itemsize * (gene * len(values) + rows.start))
                file.write(column.data)
            leave_memory(values)


def mapped_values(array: "zarr.Array[Any]", folder: Path) -> NDArray[np.float32] | None:
    """What :func:`write_by_gene` wrote, mapped into memory: genes are read when they are used.

    Changes stay in memory.

    Parameters
    ----------
    array
        Of an open store.
    folder
        Of the array.

    Returns
    -------
    ndarray or None
        None where the values are few, or lie otherwise.

    Raises
    ------
    ValueError
        The file with the values is missing, as in a folder that was copied in part.
    """
    chunk = folder / _ONLY_CHUNK
    if (
        not is_by_gene(array.shape)
        or array.metadata.zarr_format != 2
        or array.dtype != np.dtype("<f4")
        or array.order != "F"
        or array.chunks != array.shape
        or array.compressors
        or array.filters
    ):
        return None
    if not chunk.is_file():
        raise ValueError(f"{folder.name}/{chunk.name}, which holds its values, is missing")
    if chunk.stat().st_size != 4 * int(np.prod(array.shape)):
        return None
    values = np.memmap(chunk, "<f4", "c", 0, array.shape, "F")
    return values.view(np.ndarray)  # as in value_arrays
