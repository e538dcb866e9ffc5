"""Files and folders that are written complete, or not at all, and locks.

A draft is written beside its place, in a hidden folder that its process holds locked. It is brought
to the disk, and renamed only then: whenever the machine stops, the place holds what was there
before or all of the new. What a killed process left is put right by :func:`recover`.
"""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from napari_nh2st.errors import InputError

_LOCK, _OLD, _NEW = "lock", "old", "new"
"""Names in a draft's folder: its lock, what is replaced, and the folder of the draft itself."""

_INFIX = ".nh2st-"
"""Part of the name of such a folder, before what is unique to a draft."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What file systems answer that have no locks, such as some network shares."""

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems answer that know no way to bring something to the disk."""


class InUse(InputError):
    """Another process, or another part of this one, holds a lock."""


class Lock:
    """A lock file that is held from the making on; the system lets go of it when a process ends.

    Parameters
    ----------
    path
        The file, made if it is not there; its folder must exist.

    Raises
    ------
    InUse
        Somebody holds it.
    OSError
        The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Not by thread: a generator that holds a lock may be closed in another one.
        self._lock = FileLock(path, blocking=False, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise InUse(f"{path} is held by another run") from None

    def release(self) -> None:
        """Let go of it, and remove the file."""
        if not self._lock.is_locked:
            return
        # While it is held: once it is let go the file may be another's. Windows removes no open
        # file, but none that another holds either.
        with suppress(OSError):
            self.path.unlink()
        with suppress(OSError):  # of a share that is away: it has let go of it itself
            self._lock.release()
        if os.name == "nt":
            with suppress(OSError):
                self.path.unlink()


def check_place(
    path: Path,
    overwrite: bool,
    *,
    is_ours: Callable[[Path], bool],
    kind: str,
    folder: bool = False,
) -> None:
    """Check beforehand that something can be written at a place.

    Parameters
    ----------
    path
        The place.
    overwrite
        Whether an existing file or folder may be replaced, if this program wrote it.
    is_ours
        Tells by its content whether this program wrote an existing file or folder. Called only if
        it may be replaced.
    kind
        What it has to be, in words, such as ``"a prediction that NH2ST wrote"``.
    folder
        Whether a folder is to be written, or a file.

    Raises
    ------
    InputError
        Something exists that may not be replaced, or its parent folder is missing or cannot be
        written to.
    """
    recover(path)
    place = _behind_links(path)
    if place.exists():
        if not overwrite:
            raise InputError(f"{path} already exists; give another name or allow overwriting")
        if place.is_dir() and not folder:
            raise InputError(f"{path} is a folder; give the name of a file")
        if folder and not place.is_dir():
            raise InputError(f"{path} is a file; give the name of a folder")
        if not (folder or place.is_file()):
            raise InputError(f"{path} is a device or a pipe; give the name of a file")
        if not is_ours(place):
            raise InputError(
                f"{path} is not {kind}: it is not overwritten. Give another name, or remove it "
                "yourself."
            )
    around = place.absolute().parent
    if not around.is_dir():
        raise InputError(f"{path}: there is no folder {around}")
    try:
        with tempfile.TemporaryFile(dir=around):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def whole_output(path: Path) -> Iterator[Path]:
    """Write beside a place first; move the result there if the block ends without an error.

    What existed under the name stays as it is until the new one is complete and on disk. A file
    that is replaced keeps its permissions. If it is a symbolic link, its target is replaced.

    Parameters
    ----------
    path
        File or folder to make. An existing one is replaced: call :func:`check_place` first.

    Yields
    ------
    Path
        Path to write to: on the same disk, with the same name.

    Raises
    ------
    InputError
        Writing failed, for example on a full disk.
    """
    place = _behind_links(path).absolute()
    try:
        recover(place)
        work, lock = _new_work_folder(place)
        try:
            draft = work / _NEW / place.name
            yield draft
            _permit(draft)
            if place.exists():
                draft.chmod(stat.S_IMODE(place.stat().st_mode))
            sync(draft.parent)
            _move(draft, place)
        finally:
            _put_back(work, place)
            _clear(work, lock)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, complete or not at all; an existing one is replaced.

    Raises
    ------
    InputError
        It cannot be written.
    """
    with whole_output(path) as draft:
        draft.write_text(text, encoding="utf-8")


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it, in one step as others see it; what cannot be removed stays.

    Where a process is killed meanwhile, :func:`recover` removes the rest.
    """
    folder = folder.absolute()
    with suppress(OSError):
        work, lock = _new_work_folder(folder)
        try:
            folder.rename(work / _NEW / folder.name)
        finally:
            _clear(work, lock)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, if they do not exist.

    Raises
    ------
    InputError
        It cannot be made, or a file of that name exists.
    """
    try:
        if not folder.absolute().parent.is_dir():
            make_folder(folder.absolute().parent)
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            _sync_folder(folder.absolute().parent)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None


def recover(path: Path) -> None:
    """Put right what killed processes left in writing a file or folder, and remove their drafts.

    A folder cannot be replaced in one step. Where a process was killed between the two, there is
    none under the name, and the new one, which is whole by then, takes its place. What a living
    process writes is left alone.

    Parameters
    ----------
    path
        As given to :func:`whole_output`; what has its name and a suffix more counts too. Nothing
        happens where its folder cannot be written to.
    """
    place = _behind_links(path).absolute()
    of_place, of_parts = _prefix(place), f".{place.name}."
    with suppress(OSError):
        for entry in [*place.parent.iterdir()]:
            name = entry.name
            if name.startswith(of_place):
                _recover_from(entry, place)
            elif name == f"{of_parts}lock" or (
                name.startswith(of_parts) and name.endswith(".partial.lock")
            ):
                with suppress(InUse):
                    Lock(entry).release()
            elif name.startswith(of_parts) and _INFIX in name:  # such as of its results
                part = name[1 : name.rindex(_INFIX)]
                _recover_from(entry, place.with_name(part))


def recover_all_in(folder: Path) -> None:
    """Recover all that is written in a folder; for one that nobody else writes to."""
    with suppress(OSError):
        for entry in [*folder.iterdir()]:
            if entry.name.startswith(".") and _INFIX in entry.name:
                name = entry.name[1 : entry.name.rindex(_INFIX)]
                _recover_from(entry, folder / name)


def sync(path: Path) -> None:
    """Bring a file, or a folder with all in it, to the disk.

    Raises
    ------
    OSError
        The disk is full or broken. File systems that cannot do it are no error.
    """
    if not path.is_dir():
        _sync(path, os.O_RDWR)  # Windows syncs only what may be written
        return
    for parent, _, names in os.walk(path, topdown=False):
        for name in names:
            file = Path(parent, name)
            if not file.is_symlink():
                _sync(file, os.O_RDWR)
        _sync_folder(Path(parent))


def _behind_links(path: Path) -> Path:
    """What a symbolic link leads to: writing to a link writes there, as with any program."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _prefix(place: Path) -> str:
    name = place.name
    if len(os.fsencode(name)) > 200:  # most file systems know names of 255 bytes
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}{_INFIX}"


