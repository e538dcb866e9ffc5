"""Arrays of tiles × genes: in memory, or in a temporary file where they are large.

A file that is mapped into memory makes an array like any other, and what was not used for a while
need not be in memory. (It is no :class:`numpy.memmap`: anndata writes plain arrays alone.)
"""

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LARGE_BYTES = 2**28
"""Arrays of at least so many bytes lie in temporary files."""

BY_GENE_BYTES = 2**27
"""Arrays of at least so many bytes are written in chunks of few genes, and read as they are used:
compressed as a whole, twice as many take a second and a half of computing to read."""

BLOCK_BYTES = 2**25
"""Work on many rows takes so many bytes of them at a time."""


ANNDATA_ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}
"""Attributes that anndata knows an array by, in HDF5 and zarr."""


class _OwnFile(mmap.mmap):
    """A file of values that are still to come.

    Unlike one that is mapped copy-on-write, whose changes are in memory alone, it loses nothing
    where it leaves memory.
    """


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether an array of float32 is one of tiles × genes that had better lie in a file."""
    return len(shape) == 2 and 4 * shape[0] * shape[1] >= LARGE_BYTES


def is_by_gene(shape: tuple[int, ...]) -> bool:
    """Whether an array of float32 is one of tiles × genes that is written by gene."""
    return len(shape) == 2 and 4 * shape[0] * shape[1] >= BY_GENE_BYTES


def nan_values(shape: tuple[int, int], folder: Path | None = None) -> NDArray[np.float32]:
    """An array of NaN.

    Parameters
    ----------
    shape
        Tiles and genes.
    folder
        Where a large array gets its temporary file, which goes with the array; None for memory
        whatever the size.

    Raises
    ------
    OSError
        The disk is full.
    """
    if folder is None or not is_large(shape):
        return np.full(shape, np.nan, np.float32)
    with tempfile.TemporaryFile(dir=folder, prefix=".nh2st-values-") as file:
        # Written, not mapped and filled: a disk that is full says so here, and not by a signal
        # that ends the process once it is mapped.
        for rows in row_blocks(shape):
            file.write(np.full((rows.stop - rows.start, shape[1]), np.nan, np.float32).data)
        file.flush()
        return np.ndarray(shape, np.float32, _OwnFile(file.fileno(), 0))


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows of :data:`BLOCK_BYTES` each, if they are of float32."""
    at_once = max(1, BLOCK_BYTES // max(4 * int(np.prod(shape[1:])), 1))
    for first in range(0, shape[0], at_once):
        yield slice(first, min(first + at_once, shape[0]))


def leave_memory(values: object) -> None:
    """Let what is mapped of a file leave memory, where the system can; it is read again if used."""
    while isinstance(values, np.ndarray):
        values = values.base
    if isinstance(values, _OwnFile) and hasattr(mmap, "MADV_DONTNEED"):
        values.madvise(mmap.MADV_DONTNEED)


def has_value(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(n,) which rows of (n, genes) have a finite value."""
    found = np.empty(len(values), bool)
    for rows in row_blocks(values.shape):
        np.isfinite(values[rows]).any(1, out=found[rows])
    leave_memory(values)
    return found
