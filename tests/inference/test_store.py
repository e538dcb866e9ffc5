"""Results on disk are what was put there, whatever a kill left behind."""

import errno
import os
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from file_operations import killed_at, needs_fork
from napari_nh2st.errors import InputError
from napari_nh2st.inference import store as store_module
from napari_nh2st.inference.store import (
    ResultStore,
    forget_oldest,
    kept_rows_store,
    kept_store,
    other_stores_beside,
    store_beside,
)

IDENTITY = {"slide": "a", "genes": ["X", "Y"]}


_last: list[ResultStore] = []


@pytest.fixture(autouse=True)
def opened_stores_are_closed() -> Iterator[None]:
    yield
    opened_stores_close()


def opened_stores_close() -> None:
    while _last:
        _last.pop().close()


def opened(folder: Path, identity: dict[str, Any] = IDENTITY) -> ResultStore:
    """A store as a new process opens it: what held it before has ended, and its lock with it."""
    opened_stores_close()
    _last.append(ResultStore(folder, identity, 2))
    return _last[0]


def rows(tiles: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.column_stack([tiles, -tiles]).astype(np.float32)


def fill(store: ResultStore, tiles: NDArray[np.int64], batch: int = 100) -> None:
    for start in range(0, len(tiles), batch):
        part = tiles[start : start + batch]
        store.append(part, rows(part))


def all_stored(store: ResultStore) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Tiles and values of all files together; of a tile that comes twice, the last."""
    parts = list(store.stored())
    tiles = np.concatenate([np.empty(0, np.int64), *(tiles for tiles, _ in parts)])
    values = np.concatenate([np.empty((0, 2), np.float32), *(values for _, values in parts)])
    last = {tile: place for place, tile in enumerate(tiles.tolist())}
    kept = np.array(sorted(last.values()), int)
    return tiles[kept], values[kept]


def assert_stored(store: ResultStore, tiles: NDArray[np.int64]) -> None:
    found, values = all_stored(store)
    np.testing.assert_array_equal(found, tiles)
    np.testing.assert_array_equal(values, rows(tiles))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_rows_come_back_in_the_order_in_which_they_went_in(tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).permutation(5000)
    store = opened(tmp_path / "s")
    fill(store, tiles)
    store.flush()
    assert_stored(opened(tmp_path / "s"), tiles)


def test_rows_reach_the_disk_while_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_MOST_BUFFERED_BYTES", 1000 * 2 * 4)
    store = opened(tmp_path / "s")
    fill(store, np.arange(2900))
    assert_stored(opened(tmp_path / "s"), np.arange(2000))


def test_slow_results_reach_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path / "s")
    now = time.monotonic()
    monkeypatch.setattr("napari_nh2st.inference.store.time.monotonic", lambda: now + 60)
    fill(store, np.arange(5))
    assert_stored(opened(tmp_path / "s"), np.arange(5))


def test_a_tile_counts_as_it_was_last(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    failed = np.full((2, 2), np.nan, np.float32)
    store.append(np.arange(3), rows(np.arange(3)))
    store.append(np.array([3, 4]), failed)
    store.flush()
    store.append(np.array([3]), rows(np.array([3])))
    store.flush()
    tiles, values = all_stored(opened(tmp_path / "s"))
    assert sorted(tiles) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(values[tiles == 3], rows(np.array([3])))
    assert np.isnan(values[tiles == 4]).all()


def test_results_of_another_prediction_are_left_as_they_are(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(10))
    store.flush()
    store.close()
    before = contents(tmp_path)
    with pytest.raises(InputError, match="holds the results of another prediction"):
        opened(tmp_path / "s", IDENTITY | {"genes": ["Y", "X"]})
    assert contents(tmp_path) == before


def test_predictions_with_one_output_have_stores_of_their_own(tmp_path: Path) -> None:
    output = tmp_path / "out.h5ad"
    other = IDENTITY | {"genes": ["Y", "X"]}
    folders = [store_beside(output, identity) for identity in (IDENTITY, other)]
    for folder, identity in zip(folders, (IDENTITY, other), strict=True):
        ResultStore(folder, identity, 2).close()
    (tmp_path / "out.h5ad.mine.partial").mkdir()
    assert other_stores_beside(output, folders[0]) == [folders[1]]


@pytest.mark.parametrize("name", ["a.txt", "zarr.json", None])
def test_a_folder_that_is_no_store_is_left_as_it_is(tmp_path: Path, name: str | None) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    if name:
        (folder / name).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"holds no results of this program\. It is left"):
        opened(folder)
    assert contents(tmp_path) == ({f"s/{name}": b"{}"} if name else {})
    assert folder.is_dir()


def damaged_files(content: bytes) -> list[bytes]:
    """Ways in which a disk spoils a file."""
    spoiled = bytearray(content)
    spoiled[len(content) // 2] ^= 1
    return [bytes(spoiled), content[:-30], content[: len(content) // 2], b"", b"\0" * len(content)]


@pytest.mark.parametrize("damage", range(5))
def test_of_a_damaged_file_only_its_own_tiles_are_lost(tmp_path: Path, damage: int) -> None:
    store = opened(tmp_path / "s")
    for start in (0, 50, 100):
        fill(store, np.arange(start, start + 50))
        store.flush()
    file = tmp_path / "s" / "2.npz"
    file.write_bytes(damaged_files(file.read_bytes())[damage])
    again = opened(tmp_path / "s")
    assert_stored(again, np.r_[0:50, 100:150])
    fill(again, np.arange(50, 100))
    again.flush()
    tiles, values = all_stored(opened(tmp_path / "s"))
    np.testing.assert_array_equal(values, rows(tiles))
    assert sorted(tiles) == list(range(150))


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(7))
    store.flush()
    file = tmp_path / "s" / "1.npz"
    whole = file.read_bytes()
    for place in range(0, len(whole), 3):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        file.write_bytes(spoiled)
        tiles, values = all_stored(store)
        np.testing.assert_array_equal(values, rows(tiles))
        assert len(tiles) in {0, 7}


def test_a_damaged_identity_is_told_and_nothing_is_deleted(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(10))
    store.flush()
    store.close()
    (tmp_path / "s" / "identity.json").write_text('{"what": ', encoding="utf-8")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"identity\.json is damaged\. It is left unchanged"):
        opened(tmp_path / "s")
    assert contents(tmp_path) == before


@needs_fork
@pytest.mark.parametrize(
    "code", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.ESTALE]
)
def test_an_error_in_reading_deletes_nothing(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "s")
    for start in (0, 50):
        fill(store, np.arange(start, start + 50))
        store.flush()
    store.close()
    before = contents(tmp_path)
    error = OSError(code, os.strerror(code))

    def work() -> None:
        tiles, _ = all_stored(ResultStore(tmp_path / "s", IDENTITY, 2))
        assert len(tiles) == 100, "all, or an error"

    for number in count(1):
        if not killed_at(number, tmp_path, work, error, reads=True):
            break
        assert {name: data for name, data in contents(tmp_path).items() if "lock" not in name} == (
            before
        )
    assert number > 5
    assert_stored(opened(tmp_path / "s"), np.arange(100))


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(10))
    with pytest.raises(InputError, match="in use"):
        ResultStore(tmp_path / "s", IDENTITY, 2)
    store.flush()
    assert_stored(opened(tmp_path / "s"), np.arange(10))


@needs_fork
def test_a_kill_at_any_operation_costs_what_was_not_flushed(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        store = ResultStore(folder / "s", IDENTITY, 2)
        for start in (0, 50):
            fill(store, np.arange(start, start + 50))
            store.flush()
            (folder.parent / f"{folder.name}-flushed").write_text(str(start + 50), encoding="utf-8")
        store.close()

    for number in count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        was_killed = killed_at(number, folder, partial(work, folder))
        note = tmp_path / f"{number}-flushed"
        flushed = int(note.read_text(encoding="utf-8")) if note.exists() else 0
        store = opened(folder / "s")
        tiles, values = all_stored(store)
        np.testing.assert_array_equal(values, rows(tiles))
        assert len(tiles) >= flushed
        store.flush()
        opened_stores_close()
        assert [path.name for path in folder.iterdir()] == ["s"]
        if not was_killed:
            break
    assert number > 10
    assert flushed == 100


def test_a_store_that_is_away_is_written_to_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("napari_nh2st.inference.store.time.monotonic", lambda: now)
    store = opened(tmp_path / "s")
    (tmp_path / "s").rename(tmp_path / "away")
    for start in (0, 50):
        now += 60
        fill(store, np.arange(start, start + 50))
    with pytest.raises(InputError, match="s cannot be written: it no longer exists"):
        store.flush()
    assert len(caplog.records) == 1, "said once"
    (tmp_path / "away").rename(tmp_path / "s")
    store.flush()
    assert_stored(opened(tmp_path / "s"), np.arange(100))


def test_a_removed_store_leaves_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(10))
    store.flush()
    store.remove()
    assert not list(tmp_path.iterdir())


def kept(folder: Path, name: str, n: int, age_s: float) -> Path:
    """A store of n rows that was used so long ago, and that nobody holds."""
    path = kept_store(folder, {"name": name})
    store = ResultStore(path, {"name": name}, 2)
    store.append(np.arange(n), rows(np.arange(n)))
    store.flush()
    store.close()
    for file in path.rglob("*"):
        os.utime(file, (time.time() - age_s, time.time() - age_s))
    return path


def test_of_kept_results_those_not_used_for_longest_go_first(tmp_path: Path) -> None:
    old, older, new = (
        kept(tmp_path, name, 100, age) for name, age in zip("abc", (50, 90, 1), strict=True)
    )
    size = sum(file.stat().st_size for file in new.rglob("*") if file.is_file())
    forget_oldest(tmp_path, 10 * size)
    assert all(path.is_dir() for path in (old, older, new))
    forget_oldest(tmp_path, 2.5 * size)
    assert not older.exists()
    assert old.is_dir()
    assert new.is_dir()
    forget_oldest(tmp_path, 0)
    assert not list(tmp_path.iterdir()), "nor their locks"


def test_kept_results_that_a_run_holds_are_not_deleted(tmp_path: Path) -> None:
    path = kept(tmp_path, "a", 100, 90)
    held = ResultStore(path, {"name": "a"}, 2)
    forget_oldest(tmp_path, 0)
    assert len(all_stored(held)[0]) == 100
    held.close()
    forget_oldest(tmp_path, 0)
    assert not path.exists()


def test_drafts_of_a_killed_run_are_removed_when_it_goes_on(tmp_path: Path) -> None:
    store = opened(tmp_path / "s")
    fill(store, np.arange(10))
    store.flush()
    for number in (1, 7):  # of a file that is there, and of one that never was
        (tmp_path / "s" / f".{number}.npz.nh2st-abc" / "new").mkdir(parents=True)
    assert_stored(opened(tmp_path / "s"), np.arange(10))
    assert not [entry for entry in (tmp_path / "s").iterdir() if entry.name.startswith(".")]


def test_a_file_has_a_number_that_none_had_before(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = opened(folder)
    for tile in range(3):
        store.append(np.array([tile]), rows(np.array([tile])))
        store.flush()
    (folder / "1.npz").unlink()  # damaged, and taken away by hand
    store = opened(folder)
    store.append(np.array([7]), rows(np.array([7])))
    store.flush()
    assert [tiles.tolist() for tiles, _ in store.stored()] == [[1], [2], [7]]


def test_encoded_rows_serve_all_genes_and_nothing_else(tmp_path: Path) -> None:
    place = kept_rows_store(tmp_path, IDENTITY)
    assert kept_rows_store(tmp_path, IDENTITY | {"genes": ["Z"], "head_values": True}) == place
    for other in ({"slide": "b"}, {"precision": "bfloat16"}):
        assert kept_rows_store(tmp_path, IDENTITY | other) != place
