"""Results kept on disk while they come, so that a stopped prediction goes on where it was."""

import hashlib
import io
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse, Lock, recover, recover_all_in, remove_folder, whole_output

_SECONDS_BETWEEN_WRITES = 10.0
_MOST_BUFFERED_BYTES = 2**24
_FORMAT = 2
_IDENTITY = "identity.json"
_ENCODED = "encoded"
_PART = "part"
_MARK = "napari-nh2st results"

ROWS = ".rows"
"""Suffix of kept rows that were encoded of a whole slide."""

log = logging.getLogger(__name__)


def store_beside(output: Path, identity: dict[str, Any]) -> Path:
    """Where the results of a prediction lie until its output is written.

    Each prediction has its own: one that was stopped, of other genes say, is found again when it
    is run again.
    """
    return output.with_name(f"{output.name}.{_key(identity)[:12]}.partial")


def other_stores_beside(output: Path, own: Path) -> list[Path]:
    """The stores of other predictions that had the same output and were stopped."""
    start = f"{output.name}."
    return sorted(
        folder
        for folder in output.absolute().parent.iterdir()
        if folder.name.startswith(start)
        and folder.name.endswith(".partial")
        and folder.name != own.name
        and (folder / _IDENTITY).is_file()
    )


def of_part(identity: dict[str, Any], number: int, count: int) -> dict[str, Any]:
    """The identity of a part of a prediction, whose results have a store of their own."""
    return identity | {_PART: [number, count]}


def part_stores(output: Path, identity: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """The stores beside an output that hold parts of a prediction, with their identities."""
    found = []
    for folder in other_stores_beside(output, Path()):
        with suppress(OSError, ValueError, KeyError, TypeError):
            other = json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))["identity"]
            if _PART in other and _key(other | {_PART: None}) == _key(identity | {_PART: None}):
                found.append((folder, other))
    return found


def earlier_versions_store(output: Path) -> Path | None:
    """The store that an earlier version left beside an output, in a format no longer read."""
    folder = output.with_name(f"{output.name}.partial.zarr")
    return folder if folder.is_dir() else None


def kept_store(folder: Path, identity: dict[str, Any]) -> Path:
    """Where in a folder of kept results those of one prediction lie."""
    return folder / f"{_key(identity)[:32]}.results"


