"""HDF5 files of predictions: on a disk that fills up, and of more values than memory holds."""

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.prediction.value_arrays import (
    ANNDATA_ARRAY,
    is_by_gene,
    leave_memory,
    row_blocks,
)


@contextmanager
def new_hdf5(path: Path, by_gene: bool = False) -> Iterator[h5py.File]:
    """A new file, open for writing.

    Parameters
    ----------
    path
        Of the file.
    by_gene
        Whether :func:`write_by_gene` writes to it.

    Raises
    ------
    OSError
        The disk is full, or broken: when the block ends.
    """
    with closing(_Disk(path, "w+")) as disk:
        try:
            # Before format 1.10 (2016), parts of an index lie between the chunks.
            with h5py.File(disk, "w", libver="v110" if by_gene else None) as file:
                yield file
        finally:
            if disk.failure is not None:
                raise disk.failure


class _Disk(io.FileIO):
    """A file that never refuses a write: HDF5 ends the process where it cannot close its file.

    Attributes
    ----------
    failure
        Why the file is not whole; None if it is.
    """

    failure: OSError | None = None

    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while len(left) and self.failure is None:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        found = super().readinto(view)
        view[found:] = bytes(len(view) - found)  # it was not written
        return len(view)


def write_by_gene(group: h5py.Group, name: str, values: NDArray[np.float32]) -> None:
    """Write tiles × genes so that :func:`mapped_values` finds each gene in one piece.

    It is an array of anndata like any other, in chunks of a gene each. They are not compressed,
    which would make them smaller by an eighth.

    Parameters
    ----------
    group, name
        Where.
    values
        (n, genes); of those in a file, little is in memory at a time.
    """
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((len(values), 1))
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # one after the other
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.IEEE_F32LE
    dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, layout))
    dataset.attrs.update(ANNDATA_ARRAY)
    for rows in row_blocks(values.shape):
        for gene, column in enumerate(np.ascontiguousarray(values[rows].T)):
            dataset[rows, gene] = column
        leave_memory(values)


def mapped_values(dataset: h5py.Dataset, path: Path) -> NDArray[np.float32] | None:
    """What :func:`write_by_gene` wrote, mapped into memory: genes are read when they are used.

    Changes stay in memory.

    Parameters
    ----------
    dataset
        Of an open file.
    path
        That file.

    Returns
    -------
    ndarray or None
        None where the values are few, or lie otherwise.
    """
    n_bytes = 4 * int(np.prod(dataset.shape or 0))
    if (
        not is_by_gene(dataset.shape or ())
        or dataset.dtype != np.dtype("<f4")
        or dataset.chunks != (dataset.shape[0], 1)
        or not hasattr(dataset.id, "chunk_iter")
        or dataset.id.get_create_plist().get_nfilters()
    ):
        return None
    offsets = np.full(dataset.shape[1], -1, np.int64)

    def note(chunk: Any) -> None:
        offsets[chunk.chunk_offset[1]] = chunk.byte_offset or -1

    dataset.id.chunk_iter(note)
    first = int(offsets[0])
    in_order = first + 4 * dataset.shape[0] * np.arange(len(offsets))
    if first < 0 or (offsets != in_order).any() or first + n_bytes > path.stat().st_size:
        return None
    values = np.memmap(path, "<f4", "c", first, dataset.shape, "F")
    return values.view(np.ndarray)  # as in value_arrays
