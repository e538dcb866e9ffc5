"""Results kept on disk while they come, so that a stopped prediction goes on where it was."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from napari_nh2st.errors import InputError

_ROWS_PER_CHUNK = 1024
_SECONDS_BETWEEN_WRITES = 10.0
_NO_TILE = -1
_FORMAT = 1


def kept_store(folder: Path, identity: dict[str, Any]) -> Path:
    """Where in a folder of kept results those of one prediction lie."""
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return folder / f"{key[:32]}.zarr"


def forget_oldest(folder: Path, most_bytes: float) -> None:
    """Delete kept results, those not used for longest first, until the rest is small enough.

    Parameters
    ----------
    folder
        As given to :func:`~napari_nh2st.inference.predict_events` as ``kept``.
    most_bytes
        What all together may take.
    """
    used: list[tuple[float, int, Path]] = []
    for store in folder.glob("*.zarr"):
        files = [file.stat() for file in store.rglob("*") if file.is_file()]
        latest = max((file.st_mtime for file in files), default=0.0)
        used.append((latest, sum(file.st_size for file in files), store))
    total = sum(size for _, size, _ in used)
    for _, size, store in sorted(used):
        if total <= most_bytes:
            return
        try:
            with FileLock(store.with_suffix(".lock"), blocking=False):
                shutil.rmtree(store, ignore_errors=True)
        except Timeout:  # a run uses it
            continue
        total -= size
        store.with_suffix(".lock").unlink(missing_ok=True)


class ResultStore:
    """A zarr group of predicted tiles in the order in which they came.

    Appending in that order writes each chunk few times, whatever order the tiles come in. The
    attribute ``n`` counts the rows that are whole; what a kill left behind it is overwritten.

    Parameters
    ----------
    folder
        The group; made, or emptied if it belongs to another prediction.
    identity
        What has to be the same for stored results to be taken over: slide, model, settings, grid.
    n_genes
        Columns.

    Raises
    ------
    InputError
        Another run has it, or it cannot be written; the latter also by :meth:`append` and
        :meth:`flush`.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], n_genes: int) -> None:
        self.folder = folder
        self._key = json.dumps({"format": _FORMAT} | identity, sort_keys=True)
        self._n_genes = n_genes
        # zarr's types admit a group where we know an array: Any.
        self._lock = FileLock(folder.with_suffix(".lock"))
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError(
                f"{folder.name} is in use: another run writes the same output. Wait for it, or "
                "give another output."
            ) from None
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}") from None
        self._group: Any = self._open()
        self._flushed = time.monotonic()
        self._buffer: list[tuple[NDArray[np.int64], NDArray[np.float32], list[str]]] = []
        self._buffered = 0

    def _open(self) -> zarr.Group:
        try:
            group = zarr.open_group(self.folder, mode="r+")
            known = group.attrs.get("identity")
        except Exception:  # none, not a group, or damaged in whatever way
            return self._created()
        return group if known == self._key else self._created()

    def _created(self) -> zarr.Group:
        with self._writing():
            if self.folder.exists():
                shutil.rmtree(self.folder)
            group = zarr.open_group(self.folder, mode="w")
            # A chunk that is missing reads as the fill value, which is no tile: see `stored`.
            group.create_array(
                "tile",
                shape=(0,),
                chunks=(_ROWS_PER_CHUNK,),
                dtype="int64",
                compressors=Crc32cCodec(),
                fill_value=_NO_TILE,
            )
            group.create_array(
                "X",
                shape=(0, self._n_genes),
                chunks=(_ROWS_PER_CHUNK, self._n_genes),
                dtype="float32",
                compressors=(ZstdCodec(), Crc32cCodec()),
                fill_value=np.nan,
            )
            group.attrs.update({"identity": self._key, "n": 0, "failures": {}})
        return group

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written: {error.strerror or error}"
            ) from error

    def stored(self) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]:
        """What is there: tiles (n,), values (n, genes), and the reasons of failed tiles.

        Nothing where a chunk is damaged, as by a crash of the machine: the store starts anew.
        """
        try:
            n = int(self._group.attrs["n"])
            failures = {int(tile): reason for tile, reason in self._group.attrs["failures"].items()}
            tiles, values = np.asarray(self._group["tile"][:n]), np.asarray(self._group["X"][:n])
        except Exception:  # whatever zarr and its codecs say
            self._group = self._created()
            return np.empty(0, np.int64), np.empty((0, self._n_genes), np.float32), {}
        whole = (tiles != _NO_TILE) & (np.isfinite(values).all(1) | np.isin(tiles, list(failures)))
        return tiles[whole], values[whole], failures

    def append(
        self, tiles: NDArray[np.int64], values: NDArray[np.float32], failures: dict[int, str]
    ) -> None:
        """Keep predicted tiles; written once enough of them have come, and by :meth:`flush`."""
        self._buffer.append((tiles, values, [failures.get(int(t), "") for t in tiles]))
        self._buffered += len(tiles)
        late = time.monotonic() - self._flushed > _SECONDS_BETWEEN_WRITES
        if self._buffered >= _ROWS_PER_CHUNK or late:
            self.flush()

    def flush(self) -> None:
        """Write what :meth:`append` took in."""
        if not self._buffer:
            return
        tiles = np.concatenate([b[0] for b in self._buffer])
        values = np.concatenate([b[1] for b in self._buffer])
        reasons = [reason for b in self._buffer for reason in b[2]]
        n = int(self._group.attrs["n"])
        end = n + len(tiles)
        # A tile that failed in an earlier run may be good now.
        latest = self._group.attrs["failures"] | dict(
            zip(map(str, tiles.tolist()), reasons, strict=True)
        )
        with self._writing():
            for name, rows in (("tile", tiles), ("X", values)):
                array = self._group[name]
                array.resize((end, *array.shape[1:]))
                array[n:end] = rows
            failures = {tile: reason for tile, reason in latest.items() if reason}
            self._group.attrs.update({"n": end, "failures": failures})
        self._buffer, self._buffered = [], 0
        self._flushed = time.monotonic()

    def remove(self) -> None:
        """Delete the store: its results are elsewhere now."""
        self._buffer = []
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let another run have it."""
        self._lock.release()
