"""Tiles of a slide read by processes, for a device that takes more than threads can decode.

What is done in Python for each tile holds the interpreter's lock, and on many cores a thread waits
longer for it than it then works: see docs/benchmarks.md. Each process has a lock of its own. They
are on Linux alone, whose memory without a name is shared by an inherited file number.
"""

import math
import mmap
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.slide.bulk import BulkReader, TileBatch
from napari_nh2st.slide.level import Level
from napari_nh2st.slide.open import open_slide
from napari_nh2st.slide.slide import Slide

if sys.platform != "win32":
    from multiprocessing.connection import Connection, wait

_THREADS = 4
"""Of each process: as many as their lock keeps busy."""

_MOST_PROCESSES = 4
"""Each takes some 100 MB, and up to 128 MB of decoded segments. Four of four threads read three
times as fast as threads alone."""

_WORTH_TILES = 20_000
"""Fewer are read by threads before the processes have started."""

_LEAST_SEGMENTS = 1000
"""Of a level: wide segments would be decoded, and kept, by every process."""

_COMMAND = "from napari_nh2st.slide.reader_processes import serve; serve()"


def places_of_processes(level: Level, n_tiles: int) -> int:
    """Batches that processes on the cores of this one can read at a time; 0 for: let threads read.

    Parameters
    ----------
    level, n_tiles
        That is read, and how many tiles of it.
    """
    if sys.platform != "linux" or level.is_remote or n_tiles < _WORTH_TILES:
        return 0
    if level.n_segments[0] * level.n_segments[1] < _LEAST_SEGMENTS:
        return 0
    processes = min(_MOST_PROCESSES, len(os.sched_getaffinity(0)) // _THREADS)
    return _THREADS * processes if processes > 1 else 0


@dataclass(frozen=True)
class _Job:
    """What a process reads, as arguments of `open_slide` and `BulkReader`, and of which state."""

    path: str
    image: int | None
    fingerprint: str
    level: int
    top_left: NDArray[np.int64]
    size: tuple[int, int]


@dataclass(frozen=True)
class _Place:
    """A thread of a process: its connection, and the part of the memory that it reads into."""

    connection: "Connection[Any, Any]"
    tiles: NDArray[np.uint8]


class ReaderProcesses:
    """Processes that read tiles of a level of a slide, some threads each.

    They start in the background. A process that has not started, or has ended, reads nothing, and
    is no error: who asks reads the tiles as without it.

    Parameters
    ----------
    slide
        On this machine. Each process opens it by its path.
    level
        Number of the level that is read.
    top_left, size
        As for :class:`~napari_nh2st.slide.bulk.BulkReader`.
    batch_size
        Tiles that are asked for at a time, at most.
    places
        Batches that are read at a time, four by each process.

    Attributes
    ----------
    places
        The same.
    """

    def __init__(
        self,
        slide: Slide,
        level: int,
        top_left: NDArray[np.int64],
        size: tuple[int, int],
        batch_size: int,
        places: int,
    ) -> None:
        image = slide.image if len(slide.images) > 1 else None
        job = _Job(str(slide.path), image, slide.fingerprint, level, top_left, size)
        shape = places, batch_size, *size, 3
        described = pickle.dumps(job)
        self.places = places
        self._lock = threading.Lock()
        self._starting: list[_Place] = []
        self._free: list[_Place] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        with _memory(len(described)) as job_file, _memory(math.prod(shape)) as memory:
            os.pwrite(job_file, described, 0)
            tiles = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape(shape)
            command = [sys.executable, "-P", "-c", _COMMAND, str(job_file), str(memory)]
            command += [str(batch_size)]
            try:
                for first in range(0, places, _THREADS):
                    numbers = range(first, min(first + _THREADS, places))
                    self._start(command, (job_file, memory), numbers, tiles)
            except BaseException:
                self.close()
                raise

    def _start(
        self,
        command: list[str],
        files: tuple[int, int],
        numbers: range,
        tiles: NDArray[np.uint8],
    ) -> None:
        """Start a process that reads into the parts of these numbers."""
        ours, theirs = zip(*(socket.socketpair() for _ in numbers), strict=True)
        process = subprocess.Popen(
            command + [f"{n}:{end.fileno()}" for n, end in zip(numbers, theirs, strict=True)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(*files, *(end.fileno() for end in theirs)),
            start_new_session=True,  # Ctrl-C is for this process, which ends them
        )
        self._processes.append(process)
        for number, our, their in zip(numbers, ours, theirs, strict=True):
            their.close()
            self._starting.append(_Place(Connection(our.detach()), tiles[number]))

    def read(self, index: NDArray[np.int64], out: NDArray[np.uint8]) -> TileBatch | None:
        """Read some tiles, as :meth:`BulkReader.read` does; None where no process is free.

        From any number of threads at once.
        """
        place = self._free_place()
        if place is None:
            return None
        try:
            place.connection.send(index)
            failures: dict[int, str] | None = place.connection.recv()
        except (OSError, EOFError):  # it has ended, and will not be asked again
            place.connection.close()
            return None
        if failures is not None:
            np.copyto(out, place.tiles[: len(index)])
        with self._lock:
            self._free.append(place)
        return None if failures is None else TileBatch(index, out, failures)

    def _free_place(self) -> _Place | None:
        with self._lock:
            if self._free:
                return self._free.pop()
            for place in self._starting:
                try:
                    if not place.connection.poll(0):
                        continue
                    place.connection.recv()
                except (OSError, EOFError):
                    place.connection.close()
                    self._starting.remove(place)
                    return None
                self._starting.remove(place)
                return place
        return None

    def wait(self) -> None:
        """Wait until all processes have started, or ended."""
        for place in self._starting:
            wait([place.connection])

    def close(self) -> None:
        """End the processes; not while tiles are read."""
        for place in (*self._starting, *self._free):
            place.connection.close()
        self._starting, self._free = [], []
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


def serve() -> None:
    """Read the tiles that are asked for until the other end closes; a process's main program."""
    job_file, memory, batch_size, *places = sys.argv[1:]
    with mmap.mmap(int(job_file), 0, access=mmap.ACCESS_READ) as described:
        job: _Job = pickle.loads(described)
    pixels = np.frombuffer(mmap.mmap(int(memory), 0), np.uint8)
    tiles = pixels.reshape(-1, int(batch_size), *job.size, 3)
    with open_slide(job.path, image=job.image) as slide:
        if slide.fingerprint != job.fingerprint:  # another file has taken its place meanwhile
            return
        reader = BulkReader(slide.levels[job.level], job.top_left, job.size)

        def answer(place: str) -> None:
            number, end = map(int, place.split(":"))
            connection: Connection[Any, Any]
            with Connection(end) as connection, suppress(OSError, EOFError):
                connection.send(None)
                while True:  # until the other end is closed: all is done
                    index = connection.recv()
                    connection.send(_failures(reader, index, tiles[number]))

        with ThreadPoolExecutor(len(places)) as pool:
            list(pool.map(answer, places))


def _failures(
    reader: BulkReader, index: NDArray[np.int64], tiles: NDArray[np.uint8]
) -> dict[int, str] | None:
    """Read tiles; None where that is for the other process to find out, and to say."""
    try:
        return reader.read(index, out=tiles[: len(index)]).failures
    except Exception:
        return None


@contextmanager
def _memory(size: int) -> Iterator[int]:
    """File number of some memory; what is mapped of it stays."""
    number = os.memfd_create("nh2st")
    try:
        os.ftruncate(number, size)
        yield number
    finally:
        os.close(number)
