"""``nh2st predict`` over many slides: what it says, and its exit codes."""

import json
from pathlib import Path

import anndata
import pytest

from cohort_slides import write_model, write_slide
from command_results import Nh2st
from file_server import FileServer
from napari_nh2st.cohort import job


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    for number, name in enumerate("ab"):
        write_slide(folder / f"{name}.tif", number)
    return folder


def options(model: Path) -> tuple[object, ...]:
    how = ("--device", "cpu", "--precision", "float32", "--all-tiles", "--step-um", 32)
    return ("--model", model, "--mpp", 1, *how)


def test_slides_that_are_done_are_said_and_counted(
    nh2st: Nh2st, slides: Path, model: Path, tmp_path: Path
) -> None:
    command = ("predict", slides, "-o", tmp_path / "out", *options(model))
    result = nh2st(*command)
    assert result.code == 0, result.err
    assert result.out.startswith(f"{tmp_path / 'out'}: 2 of 2 slides predicted, 72 tiles; see ")
    assert "a: 36 tiles in" in result.err
    again = nh2st(*command)
    assert again.code == 0
    assert "a: 36 tiles done before" in again.err


def test_a_bad_slide_is_told_and_the_rest_is_done(
    nh2st: Nh2st, slides: Path, model: Path, tmp_path: Path
) -> None:
    (slides / "broken.svs").write_text("no slide", encoding="utf-8")
    command = ("predict", slides, "-o", tmp_path / "out", *options(model), "--json")
    result = nh2st(*command)
    assert result.code == 2
    assert "broken: failed: " in result.err
    told = json.loads(result.out)
    assert [slide["status"] for slide in told["slides"]] == ["done", "done", "failed"]
    assert told["slides"][2]["mean_reliability"] is None
    assert Path(told["summary"]).is_file()
    assert (tmp_path / "out" / "b.h5ad").is_file()


def test_an_error_nobody_foresaw_is_in_a_log(
    nh2st: Nh2st,
    slides: Path,
    model: Path,
    tmp_path: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by mistake")

    monkeypatch.setattr(job, "open_job", broken)
    command = ("predict", slides, "-o", tmp_path / "out", *options(model))
    result = nh2st(*command)
    assert result.code == 1
    assert "a: failed: ZeroDivisionError: by mistake (traceback in " in result.err
    logs = list((own_cache / "log").iterdir())
    assert len(logs) == 2
    assert "in broken" in logs[0].read_text(encoding="utf-8")
    result = nh2st(*command, "--most-errors", 1)
    assert result.code == 1
    assert "a slide failed unexpectedly: ZeroDivisionError" in result.err
    assert "1 of 2 slides done" in result.err


def test_one_slide_and_a_folder_make_a_cohort_of_one(
    nh2st: Nh2st, slides: Path, model: Path, tmp_path: Path
) -> None:
    result = nh2st("predict", slides / "a.tif", "-o", tmp_path / "out", *options(model))
    assert result.code == 0, result.err
    assert anndata.read_h5ad(tmp_path / "out" / "a.h5ad").n_obs == 36
    single = nh2st("predict", slides / "b.tif", "-o", tmp_path / "b.h5ad", *options(model))
    assert single.out == f"{tmp_path / 'b.h5ad'}: 36 tiles × 5 genes\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "give the folder to write to: -o FOLDER"),
        (("-o", "out.h5ad"), "out.h5ad: several slides need a folder"),
        (("-o", "out", "--picture", "maps.png"), "maps.png: pictures of several slides need a"),
        (("-o", "out", "--region", "r.geojson"), "a table of slides has a column region"),
        (("-o", "out", "--most-errors", "0"), "most_errors is 0; it must be from 1"),
    ],
)
def test_what_does_not_fit_many_slides_is_refused(
    nh2st: Nh2st, slides: Path, more: tuple[str, ...], message: str
) -> None:
    result = nh2st("predict", slides, *more)
    assert result.code == 2
    assert message in result.err


def test_urls_are_slides_and_what_fails_at_one_stops_no_other(
    nh2st: Nh2st, server: FileServer, model: Path, tmp_path: Path
) -> None:
    write_slide(server.folder / "a.tif")
    address = server.url.replace("//", "//me:secret@")
    result = nh2st("info", f"{address}/a.tif", "--json")
    assert result.code == 0
    assert json.loads(result.out)["path"] == f"{server.url}/a.tif"
    urls = (f"{address}/a.tif?sig=secret", f"{address}/none.tif")
    result = nh2st("predict", *urls, "-o", tmp_path / "out", *options(model))
    assert result.code == 2
    assert f"none: failed: {server.url}/none.tif: there is no such file." in result.err
    assert "secret" not in result.out + result.err
    summary = (tmp_path / "out" / "summary.csv").read_text(encoding="utf-8")
    assert f"{server.url}/a.tif?…,a.h5ad,done" in summary
    assert "secret" not in summary


def test_an_estimate_is_of_each_slide_and_of_all(
    nh2st: Nh2st, slides: Path, model: Path, tmp_path: Path
) -> None:
    (slides / "broken.svs").write_text("no slide", encoding="utf-8")
    command = ("predict", slides, "--estimate", *options(model))
    result = nh2st(*command)
    assert result.code == 2
    lines = result.out.splitlines()
    assert [line.rpartition(" tiles")[0] for line in lines[:3]] == [
        "a: 32 µm · 36",
        "b: 32 µm · 36",
        "all: 2 of 3 slides · 72",
    ]
    assert "broken: failed: " in result.err
    told = json.loads(nh2st(*command, "--json").out)
    assert told["n_tiles"] == 72
    assert [slide.get("n_tiles") for slide in told["slides"]] == [36, 36, None]


def test_each_slide_has_its_picture(
    nh2st: Nh2st, slides: Path, model: Path, tmp_path: Path
) -> None:
    command = ("predict", slides, "-o", tmp_path / "out", *options(model))
    pictures = tmp_path / "maps"
    assert nh2st(*command, "--picture", pictures).code == 0
    assert sorted(path.name for path in pictures.iterdir()) == ["a.png", "b.png"]
    (pictures / "a.png").unlink()
    (pictures / "b.png").write_text("a letter", encoding="utf-8")
    (tmp_path / "out" / "b.h5ad").unlink()
    result = nh2st(*command, "--picture", pictures)
    assert result.code == 0
    assert (pictures / "a.png").is_file()
    assert "b: no picture: " in result.err
    assert (pictures / "b.png").read_text(encoding="utf-8") == "a letter"
