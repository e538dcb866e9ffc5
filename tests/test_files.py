"""Files and folders are whole under their names, whenever a process or a machine stops."""

import errno
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from file_operations import killed_at, needs_fork, recorded
from napari_nh2st import files
from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse, Lock, check_place, make_folder, recover, whole_output

Write = Callable[[Path, str], None]


def write_file(path: Path, text: str) -> None:
    files.write_text(path, text)


def write_folder(path: Path, text: str) -> None:
    with whole_output(path) as draft:
        (draft / "deep").mkdir(parents=True)
        (draft / "deep" / "first").write_text(text, encoding="utf-8")
        (draft / "second").write_text(text, encoding="utf-8")


def content(path: Path) -> set[str]:
    """Of all files there: one text where what is there is whole and of one writing."""
    if path.is_file():
        return {path.read_text(encoding="utf-8")}
    assert sorted(f.relative_to(path).as_posix() for f in path.rglob("*")) == [
        "deep",
        "deep/first",
        "second",
    ]
    return {
        (path / "deep" / "first").read_text(encoding="utf-8"),
        (path / "second").read_text(encoding="utf-8"),
    }


both = pytest.mark.parametrize("write", [write_file, write_folder])


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    with recorded(tmp_path) as found:
        write_file(tmp_path / "out", "new")
    work = found[0][1].split("/")[0]
    new = f"{work}/new"
    draft = f"{new}/out"
    assert found == [
        ("fsync", draft),
        ("fsync", new),
        ("rename", draft, "out"),
        ("fsync", "."),
        ("rmtree", new),
        ("rmtree", f"{work}/old"),
    ]


def test_a_folder_is_on_the_disk_with_all_in_it_before_the_earlier_one_goes(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path / "out", "earlier")
    with recorded(tmp_path) as found:
        write_folder(tmp_path / "out", "new")
    work = found[0][1].split("/")[0]
    new = f"{work}/new"
    written = [f"{new}/out/deep/first", f"{new}/out/deep", f"{new}/out/second", f"{new}/out", new]
    n = len(written)
    assert sorted(found[:n]) == sorted(("fsync", path) for path in written)
    assert found[n:] == [
        ("rename", "out", f"{work}/old"),
        ("fsync", work),
        ("rename", f"{new}/out", "out"),
        ("fsync", "."),
        ("rmtree", new),
        ("rmtree", f"{work}/old"),
    ]


def test_new_folders_are_on_the_disk(tmp_path: Path) -> None:
    with recorded(tmp_path) as found:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    assert found == [("fsync", "."), ("fsync", "a")]


@needs_fork
@both
@pytest.mark.parametrize("is_there", [True, False])
def test_a_kill_at_any_operation_leaves_the_earlier_or_the_new(
    tmp_path: Path, write: Write, is_there: bool
) -> None:
    for number in count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "out"
        if is_there:
            write(path, "earlier")
        if not killed_at(number, folder, lambda path=path: write(path, "new")):  # type: ignore[misc]
            break
        if write is write_file and is_there:
            assert content(path) in ({"earlier"}, {"new"}), f"operation {number}"
        recover(path)
        if is_there or path.exists():
            assert content(path) in ({"earlier"}, {"new"}), f"operation {number}"
        assert [left.name for left in folder.iterdir()] in ([], ["out"])
        write(path, "after")
        assert content(path) == {"after"}
    assert number > 8


@needs_fork
@both
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_an_error_at_any_operation_leaves_the_earlier_or_the_new(
    tmp_path: Path, write: Write, code: int
) -> None:
    for number in count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "out"
        write(path, "earlier")
        error = OSError(code, os.strerror(code))
        if not killed_at(number, folder, lambda path=path: write(path, "new"), error):  # type: ignore[misc]
            break
        assert content(path) in ({"earlier"}, {"new"}), f"operation {number}"
        write(path, "after")
        assert [left.name for left in folder.iterdir()] == ["out"], f"operation {number}"
        assert content(path) == {"after"}
    assert number > 8