def _new_work_folder(place: Path) -> tuple[Path, Lock | None]:
    """A folder for a draft, and its lock; None where the file system has no locks."""
    while True:
        work = Path(tempfile.mkdtemp(prefix=_prefix(place), dir=place.parent))
        try:
            (work / _NEW).mkdir()
            return work, _lock_if_possible(work / _LOCK)
        except (InUse, FileNotFoundError):  # another process took it for one that was left
            continue
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def _lock_if_possible(path: Path) -> Lock | None:
    # Where a draft cannot be locked, recover() cannot lock it either, and leaves it alone.
    try:
        return Lock(path)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return None


def _move(draft: Path, place: Path) -> None:
    if place.is_dir() and draft.is_dir():
        work = draft.parent.parent
        place.rename(work / _OLD)
        _sync_folder(work)
    draft.replace(place)
    _sync_folder(place.parent)


def _put_back(work: Path, place: Path) -> None:
    """Where there is no folder under the name any more, the earlier one."""
    with suppress(OSError):
        if (work / _OLD).exists() and not place.exists():
            (work / _OLD).rename(place)


def _recover_from(work: Path, place: Path) -> None:
    try:
        lock = Lock(work / _LOCK)  # whoever is just making the folder makes another
    except (InUse, OSError):
        return
    # The earlier one was moved here when the draft was whole.
    draft = work / _NEW / place.name
    if (work / _OLD).exists() and draft.exists() and not place.exists():
        with suppress(OSError):
            _move(draft, place)
    _put_back(work, place)
    _clear(work, lock)


def _clear(work: Path, lock: Lock | None) -> None:
    for name in (_NEW, _OLD):  # the lock last, so that a kill meanwhile leaves it
        shutil.rmtree(work / name, ignore_errors=True)
    with suppress(OSError):
        if lock is not None:
            lock.release()
        else:
            (work / _LOCK).unlink(missing_ok=True)  # of who tried in vain to lock it
    with suppress(OSError):
        work.rmdir()


def _permit(draft: Path) -> None:
    """Give what is in a draft the permissions that new files have, also where a library did not."""
    probe = draft.parent / f"{draft.name[:100]}.permissions"
    probe.touch()
    usual = stat.S_IMODE(probe.stat().st_mode)
    of_folder = usual | (usual & 0o444) >> 2  # who may read may enter
    probe.unlink()
    for path in (draft, *draft.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | (of_folder if path.is_dir() else usual)
        if wanted != mode:
            path.chmod(wanted)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # which knows no such thing
        return
    try:
        _sync(folder, os.O_RDONLY)
    except OSError as error:
        # A folder that may be written and not read, or a file system without it.
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EISDIR, errno.EBADF}:
            raise
