"""What a process of a crash point, an injected error or a kill does (see :mod:`forking`)."""

import resource
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from small_runs import RUNS, content, listing
from watched_files import Counter, Operation, Watcher, watch

from napari_nh2st.errors import InputError
from napari_nh2st.files import recover


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves where nothing goes wrong.

    Parameters
    ----------
    before
        Digests of the results that were there before it.
    operations
        That it makes on files in its folder.
    listing
        Of its folder afterwards.
    contents
        Digest by result.
    told
        The sentences for the user.
    """

    before: dict[str, str]
    operations: tuple[Operation, ...]
    listing: tuple[str, ...]
    contents: dict[str, str]
    told: tuple[str, ...]


@dataclass(frozen=True)
class Afterwards:
    """What the next run found and left.

    Parameters
    ----------
    lost
        Of the results that were there before the first run, those that it found neither as they
        were nor as they were to become.
    refused
        Why it did nothing; ``""`` where it ran.
    listing, contents
        As in :class:`Undisturbed`.
    """

    lost: tuple[str, ...]
    refused: str
    listing: tuple[str, ...]
    contents: dict[str, str]


def prepare(name: str, folder: Path) -> None:
    """Write what is there before a run."""
    warnings.simplefilter("ignore")
    folder.mkdir(parents=True)
    RUNS[name].prepare(folder)


def undisturbed(name: str, folder: Path) -> Undisturbed:
    """Do a run to its end and look at what it left."""
    warnings.simplefilter("ignore")
    before = {result: content(folder / result) for result in RUNS[name].existing}
    counter = Counter()
    watch(folder, counter)
    told = tuple(RUNS[name].run(folder))
    operations = tuple(counter.operations)
    return Undisturbed(before, operations, tuple(listing(folder)), results(name, folder), told)


def disturbed(name: str, folder: Path, watcher: Watcher | None) -> tuple[str, ...]:
    """Do a run in which something happens to it; gives what it tells the user."""
    warnings.simplefilter("ignore")
    if watcher is not None:
        watch(folder, watcher)
    return tuple(RUNS[name].run(folder))


def disturbed_by_file_size(name: str, folder: Path, largest: int) -> None:
    """Do a run in which no file may become larger, whoever writes it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writes_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # Python would leave half of a compiled module
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    try:
        disturbed(name, folder, None)
    finally:  # how it ended is written to a file too
        sys.dont_write_bytecode = writes_bytecode
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_again(name: str, folder: Path, clean: Undisturbed) -> Afterwards:
    """Look at what a disturbed run left, and do it again."""
    warnings.simplefilter("ignore")
    lost = tuple(
        f"{result}: {why}"
        for result, digest in clean.before.items()
        if (why := _lost(folder / result, (digest, clean.contents.get(result, ""))))
    )
    refused = ""
    try:
        RUNS[name].run(folder)
    except InputError as error:  # a training that was over already
        refused = str(error)
    return Afterwards(lost, refused, tuple(listing(folder)), results(name, folder))


def look(name: str, folder: Path) -> Afterwards:
    """Look at what a run left that said that it was done."""
    return Afterwards((), "", tuple(listing(folder)), results(name, folder))


def results(name: str, folder: Path) -> dict[str, str]:
    """Digests of the results; raises where one is damaged."""
    return {result: content(folder / result.format(folder.name)) for result in RUNS[name].results}


def _lost(path: Path, digests: Sequence[str]) -> str:
    """Why a result is neither what it was nor what it was to be; ``""`` where it is whole.

    A folder cannot be replaced in one step. Between the two it lies whole under a hidden name,
    until whatever starts next puts it back.
    """
    if not path.exists():
        recover(path)
    if not path.exists():
        return "is gone"
    try:
        return "" if content(path) in digests else "has other content"
    except Exception as error:
        return f"is damaged ({error})"
