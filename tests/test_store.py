"""Results on disk are what was put there, whatever a kill left behind."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.store import ResultStore, forget_oldest, kept_store

IDENTITY = {"slide": "a", "genes": ["X", "Y"]}


_last: list[ResultStore] = []


def opened(folder: Path, identity: dict[str, Any] = IDENTITY) -> ResultStore:
    """A store as a new process opens it: what held it before has ended, and its lock with it."""
    while _last:
        _last.pop().close()
    _last.append(ResultStore(folder, identity, 2))
    return _last[0]


def rows(tiles: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.column_stack([tiles, -tiles]).astype(np.float32)


def fill(store: ResultStore, tiles: NDArray[np.int64], batch: int = 100) -> None:
    for start in range(0, len(tiles), batch):
        part = tiles[start : start + batch]
        store.append(part, rows(part), {})


def assert_stored(store: ResultStore, tiles: NDArray[np.int64]) -> None:
    found, values, failures = store.stored()
    np.testing.assert_array_equal(found, tiles)
    np.testing.assert_array_equal(values, rows(tiles))
    assert failures == {}


def test_rows_come_back_in_the_order_in_which_they_went_in(tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).permutation(5000)
    store = opened(tmp_path / "s.zarr")
    fill(store, tiles)
    store.flush()
    assert_stored(opened(tmp_path / "s.zarr"), tiles)


def test_rows_reach_the_disk_while_they_come(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(3000))
    found, _, _ = opened(tmp_path / "s.zarr").stored()
    assert 1000 < len(found) < 3000


def test_reasons_of_failed_tiles_are_kept_until_the_tile_is_good(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.zarr")
    tiles = np.arange(4)
    store.append(tiles, rows(tiles), {1: "damaged", 2: "gone"})
    store.flush()
    assert store.stored()[2] == {1: "damaged", 2: "gone"}
    store.append(np.array([1]), rows(np.array([1])), {})
    store.flush()
    assert opened(tmp_path / "s.zarr").stored()[2] == {2: "gone"}


def test_results_of_another_prediction_are_emptied(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(10))
    store.flush()
    other = opened(tmp_path / "s.zarr", IDENTITY | {"genes": ["Y", "X"]})
    assert_stored(other, np.arange(0))


def test_killed_between_writing_rows_and_counting_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(700))
    store.flush()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("zarr.core.attributes.Attributes.update", killed)
        fill(store, np.arange(9000, 9900))
        with pytest.raises(KeyboardInterrupt):
            store.flush()

    again = opened(tmp_path / "s.zarr")
    assert_stored(again, np.arange(700))
    fill(again, np.arange(700, 1000))
    again.flush()
    assert_stored(opened(tmp_path / "s.zarr"), np.arange(1000))


@pytest.mark.parametrize("part", ["X/c/0/0", "tile/c/0", "X/zarr.json", "tile/zarr.json"])
def test_a_damaged_store_starts_anew(tmp_path: Path, part: str) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(700))
    store.flush()
    damaged = tmp_path / "s.zarr" / part
    damaged.write_bytes(damaged.read_bytes()[:20])
    again = opened(tmp_path / "s.zarr")
    assert_stored(again, np.arange(0))
    fill(again, np.arange(30))
    again.flush()
    assert_stored(opened(tmp_path / "s.zarr"), np.arange(30))


@pytest.mark.parametrize("part", ["X/c/0/0", "tile/c/0"])
def test_rows_of_a_chunk_that_is_missing_are_not_there(tmp_path: Path, part: str) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(1024 + 300), batch=1024 + 300)
    store.flush()
    (tmp_path / "s.zarr" / part).unlink()
    assert_stored(opened(tmp_path / "s.zarr"), np.arange(1024, 1024 + 300))


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.zarr")
    fill(store, np.arange(10))
    with pytest.raises(InputError, match="in use"):
        ResultStore(tmp_path / "s.zarr", IDENTITY, 2)
    store.flush()
    assert_stored(opened(tmp_path / "s.zarr"), np.arange(10))


def test_slow_results_reach_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path / "s.zarr")
    now = time.monotonic()
    monkeypatch.setattr("napari_nh2st.inference.store.time.monotonic", lambda: now + 60)
    fill(store, np.arange(5))
    assert_stored(opened(tmp_path / "s.zarr"), np.arange(5))


def test_a_folder_that_is_no_store_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "s.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_text("{")
    assert_stored(opened(folder), np.arange(0))


def test_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path / "s.zarr")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.Array.__setitem__", full)
    fill(store, np.arange(10))
    with pytest.raises(InputError, match=r"s\.zarr cannot be written: No space left on device"):
        store.flush()


def kept(folder: Path, name: str, n: int, age_s: float) -> Path:
    """A store of n rows that was used so long ago, and that nobody holds."""
    path = kept_store(folder, {"name": name})
    store = ResultStore(path, {"name": name}, 2)
    store.append(np.arange(n), rows(np.arange(n)), {})
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
    assert len(held.stored()[0]) == 100
    held.close()
    forget_oldest(tmp_path, 0)
    assert not path.exists()