def test_the_draft_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with whole_output(tmp_path / "out") as draft:
        draft.write_text("first", encoding="utf-8")
        recover(tmp_path / "out")
        write_file(tmp_path / "out", "second")
        assert draft.read_text(encoding="utf-8") == "first"
    assert content(tmp_path / "out") == {"first"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_others_call_alike_is_left_alone(tmp_path: Path) -> None:
    for name in (".out.swp", ".out2.nh2st-abc", "out.nh2st-abc"):
        (tmp_path / name).mkdir()
    write_file(tmp_path / "out", "new")
    assert len(list(tmp_path.iterdir())) == 4


def test_file_systems_that_cannot_sync_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refused)
    write_folder(tmp_path / "out", "new")
    assert content(tmp_path / "out") == {"new"}


def test_a_disk_that_fails_to_sync_is_told_and_the_earlier_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "out", "earlier")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InputError, match="out cannot be written: Input/output error"):
        write_file(tmp_path / "out", "new")
    assert content(tmp_path / "out") == {"earlier"}


@both
def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path: Path, write: Write) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "real"
    link = tmp_path / "link"
    link.symlink_to(target)
    write(link, "first")  # as with any program, also where there is nothing yet
    write(link, "second")
    assert link.is_symlink()
    assert content(target) == {"second"}
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["real"]


@pytest.mark.skipif(os.name == "nt", reason="permissions as POSIX knows them")
@both
def test_permissions_are_those_of_new_files_or_of_what_is_replaced(
    tmp_path: Path, write: Write
) -> None:
    earlier = os.umask(0o027)
    try:
        write(tmp_path / "out", "new")
        plain = tmp_path / "plain"
        if write is write_file:
            plain.touch()
        else:
            plain.mkdir()
        assert (tmp_path / "out").stat().st_mode == plain.stat().st_mode
        (tmp_path / "out").chmod(0o700)
        write(tmp_path / "out", "newer")
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    finally:
        os.umask(earlier)


@pytest.mark.skipif(os.name == "nt", reason="permissions as POSIX knows them")
def test_what_a_library_wrote_for_its_owner_alone_is_for_all_who_may(tmp_path: Path) -> None:
    with whole_output(tmp_path / "out") as draft:
        draft.mkdir()
        (draft / "weights").touch(0o600)
        draft.chmod(0o2700)
    (tmp_path / "plain").touch()
    mode = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "out" / "weights").stat().st_mode == mode
    assert (tmp_path / "out").stat().st_mode & stat.S_ISGID, "the group's folder stays one"


@pytest.mark.parametrize("name", ["lock", "old", "new", "x" * 250])
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / name, "first")
    write_folder(tmp_path / name, "second")
    assert content(tmp_path / name) == {"second"}
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "out", "folder")
    with pytest.raises(InputError, match="out cannot be written"):
        write_file(tmp_path / "out", "file")
    assert content(tmp_path / "out") == {"folder"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
def test_a_pipe_is_no_place_for_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out")
    with pytest.raises(InputError, match="is a device or a pipe"):
        check_place(tmp_path / "out", overwrite=True, is_ours=lambda _: True, kind="ours")


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(InUse):
        Lock(tmp_path / "lock")
    lock.release()
    lock.release()
    assert not list(tmp_path.iterdir())
    Lock(tmp_path / "lock").release()


@both
def test_file_systems_without_locks_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path / "out", "old")
    with whole_output(tmp_path / "other") as draft:
        draft.write_text("alive", encoding="utf-8")
        write(tmp_path / "out", "new")
        recover(tmp_path / "other")  # leaves alone what it cannot lock
    assert content(tmp_path / "out") == {"new"}
    assert (tmp_path / "other").read_text(encoding="utf-8") == "alive"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


@needs_fork
def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        Lock(tmp_path / "lock")
        os._exit(0)
    os.waitpid(child, 0)
    Lock(tmp_path / "lock").release()
