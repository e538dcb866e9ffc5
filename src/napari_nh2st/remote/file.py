"""A remote file, of which blocks are fetched as they are needed."""

import io
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from napari_nh2st.errors import RemoteError

from .block_cache import block_cache
from .transport import Interrupted, transport
from .urls import identity, shown_url

BLOCK = 1 << 18
"""Bytes: some ten tiles, and what a fast line carries in the time of one request."""

_MOST_TOGETHER = 16
"""Blocks of one request."""

_AHEAD = 128
"""Blocks that are fetched before any of them is used, at most."""

_REQUESTS_AT_ONCE = 8
_PAUSES_S = (0.5, 2.0, 5.0)
"""Between the attempts of a request that was interrupted."""

T = TypeVar("T")
U = TypeVar("U")


class RemoteFile:
    """One version of a remote file; all methods may be called from several threads at once.

    Parameters
    ----------
    url
        Where it is.

    Attributes
    ----------
    version
        As it was opened. Bytes of another version raise.
    failure
        The last failure, for who must know whether a reader swallowed one.

    Raises
    ------
    FileNotFoundError
        It is not there.
    RemoteError
        It cannot be asked for, or not read in ranges.
    """

    def __init__(self, url: str) -> None:
        self._shown, self._name = shown_url(url), identity(url)
        self._transport = transport(url)
        self._cache = block_cache()
        self._lock = threading.Lock()
        self._coming: dict[int, Future[bytes]] = {}
        self.failure: RemoteError | None = None
        known = self._cache.version(self._name)
        self.version, first = self._persistently(lambda: self._transport.open(known, BLOCK))
        if not self.version.mark:  # nothing would tell its blocks from those of another version
            self._name += uuid.uuid4().hex
        if self.version != known:
            self._cache.note_version(self._name, self.version)
        for number in range(-(-len(first) // BLOCK)):
            self._arrived(number, first[number * BLOCK : (number + 1) * BLOCK])

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.version.size

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Bytes from `offset` on, fewer at the end of the file.

        Raises
        ------
        RemoteError
            They cannot be read now, or the file was changed.
        """
        stop = min(offset + n_bytes, self.size)
        if offset < 0 or stop <= offset:
            return b""
        first = offset // BLOCK
        blocks = self._load(range(first, (stop - 1) // BLOCK + 1))
        data = blocks[first] if len(blocks) == 1 else b"".join(blocks[i] for i in sorted(blocks))
        return data[offset - first * BLOCK : stop - first * BLOCK]

    def prefetch(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Fetch what is missing of some ranges, (offset, bytes), many requests at a time."""
        wanted = sorted(self._blocks_of(ranges))
        for start in range(0, len(wanted), _AHEAD):
            self._load(wanted[start : start + _AHEAD])

    def stream(self) -> io.RawIOBase:
        """The file as a stream of its own position."""
        return _Stream(self)

    def check(self) -> None:
        """Raise the last failure, if there was one."""
        if self.failure is not None:
            raise self.failure

    def _blocks_of(self, ranges: Iterable[tuple[int, int]]) -> set[int]:
        found: set[int] = set()
        for offset, n_bytes in ranges:
            stop = min(offset + n_bytes, self.size)
            if 0 <= offset < stop:
                found.update(range(offset // BLOCK, (stop - 1) // BLOCK + 1))
        return found

    def _load(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """Blocks, from the cache or fetched; what another thread fetches is waited for."""
        found: dict[int, bytes] = {}
        mine: dict[int, Future[bytes]] = {}
        theirs: dict[int, Future[bytes]] = {}
        with self._lock:
            for number in numbers:
                if number in self._coming:
                    theirs[number] = self._coming[number]
                else:
                    mine[number] = self._coming[number] = Future()
        if mine:
            self._bring(mine)
        found |= {number: future.result() for number, future in (mine | theirs).items()}
        return found

    def _bring(self, mine: dict[int, "Future[bytes]"]) -> None:
        """Fulfil futures; all of them are done when this returns or raises."""
        try:
            missing = []
            for number in mine:
                data = self._cache.get(self._name, self.version, number)
                if data is not None and len(data) == self._length(number):
                    self._fulfil(number, data)
                else:
                    missing.append(number)
            runs = _runs(missing)
            if len(runs) == 1:
                self._fetch(runs[0])
            else:
                in_threads(self._fetch, runs)
        except BaseException as error:
            failure: BaseException = error
            if isinstance(error, RemoteError):
                self.failure = error
            elif not isinstance(error, Exception):  # this thread was interrupted, others were not
                failure = RemoteError(f"{self._shown}: reading was stopped.")
            with self._lock:
                left = [future for number in mine if (future := self._coming.pop(number, None))]
            for future in left:
                future.set_exception(failure)
            raise

    def _fetch(self, numbers: Sequence[int]) -> None:
        start, stop = numbers[0] * BLOCK, min((numbers[-1] + 1) * BLOCK, self.size)
        data = self._persistently(lambda: self._transport.read(start, stop, self.version))
        for number in numbers:
            at = number * BLOCK - start
            self._arrived(number, data[at : at + BLOCK])

    def _arrived(self, number: int, data: bytes) -> None:
        self._cache.put(self._name, self.version, number, data)
        self._fulfil(number, data)

    def _fulfil(self, number: int, data: bytes) -> None:
        with self._lock:
            future = self._coming.pop(number, None)
        if future is not None:
            future.set_result(data)

    def _length(self, number: int) -> int:
        return min(BLOCK, self.size - number * BLOCK)

    def _persistently(self, ask: Callable[[], T]) -> T:
        """Ask again, a few times, what was interrupted."""
        for pause in (*_PAUSES_S, None):
            try:
                return ask()
            except Interrupted as error:
                if pause is None:
                    raise RemoteError(
                        f"{self._shown}: {error}. Is there a network? Try again: what has been "
                        "read by now is kept."
                    ) from None
            time.sleep(pause)
        raise AssertionError


class _Stream(io.RawIOBase):
    """A remote file with a position."""

    def __init__(self, file: RemoteFile) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if origin + offset < 0:
            raise ValueError(f"there is no byte {origin + offset}")
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self._file.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Numbers that follow each other, together up to the most of one request."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1 and len(runs[-1]) < _MOST_TOGETHER:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def in_threads(ask: Callable[[U], object], of: Iterable[U]) -> None:
    """Ask for several things at once; the first error is raised.

    In threads that do not keep the program from ending while a server hangs, as those of
    `concurrent.futures` would.
    """
    waiting = list(of)
    errors: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if errors or not waiting:
                    return
                one = waiting.pop(0)
            try:
                ask(one)
            except BaseException as error:
                errors.append(error)

    threads = [
        threading.Thread(target=work, name="nh2st-remote", daemon=True)
        for _ in range(min(_REQUESTS_AT_ONCE, len(waiting)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
