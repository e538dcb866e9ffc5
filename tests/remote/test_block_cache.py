"""Blocks of remote files: what is kept, for how long, and what a damaged or full disk does."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from napari_nh2st.remote import block_cache
from napari_nh2st.remote.block_cache import BlockCache
from napari_nh2st.remote.transport import Version

NAME, VERSION = "https://host/slide.svs", Version(3000, "first")


def other_process(folder: Path, max_bytes: int = 10**6) -> BlockCache:
    """A cache without anything in memory."""
    return BlockCache(folder, max_bytes)


def test_a_block_is_that_of_its_file_version_and_number(tmp_path: Path) -> None:
    other_process(tmp_path).put(NAME, VERSION, 2, b"bytes")
    cache = other_process(tmp_path)
    assert cache.get(NAME, VERSION, 2) == b"bytes"
    assert cache.get(NAME, VERSION, 3) is None
    assert cache.get("https://host/other.svs", VERSION, 2) is None
    for changed in (Version(3000, "second"), Version(3001, "first")):
        assert cache.get(NAME, changed, 2) is None
    (file,) = tmp_path.rglob("*-2")
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"?", b""):
        file.write_bytes(damaged)
        assert other_process(tmp_path).get(NAME, VERSION, 2) is None


def test_the_version_that_was_there_last_is_known(tmp_path: Path) -> None:
    cache = other_process(tmp_path)
    assert cache.version(NAME) is None
    cache.note_version(NAME, VERSION)
    assert other_process(tmp_path).version(NAME) == VERSION
    (file,) = tmp_path.rglob("version.json")
    for content in (b"", b"[3000]", b'["many", "first"]', b"null", b"\xff"):
        file.write_bytes(content)
        assert cache.version(NAME) is None


def test_memory_keeps_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cache, "_MEMORY", 250)
    cache = BlockCache(tmp_path, 0)  # nothing on the disk
    for number in range(2):
        cache.put(NAME, VERSION, number, bytes([number]) * 100)
    cache.put(NAME, VERSION, 1, b"n" * 100)  # again: it counts once
    assert cache.get(NAME, VERSION, 0) is not None
    cache.put(NAME, VERSION, 2, bytes(100))
    kept = [cache.get(NAME, VERSION, number) is not None for number in range(3)]
    assert kept == [True, False, True]
    assert not list(tmp_path.iterdir())


def test_a_cache_of_no_size_makes_no_folder(tmp_path: Path) -> None:
    BlockCache(tmp_path / "none", 0).put(NAME, VERSION, 0, b"bytes")
    assert not (tmp_path / "none").exists()


def test_the_disk_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = other_process(tmp_path, 10_000)
    for number in range(8):
        cache.put(NAME, VERSION, number, bytes(1000))
        path = max(tmp_path.rglob("*-*"), key=lambda path: path.stat().st_mtime)
        os.utime(path, (number, number))
    cache.put("https://host/old.svs", VERSION, 0, bytes(1000))
    (old,) = set(tmp_path.iterdir()) - {cache._of(NAME)}
    os.utime(next(old.iterdir()), (0, 0))
    assert other_process(tmp_path, 10_000).get(NAME, VERSION, 0) is not None  # used just now
    cache.put(NAME, VERSION, 8, bytes(2000))
    left = [other_process(tmp_path).get(NAME, VERSION, n) is not None for n in range(9)]
    assert left == [True, False, False, *[True] * 6]  # a tenth is free again
    assert not old.exists()  # nor is an empty folder left


def test_a_full_disk_is_not_tried_again_a_block_in_use_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def full(*_: object, **__: object) -> None:
        tried.append(1)
        raise OSError(errno.ENOSPC if len(tried) > 1 else errno.EACCES, "no")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    cache = other_process(tmp_path)
    for number in range(4):
        cache.put(NAME, VERSION, number, b"bytes")
        assert cache.get(NAME, VERSION, number) == b"bytes"
    assert len(tried) == 2
    monkeypatch.undo()
    assert other_process(tmp_path).get(NAME, VERSION, 0) is None


def test_what_cannot_be_finished_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr(Path, "replace", full)
    other_process(tmp_path).put(NAME, VERSION, 0, b"bytes")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
