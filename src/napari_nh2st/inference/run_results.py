"""Results of a run on disk: beside its output, in a folder of kept results, or rescued."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.cache import cache_folder
from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse, Lock, make_folder, recover
from napari_nh2st.inference.slide_rows import EncodedRows
from napari_nh2st.inference.store import (
    ResultStore,
    earlier_versions_store,
    kept_rows_store,
    kept_store,
    kept_stores,
    of_encoded,
    other_stores_beside,
    part_stores,
    store_beside,
)

Rows = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Tiles (n,) and what was computed of each, (n, columns), NaN where a tile failed; see
:mod:`napari_nh2st.prediction.rows`."""

log = logging.getLogger(__name__)


class RunResults:
    """The store of one run.

    Parameters
    ----------
    identity
        Identity of the prediction, see :class:`~napari_nh2st.inference.store.ResultStore`.
    n_columns
        Numbers in a row.
    output
        What the run writes; None where it writes nothing.
    kept
        Folder of kept results; without it, results go when the output is written.
    with_encoded
        Encoded rows are kept as well, for a model that predicts from the whole slide: among kept
        results once for all genes.

    Raises
    ------
    InputError
        Another run writes the output, or as :class:`~napari_nh2st.inference.store.ResultStore`.
    """

    def __init__(
        self,
        identity: dict[str, Any],
        n_columns: int,
        output: Path | None,
        kept: Path | None,
        with_encoded: bool = False,
    ) -> None:
        self._identity, self._n_columns = identity, n_columns
        self._with_encoded = with_encoded
        self._is_kept = kept is not None
        self._store: ResultStore | None = None
        self._lock = None if output is None else _lock_of(output)
        self.notices: tuple[str, ...] = ()
        try:
            if kept is not None:
                make_folder(kept)
                self._store = ResultStore(kept_store(kept, identity), identity, n_columns)
                if with_encoded:
                    self._store.encoded = _kept_rows(kept, identity)
            elif output is not None:
                recover(output)
                folder = store_beside(output, identity)
                self._store = self._opened(folder, identity)
                self._take_rescued(self._store)
                self._take_parts(self._store, output)
                self.notices = _notices(output, folder)
        except BaseException:
            self.close()
            raise

    def stored(self) -> Iterator[Rows]:
        """What earlier runs of the same prediction have computed, in parts, the oldest first."""
        return iter(()) if self._store is None else self._store.stored()

    def stored_encoded(self) -> Iterator[EncodedRows]:
        """What earlier runs of the same prediction have encoded, in parts, the oldest first."""
        encoded = None if self._store is None else self._store.encoded
        return iter(()) if encoded is None else encoded.stored()

    def append_encoded(self, rows: EncodedRows) -> None:
        """Keep what was encoded."""
        if self._store is not None and self._store.encoded is not None:
            self._store.encoded.append(*rows)

    def append(self, rows: Rows) -> None:
        """Keep what was computed; see :meth:`~napari_nh2st.inference.store.ResultStore.append`."""
        if self._store is not None:
            self._store.append(*rows)

    def secure(
        self, rows: Callable[[], Rows], encoded: Callable[[], EncodedRows] | None = None
    ) -> Path | None:
        """Write what is still in memory: to the store, or where that is away to the cache folder.

        Parameters
        ----------
        rows
            Gives all that is known, also what has been written.
        encoded
            Gives all that is encoded, where that is kept.

        Returns
        -------
        Path
            Where it lies and is found again; None where nothing is to be kept.

        Raises
        ------
        InputError
            It can be written nowhere.
        """
        if self._store is None:
            return None
        try:
            self._store.flush()
            return self._store.folder
        except InputError as error:
            if self._is_kept:  # a convenience, and the prediction itself is whole
                log.warning("%s. These results are not kept for the next run.", error)
                return None
            with suppress(InputError, OSError):
                rescued = self._rescued()
                rescued.append(*rows())
                if rescued.encoded is not None and encoded is not None:
                    rescued.encoded.append(*encoded())
                rescued.flush()
                rescued.close()
                self._store.forget()
                log.warning("%s. What was computed is kept in %s.", error, rescued.folder)
                return rescued.folder
            raise

    def remove(self) -> None:
        """Delete it: its results are in the output."""
        if self._store is not None and not self._is_kept:
            self._store.remove()

    def close(self) -> None:
        """Let another run have it."""
        if self._store is not None:
            self._store.close()
        if self._lock is not None:
            self._lock.release()

    def _rescued(self) -> ResultStore:
        folder = kept_store(cache_folder("rescued"), self._identity)
        return self._opened(folder, self._identity)

    def _opened(self, folder: Path, identity: dict[str, Any]) -> ResultStore:
        return ResultStore(folder, identity, self._n_columns, with_encoded=self._with_encoded)

    def _take_rescued(self, store: ResultStore) -> None:
        """Move into the store what an earlier run could not write there."""
        with suppress(InputError, OSError):
            if not kept_store(cache_folder("rescued"), self._identity).is_dir():
                return
            rescued = self._rescued()
            try:
                rescued.move_to(store)
            finally:
                rescued.close()

    def _take_parts(self, store: ResultStore, output: Path) -> None:
        """Move into the store what other processes computed of the same prediction."""
        for folder, identity in part_stores(output, self._identity):
            try:
                part = self._opened(folder, identity)
            except InUse:  # one of them is not done: it computes that for a later run
                continue
            try:
                part.move_to(store)
            finally:
                part.close()


def _kept_rows(kept: Path, identity: dict[str, Any]) -> ResultStore | None:
    """The store of encoded rows of a prediction; None while a run of other genes has it."""
    folder = kept_rows_store(kept, identity)
    try:
        return ResultStore(folder, of_encoded(identity), None, np.float16)
    except InUse:
        return None


def has_kept(kept: Path, identity: dict[str, Any]) -> bool:
    """Whether results of a prediction are kept, or what was encoded for it with other genes."""
    return any(each(kept, identity).is_dir() for each in (kept_store, kept_rows_store))


def has_stopped_runs(output: Path) -> bool:
    """Whether runs with an output of this name were stopped, or results rescued of any."""
    return bool(other_stores_beside(output, Path())) or bool(kept_stores(cache_folder("rescued")))


def has_results(output: Path, identity: dict[str, Any]) -> bool:
    """Whether a run of a prediction with this output was stopped, and its results are kept."""
    rescued = kept_store(cache_folder("rescued"), identity)
    return store_beside(output, identity).is_dir() or rescued.is_dir()


def _notices(output: Path, own: Path) -> tuple[str, ...]:
    """What lies beside an output of runs that were stopped."""
    notices = [
        f"{other} holds the results of another, stopped prediction with this output. That "
        "prediction continues from there when you run it again; remove the folder if you do not "
        "want it."
        for other in other_stores_beside(output, own)
    ]
    if (earlier := earlier_versions_store(output)) is not None:
        notices.append(
            f"{earlier} holds the results of a stopped run of an earlier version. This version "
            "cannot use them; you can delete the folder."
        )
    return tuple(notices)


def _lock_of(output: Path) -> Lock:
    try:
        return Lock(output.with_name(f".{output.name}.lock"))
    except InUse:
        raise InUse(
            f"{output} is in use: another run writes the same output. Wait for it, or give "
            "another output."
        ) from None
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}") from None
