"""``nh2st cache``: what is kept is shown, and deleted where that can be made again."""

import json
from pathlib import Path

from command_results import Nh2st
from napari_nh2st.inference.store import ResultStore, kept_store


def keep(cache: Path, name: str, size: int) -> Path:
    file = cache / name / "deep" / "file"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(size))
    return file


def test_what_is_kept_is_listed_with_its_size_and_its_limit(nh2st: Nh2st, own_cache: Path) -> None:
    assert nh2st("cache", "list").code == 0  # of nothing
    keep(own_cache, "features", 2_500_000)
    keep(own_cache, "strange", 10)
    result = nh2st("cache", "list")
    assert result.code == 0
    assert str(own_cache) in result.out
    (features,) = [line for line in result.out.splitlines() if line.startswith("features")]
    assert "2.5 MB" in features
    assert "NH2ST_FEATURE_CACHE_GB" in features
    assert "2.5 MB in all" in result.out
    content = json.loads(nh2st("cache", "list", "--json").out)
    assert content["folder"] == str(own_cache)
    assert [(each["name"], each["n_bytes"]) for each in content["kinds"]] == [
        ("features", 2_500_000),
        ("strange", 10),
    ]


def test_clearing_leaves_what_cannot_be_made_again_unless_it_is_named(
    nh2st: Nh2st, own_cache: Path
) -> None:
    files = {name: keep(own_cache, name, 100) for name in ("features", "remote", "log", "strange")}
    result = nh2st("cache", "clear")
    assert (result.code, "features: 100 B deleted" in result.out) == (0, True)
    assert {name for name, file in files.items() if file.exists()} == {"log", "strange"}
    assert nh2st("cache", "clear", "--what", "log").code == 0
    assert not files["log"].exists()
    assert "nothing to delete" in nh2st("cache", "clear").out
    wrong = nh2st("cache", "clear", "--what", "strange")
    assert wrong.code == 2
    assert files["strange"].exists()


def test_links_are_deleted_and_what_they_lead_to_stays(
    nh2st: Nh2st, own_cache: Path, tmp_path: Path
) -> None:
    other = keep(tmp_path, "other", 5)
    (own_cache / "levels").mkdir()
    (own_cache / "levels" / "link").symlink_to(other.parent, target_is_directory=True)
    assert nh2st("cache", "clear", "--what", "levels").code == 0
    assert not list((own_cache / "levels").iterdir())
    assert other.exists()


def test_results_that_a_run_has_open_stay_and_it_is_said(nh2st: Nh2st, own_cache: Path) -> None:
    folder = own_cache / "predictions"
    folder.mkdir()
    stores = [ResultStore(kept_store(folder, {"of": name}), {"of": name}, 1) for name in "ab"]
    stores[0].close()
    result = nh2st("cache", "clear", "--what", "predictions")
    assert result.code == 2
    assert "predictions is in use" in result.err
    result = nh2st("cache", "clear", "--what", "predictions", "--json")
    assert (result.code, json.loads(result.out)["left"]) == (1, ["predictions"])
    stores[1].close()
    assert nh2st("cache", "clear", "--what", "predictions").code == 0
    assert not [path for path in folder.rglob("*") if path.is_file()]
