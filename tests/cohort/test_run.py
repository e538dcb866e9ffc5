"""Prediction over many slides: each once, the bad ones named, and stopped ones resumed."""

import csv
import errno
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from cohort_slides import SETTINGS, write_model, write_slide
from napari_nh2st import load_model, open_slide, predict, predict_cohort, predict_cohort_events
from napari_nh2st.cohort import (
    CohortFinished,
    CohortSettings,
    CohortStarted,
    SlideEnded,
    SlideProgress,
    find_slides,
    job,
)
from napari_nh2st.cohort.early_end import CohortStopped, OutputLost
from napari_nh2st.errors import InputError
from napari_nh2st.files import Lock
from napari_nh2st.prediction import files as prediction_files

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Three good slides, a file that is none, and a text."""
    folder = tmp_path / "slides"
    for number, name in enumerate(["a", "c", "d"]):
        write_slide(folder / f"{name}.tif", number)
    (folder / "b.svs").write_text("no slide", encoding="utf-8")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    return folder


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return {row["output"]: row for row in csv.DictReader(file)}


def statuses(folder: Path) -> dict[str, str]:
    return {Path(name).stem: row["status"] for name, row in rows(folder).items()}


def run(slides: Path, output: Path, model: Path, **more: object) -> pd.DataFrame:
    settings = more.pop("settings", SETTINGS)
    found = find_slides([slides], mpp=1.0)
    return predict_cohort(found, output, model, settings, **more)  # type: ignore[arg-type]


def test_each_slide_has_the_prediction_that_it_has_alone(
    slides: Path, model: Path, tmp_path: Path
) -> None:
    table = run(slides, tmp_path / "out", model)
    assert list(table["status"]) == ["done", "failed", "done", "done"]
    assert "not a slide or image of a known format" in table["failure"][1]
    for name in ("a", "c", "d"):
        with open_slide(slides / f"{name}.tif", mpp=1.0) as slide:
            alone = predict(slide, load_model(model), SETTINGS)
        written = anndata.read_h5ad(tmp_path / "out" / f"{name}.h5ad")
        np.testing.assert_array_equal(written.X, alone.X)
        assert len(written) == 36
    found = rows(tmp_path / "out")
    assert [found[f"{name}.h5ad"]["tiles"] for name in "abcd"] == ["36", "", "36", "36"]
    assert float(found["a.h5ad"]["seconds"]) > 0
    assert found["b.h5ad"]["failure"] == table["failure"][1]
    assert not list((tmp_path / "out").glob(".*"))


def test_events_tell_what_is_done_and_what_is_left(
    slides: Path, model: Path, tmp_path: Path
) -> None:
    found = find_slides([slides], mpp=1.0)
    first, *others, last = predict_cohort_events(found, tmp_path / "out", model, SETTINGS)
    assert isinstance(first, CohortStarted)
    assert first.notices == found.notices
    assert isinstance(last, CohortFinished)
    ended = [event for event in others if isinstance(event, SlideEnded)]
    assert [event.progress.slides_done for event in ended] == [1, 2, 3, 4]
    assert ended[-1].progress.share == 1
    assert ended[-1].progress.tiles == 3 * 36
    shares = [e.progress.share for e in others]
    assert shares == sorted(shares)
    of_a = [e for e in others if isinstance(e, SlideProgress) and e.slide.name == "a"]
    assert (of_a[0].done, of_a[-1].done, of_a[-1].total) == (0, 36, 36)
    assert of_a[-1].progress.seconds_left is not None


def test_a_second_run_predicts_what_is_missing_alone(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    before = run(slides, output, model)
    write_slide(slides / "b.svs", 7)
    (output / "d.h5ad").unlink()
    begun: list[str] = []
    of_slide = job.predicting

    def counted(job: job.SlideJob, *others: object) -> object:
        begun.append(job.slide.name)
        return of_slide(job, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "predicting", counted)
    after = run(slides, output, model)
    assert begun == ["b", "d"]
    assert list(after["skipped"]) == [True, False, True, False]
    assert (after["status"] == "done").all()
    kept = ["tiles", "seconds", "model", "precision", "request"]
    for column in kept:
        assert after[column][0] == pytest.approx(before[column][0], abs=1e-4), column

    (output / "summary.csv").unlink()  # what is done is known by itself
    again = run(slides, output, model)
    assert again["skipped"].all()
    assert again["tiles"].sum() == 4 * 36
    assert np.isnan(again["seconds"]).all()
    assert len(begun) == 2


def test_outputs_keep_their_names_whatever_is_added(
    slides: Path, model: Path, tmp_path: Path
) -> None:
    output, first = tmp_path / "out", slides / "a.tif"
    run(first, output, model)
    other = write_slide(tmp_path / "others" / "a.tif", 5)
    both = find_slides([other, first], mpp=1.0)
    assert [slide.name for slide in both.slides] == ["others-a", "slides-a"]
    table = predict_cohort(both, output, model, SETTINGS)
    assert [Path(path).name for path in table["output"]] == ["others-a.h5ad", "a.h5ad"]
    assert list(table["skipped"]) == [False, True]
    # alone it keeps the name that it has beside the other
    run(other, output, model)
    assert statuses(output) == {"others-a": "done", "a": "done"}
    # a third one is not written over the first, which this run does not have
    third = write_slide(tmp_path / "more" / "a.tif", 6)
    table = run(third, output, model)
    assert [Path(path).name for path in table["output"]] == ["more-a.h5ad"]
    assert len(rows(output)) == 3


def test_a_stopped_run_takes_no_done_slide_out_of_the_summary(
    slides: Path, model: Path, tmp_path: Path
) -> None:
    output, found = tmp_path / "out", find_slides([slides], mpp=1.0)
    run(slides, output, model)
    (output / "a.h5ad").unlink()
    with closing(predict_cohort_events(found, output, model, SETTINGS)) as events:
        next(event for event in events if isinstance(event, SlideProgress))
    assert statuses(output) == {"a": "waiting", "b": "failed", "c": "done", "d": "done"}


def test_what_would_differ_is_not_taken_for_done(slides: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(slides, output, model)
    as_it_runs = replace(SETTINGS, batch_size=4, reader_threads=2, order="coarse-to-fine")
    as_it_runs = replace(as_it_runs, step_um=float(SETTINGS.step_um or 0))
    assert run(slides, output, model, settings=as_it_runs)["skipped"].sum() == 3
    fewer = replace(SETTINGS, genes=("VIM",))
    refused = run(slides, output, model, settings=fewer)
    assert (refused["status"] == "failed").all()
    assert refused["failure"][0].count("from other settings") == 1
    assert anndata.read_h5ad(output / "a.h5ad").n_vars == 5
    write_slide(slides / "a.tif", 8)
    assert list(run(slides, output, model)["status"]) == ["failed", "failed", "done", "done"]
    redone = run(slides, output, model, settings=fewer, overwrite=True)
    assert list(redone["status"]) == ["done", "failed", "done", "done"]
    assert anndata.read_h5ad(output / "a.h5ad").n_vars == 1
    assert run(slides, output, model, settings=fewer, overwrite=True)["skipped"].sum() == 3


def test_what_is_there_and_not_ours_is_left(slides: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.h5ad").write_text("a letter", encoding="utf-8")
    table = run(slides, output, model, overwrite=True)
    assert table["status"][0] == "failed"
    assert "is not overwritten" in table["failure"][0]
    assert (output / "a.h5ad").read_text(encoding="utf-8") == "a letter"
    (output / "summary.csv").write_text("my,own\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="is not a summary that NH2ST wrote"):
        run(slides, output, model)
    assert (output / "summary.csv").read_text(encoding="utf-8") == "my,own\n1,2\n"


def test_a_stopped_run_goes_on_within_its_slide(slides: Path, model: Path, tmp_path: Path) -> None:
    output, found = tmp_path / "out", find_slides([slides], mpp=1.0)
    done = 0
    with closing(predict_cohort_events(found, output, model, SETTINGS)) as events:
        for event in events:
            if isinstance(event, SlideProgress) and event.slide.name == "c" and event.done >= 8:
                done = event.done
                break
    assert 8 <= done < 36
    assert statuses(output) == {"a": "done", "b": "failed", "c": "waiting", "d": "waiting"}
    assert not (output / "c.h5ad").exists()
    again = list(predict_cohort_events(found, output, model, SETTINGS))
    begun = next(e for e in again if isinstance(e, SlideProgress) and e.slide.name == "c")
    assert begun.done == done
    last = again[-1]
    assert isinstance(last, CohortFinished)
    assert last.summary["skipped"].tolist() == [True, False, False, False]
    with open_slide(slides / "c.tif", mpp=1.0) as slide:
        alone = predict(slide, load_model(model), SETTINGS)
    np.testing.assert_array_equal(anndata.read_h5ad(output / "c.h5ad").X, alone.X)


def broken_on(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions of some slides meet what nobody foresaw."""
    of_slide = job.open_job

    def opened(job: job.SlideJob, *others: object) -> object:
        if job.slide.name in names:
            raise ZeroDivisionError("by mistake")
        return of_slide(job, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(job, "open_job", opened)


def test_an_error_nobody_foresaw_costs_its_slide(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_on("ad", monkeypatch)
    (slides / "b.svs").unlink()
    table = run(slides, tmp_path / "out", model, cohort=CohortSettings(most_errors=2))
    assert list(table["status"]) == ["failed", "done", "failed"]
    assert table["failure"][0] == "ZeroDivisionError: by mistake"


def test_a_mass_of_errors_nobody_foresaw_stops_the_run(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_on("acd", monkeypatch)
    with pytest.raises(CohortStopped, match=r"2 slides in a row .* ZeroDivisionError"):
        run(slides, tmp_path / "out", model, cohort=CohortSettings(most_errors=2))
    # the file that is no slide, in between, counts neither way
    failed = dict.fromkeys("abc", "failed")
    assert statuses(tmp_path / "out") == failed | {"d": "waiting"}


def test_a_full_disk_stops_the_run(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prediction_files, "_write_hdf5", full)
    with pytest.raises(OutputLost, match=r"No space left.* No further slide was tried") as lost:
        run(slides, tmp_path / "out", model)
    assert isinstance(lost.value, InputError)  # which the command and the dock report
    assert len(list((tmp_path / "out").glob("a.h5ad.*.partial"))) == 1  # all tiles are kept
    monkeypatch.undo()
    assert list(run(slides, tmp_path / "out", model)["status"]) == [
        "done",
        "failed",
        "done",
        "done",
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"settings": replace(SETTINGS, genes=("VIMM",))}, "'VIMM' is not in the model's panel"),
        ({"settings": replace(SETTINGS, device="cuda:9")}, "device 'cuda:9' does not exist"),
        ({"model": "no-such-model"}, "There is no model no-such-model"),
    ],
)
def test_what_is_wrong_for_all_is_told_before_the_first(
    slides: Path, model: Path, tmp_path: Path, more: dict[str, object], message: str
) -> None:
    arguments = {"model": model, **more}
    with pytest.raises(InputError, match=message):
        run(slides, tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_one_run_at_a_time_writes_to_a_folder(slides: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    lock = Lock(tmp_path / "out" / ".summary.csv.lock")
    with pytest.raises(InputError, match="another run writes to it"):
        run(slides, tmp_path / "out", model)
    lock.release()
    assert (run(slides, tmp_path / "out", model)["status"] == "done").sum() == 3


@pytest.fixture
def table(slides: Path, tmp_path: Path) -> Iterator[Path]:
    """One slide in two regions, with what is known of its donor."""
    for name, x in (("left", 0), ("right", 100)):
        corners = [[x, 0], [x + 90, 0], [x + 90, 190], [x, 190], [x, 0]]
        (slides / f"{name}.geojson").write_text(
            f'{{"type": "Polygon", "coordinates": [{corners}]}}', encoding="utf-8"
        )
    path = slides / "slides.csv"
    path.write_text(
        "slide,mpp,region,donor,age/years\na.tif,1,left.geojson,P1,61\na.tif,1,right.geojson,P2,\n",
        encoding="utf-8",
    )
    yield path
    shutil.rmtree(slides)


def test_a_table_brings_regions_and_columns(table: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    frame = predict_cohort([table], output, model, SETTINGS)
    assert list(frame["donor"]) == ["P1", "P2"]
    left, right = (anndata.read_h5ad(output / f"a-{name}.h5ad") for name in ("left", "right"))
    assert left.obsm["spatial"][:, 0].max() < 91 < right.obsm["spatial"][:, 0].min()
    assert left.uns["nh2st"]["cohort"]["donor"] == "P1"
    assert rows(output)["a-left.h5ad"]["age/years"] == "61"
    assert predict_cohort([table], output, model, SETTINGS)["skipped"].all()
    # another cohort in the same folder keeps the rows
    run(table.parent, output, model)
    assert {"a-left.h5ad", "a-right.h5ad", "a.h5ad"} <= rows(output).keys()


def test_zarr_is_written_where_it_is_asked_for(slides: Path, model: Path, tmp_path: Path) -> None:
    (slides / "b.svs").unlink()
    written = CohortSettings("zarr")
    run(slides, tmp_path / "out", model, cohort=written)
    assert anndata.read_zarr(tmp_path / "out" / "a.zarr").n_obs == 36
    assert run(slides, tmp_path / "out", model, cohort=written)["skipped"].all()