def of_encoded(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity of the encoded rows of a prediction, which are those of other genes as well."""
    return {name: identity[name] for name in identity.keys() - {"genes", "head_values"}}


def kept_rows_store(folder: Path, identity: dict[str, Any]) -> Path:
    """Where in a folder of kept results the encoded rows of a prediction lie, for all genes."""
    return folder / f"{_key(of_encoded(identity))[:32]}{ROWS}"


def kept_stores(folder: Path) -> list[Path]:
    """All that lies in a folder of kept results: those of predictions, and encoded rows."""
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.suffix in {".results", ROWS, ".zarr"}]
    return []  # .zarr: of earlier versions


def stored_bytes(store: Path) -> tuple[int, float]:
    """Bytes of a store, and when it was last written to; what vanishes meanwhile counts nothing."""
    size, latest = 0, 0.0
    for parent, _, names in os.walk(store):  # unlike rglob, it passes over what vanishes
        for name in names:
            with suppress(OSError):
                found = Path(parent, name).stat()
                size, latest = size + found.st_size, max(latest, found.st_mtime)
    return size, latest


def forget_oldest(folder: Path, most_bytes: float) -> None:
    """Delete kept results, the longest unused first, until the rest is small enough.

    Results that a run has open are never deleted. Those that cannot be deleted stay.

    Parameters
    ----------
    folder
        The folder given to :func:`~napari_nh2st.inference.predict_events` as ``kept``.
    most_bytes
        Largest size of all results together, in bytes.
    """
    recover_all_in(folder)
    size_of = {store: stored_bytes(store) for store in kept_stores(folder)}
    total = sum(size for size, _ in size_of.values())
    for store, (size, _) in sorted(size_of.items(), key=lambda item: (item[1][1], item[0])):
        if total <= most_bytes:
            return
        try:
            lock = Lock(_lock_of(store))
        except (InUse, OSError):
            continue
        remove_folder(store)
        lock.release()
        if not store.exists():
            total -= size


class ResultStore:
    """A folder of predicted tiles, one file for what came together.

    Files are whole and on the disk before they have their names, and never written again: a kill,
    or a crash of the machine, costs what came since the last. Each has a checksum; of a store with
    a damaged file the rest is good.

    Parameters
    ----------
    folder
        Made where it is not there; nothing that is there is ever emptied.
    identity
        What has to be the same for stored results to be taken over: slide, model, settings, grid.
    n_columns
        Numbers that are kept of a tile; None for as many as come.
    dtype
        Their type.
    with_encoded
        Keep encoded rows as well, for a model that predicts from the whole slide.

    Attributes
    ----------
    encoded
        Store of the encoded rows, in half precision, within this one; None where there is none.

    Raises
    ------
    InUse
        Another run has it.
    InputError
        What is there is no store of this prediction, or it cannot be read or written; writing also
        fails in :meth:`flush`.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        n_columns: int | None,
        dtype: type[np.floating] = np.float32,
        with_encoded: bool = False,
    ) -> None:
        self.folder = folder
        self._key = _key(identity)
        self._n_columns = n_columns
        self._dtype = np.dtype(dtype)
        self._buffer: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
        self.encoded: ResultStore | None = None
        self._flushed = time.monotonic()
        self._has_warned = False
        try:
            self._lock = Lock(_lock_of(folder))
        except InUse:
            raise InUse(
                f"{folder.name} is in use: another run computes the same. Wait for it."
            ) from None
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}") from None
        try:
            recover(folder)
            self._open(identity)
            self._number = 1 + max((_number(file) for file in self._files()), default=0)
            recover_all_in(folder)  # no other run writes a draft of the same number again
            if with_encoded:
                self.encoded = ResultStore(folder / _ENCODED, identity, None, np.float16)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, identity: dict[str, Any]) -> None:
        try:
            content = json.loads((self.folder / _IDENTITY).read_text(encoding="utf-8"))
            known = content["key"] if content["what"] == _MARK else None
        except FileNotFoundError:
            if self.folder.is_symlink() or self.folder.exists():
                reason = "already exists and holds no results of this program"
                raise InputError(self._left(reason)) from None
            self._create(identity)
            return
        except OSError as error:
            raise InputError(self._left(f"cannot be read: {error.strerror}")) from None
        except (ValueError, KeyError, TypeError):
            raise InputError(self._left(f"cannot be read: {_IDENTITY} is damaged")) from None
        if known != self._key:
            raise InputError(self._left("holds the results of another prediction"))

    def _left(self, what: str) -> str:
        return f"{self.folder} {what}. It is left unchanged; move or remove it to start again."

    def _create(self, identity: dict[str, Any]) -> None:
        content = {"what": _MARK, "format": _FORMAT, "key": self._key, "identity": identity}
        with whole_output(self.folder) as draft:
            draft.mkdir()
            text = json.dumps(content, indent=1, sort_keys=True)
            (draft / _IDENTITY).write_text(text + "\n", encoding="utf-8")

    def _files(self) -> Iterator[Path]:
        try:
            # Not glob, which takes a folder that may not be read for an empty one.
            files = [file for file in self.folder.iterdir() if _number(file)]
            yield from sorted(files, key=_number)
        except OSError as error:
            raise InputError(self._left(f"cannot be read: {error.strerror}")) from None

    def stored(self) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """What is there, one file at a time, the oldest first.

        A file that is damaged counts nothing, so that its tiles alone are computed again.

        Yields
        ------
        tiles, values
            (n,) and (n, columns), NaN where a tile failed. A tile may come again: it failed in one
            run, and was good in a later one.

        Raises
        ------
        InputError
            A file cannot be read. Nothing is changed.
        """
        for file in self._files():
            try:
                content = file.read_bytes()
            except OSError as error:
                raise InputError(self._left(f"cannot be read: {error.strerror}")) from None
            rows = _unpacked(content, self._n_columns, self._dtype)
            if rows is None:
                log.warning("%s is damaged: its tiles are computed again", file)
                continue
            yield rows

    def append(self, tiles: NDArray[np.int64], values: NDArray[np.floating]) -> None:
        """Keep predicted tiles; written once enough of them have come, and by :meth:`flush`.

        Where they cannot be written, because a share is away or a disk is full, they stay in
        memory, and are written when that is over.
        """
        self._buffer.append((tiles, values))
        late = time.monotonic() - self._flushed > _SECONDS_BETWEEN_WRITES
        much = sum(v.nbytes for _, v in self._buffer) >= _MOST_BUFFERED_BYTES
        if not late and not (much and not self._has_warned):
            return
        try:
            self.flush()
        except InputError as error:
            if not self._has_warned:
                log.warning("%s. The run continues; results stay in memory until it can be.", error)
            self._has_warned = True
            self._flushed = time.monotonic()

    def flush(self) -> None:
        """Write what :meth:`append` took in."""
        if self.encoded is not None:
            self.encoded.flush()
        if not self._buffer:
            return
        tiles = np.concatenate([tiles for tiles, _ in self._buffer])
        values = np.concatenate([values for _, values in self._buffer])
        try:
            here = (self.folder / _IDENTITY).is_file()
        except OSError:
            here = False
        if not here:
            raise InputError(f"{self.folder} cannot be written: it no longer exists")
        with whole_output(self.folder / f"{self._number}.npz") as draft:
            np.savez(draft, tile=tiles.astype(np.int64), X=values.astype(self._dtype))
        self._buffer = []
        self._number += 1
        self._flushed = time.monotonic()
        self._has_warned = False

    def forget(self) -> None:
        """Let go of what could not be written: it is elsewhere."""
        self._buffer = []
        if self.encoded is not None:
            self.encoded.forget()

    def remove(self) -> None:
        """Delete the store: its results are elsewhere now."""
        self.forget()
        remove_folder(self.folder)
        self.close()

    def close(self) -> None:
        """Let another run have it."""
        if self.encoded is not None:
            self.encoded.close()
        self._lock.release()

    def move_to(self, other: "ResultStore") -> None:
        """Put all that is here into another store, and delete this one."""
        for rows in self.stored():
            other.append(*rows)
        if self.encoded is not None and other.encoded is not None:
            for rows in self.encoded.stored():
                other.encoded.append(*rows)
        other.flush()
        self.remove()


def _key(identity: dict[str, Any]) -> str:
    text = json.dumps({"format": _FORMAT} | identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _lock_of(store: Path) -> Path:
    return store.with_name(f".{store.name}.lock")


def _number(file: Path) -> int:
    """Number of a file of rows, from 1; 0 for other files."""
    return int(file.stem) if file.suffix == ".npz" and file.stem.isdecimal() else 0


def _unpacked(
    content: bytes, n_columns: int | None, dtype: np.dtype[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
    """Tiles and values of a file; None where it is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.testzip() is not None:  # before sizes in it are believed
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            tiles, values = found["tile"], found["X"]
    except MemoryError:
        raise
    except Exception:  # whatever a damaged file does to its readers
        return None
    fits = tiles.ndim == 1 and values.ndim == 2 and len(values) == len(tiles)
    if not fits or tiles.dtype != np.int64 or values.dtype != dtype:
        return None
    if n_columns is not None and values.shape[1] != n_columns:
        return None
    return tiles, values
