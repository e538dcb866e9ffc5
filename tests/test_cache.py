"""Folders of cached files: their bounds, and what goes first."""

import os
from pathlib import Path

import pytest

from napari_nh2st.cache import bounded_cache_folder, mark_used, remove_least_used, total_bytes
from napari_nh2st.errors import InputError


def write_files(folder: Path, names: str = "abcd") -> list[Path]:
    """Files of 10 bytes, the first used longest ago."""
    files = []
    for number, name in enumerate(names):
        path = folder / name
        path.write_bytes(bytes(10))
        os.utime(path, (number, number))
        files.append(path)
    return files


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    files = [*write_files(tmp_path), tmp_path / "gone"]
    assert total_bytes(files) == 40
    mark_used(files[0], 0.0)
    assert remove_least_used(files, 25, keep={"c"}) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    assert remove_least_used(files, 20) == 20
    mark_used(files[2], files[0].stat().st_mtime)  # noted a minute ago at most
    assert files[2].stat().st_mtime == 2
    assert remove_least_used(files, 0) == 0


def test_the_bound_is_the_variable_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path))
    assert bounded_cache_folder("kind", "A_BOUND", 2.5) == (tmp_path / "kind", 2_500_000_000)
    monkeypatch.setenv("A_BOUND", "0.001")
    assert bounded_cache_folder("kind", "A_BOUND", 2.5)[1] == 1_000_000
    for text in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("A_BOUND", text)
        with pytest.raises(InputError, match="A_BOUND must be a number of GB"):
            bounded_cache_folder("kind", "A_BOUND", 2.5)
    monkeypatch.delenv("A_BOUND")
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    assert bounded_cache_folder("taken", "A_BOUND", 2.5)[1] == 0
