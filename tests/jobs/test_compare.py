"""Comparison as a job: what it computes, how it stops, and what it refuses."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from array_slides import write_tiff
from compared_sections import MPP, DrawnSection, write_model, write_section
from napari_nh2st.analysis import comparison as analysis_comparison
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import evaluate
from napari_nh2st.jobs.child import Inbox
from napari_nh2st.jobs.comparison import (
    Compared,
    Predicting,
    Reading,
    compare,
    kept_comparison,
    section_name,
    write_report,
)
from napari_nh2st.model.folder import load_model_folder
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.spots import Section, expression_target
from napari_nh2st.spots.orientation import Fix
from napari_nh2st.training.study import MeasuredSection
from small_configs import PANEL

TRAINING = {"trained": True, "summary": "Made for a test."}


@pytest.fixture
def section(tmp_path: Path) -> DrawnSection:
    return write_section(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def run(
    section: DrawnSection,
    model: Path,
    fix: Fix | None = None,
    inbox: Inbox | None = None,
    mpp: tuple[float, float] | None = (MPP, MPP),
) -> list[object]:
    return list(
        compare(
            inbox or Inbox(),
            slide=section.slide,
            mpp=mpp,
            expression=section.expression,
            positions=None,
            fix=fix,
            model=str(model),
            device="cpu",
            bootstrap=20,
        )
    )


def compared(events: list[object]) -> Compared:
    result = events[-1]
    assert isinstance(result, Compared)
    return result


def test_it_gives_what_an_evaluation_gives(section: DrawnSection, model: Path) -> None:
    events = run(section, model)
    result = compared(events)
    place = Section("S1", "not known", section.slide, section.expression)
    measured = MeasuredSection(place, section.spots, (MPP, MPP), 200.0, "square", ())
    expected = evaluate(load_model_folder(model), [measured], device="cpu", bootstrap=20)
    np.testing.assert_allclose(result.prediction.X, expected.predictions["S1"].X)
    np.testing.assert_array_equal(
        result.prediction.layers["measured"], expression_target(section.spots, PANEL)
    )
    pd.testing.assert_frame_equal(result.scores, expected.scores)
    assert result.summary == expected.summary
    assert result.notices == expected.notices


@pytest.mark.parametrize("name", [".h5ad", ".zarr"])
def test_a_file_has_all_of_a_comparison(tmp_path: Path, name: str) -> None:
    # One gene is not measured: it has no scores, and the others no errors.
    section = write_section(tmp_path, genes=PANEL[1:])
    model = write_model(tmp_path / "model", training=TRAINING)
    result = compared(run(section, model, Fix("with x mirrored")))
    write_anndata(result.prediction, tmp_path / f"out{name}")
    read = read_anndata_file(tmp_path / f"out{name}")

    scores = result.scores.set_index("gene")
    pd.testing.assert_frame_equal(
        read.var[scores.columns], scores, check_names=False, check_index_type=False
    )
    assert scores["pcc_low"].notna().sum() == 4
    kept = read.uns["nh2st"]["comparison"]
    for number in ("mean_pcc", "mean_pcc_low", "mean_pcc_high", "n_spots"):
        assert kept[number] == result.summary[number]
    assert kept["section"] == "S1"
    assert kept["expression"] == "S1.h5ad"
    assert kept["positions_taken"] == "flip-x"
    assert kept["interval"] == "95 %, 20 resamples of the spots"
    assert "positions" not in kept

    again = kept_comparison(read)
    pd.testing.assert_frame_equal(again.scores, result.scores)
    assert again.summary == result.summary
    assert again.notices == result.notices
    assert any("lacks 1 of the panel's 5 genes" in notice for notice in again.notices)


def test_the_baseline_of_a_comparison_is_named(tmp_path: Path, section: DrawnSection) -> None:
    mean = dict.fromkeys(PANEL, 3.0)
    model = write_model(tmp_path / "model", training=TRAINING | {"target_mean": mean})
    result = compared(run(section, model))
    kept = result.prediction.uns["nh2st"]["comparison"]
    assert kept["baseline"] == "mean of the training target"
    expected = ((result.prediction.layers["measured"] - 3.0) ** 2).mean(0)
    np.testing.assert_allclose(result.prediction.var["mse_baseline"], expected, rtol=1e-5)


def test_scores_that_a_file_does_not_have_are_computed(section: DrawnSection, model: Path) -> None:
    result = compared(run(section, model))
    # Spots were left out since: what is kept is not of these.
    some = result.prediction[::2].copy()
    again = kept_comparison(some)
    expected = [
        np.corrcoef(x, y)[0, 1] for x, y in zip(some.X.T, some.layers["measured"].T, strict=True)
    ]
    np.testing.assert_allclose(again.scores["pcc"], expected, rtol=1e-5)
    assert again.scores["pcc_low"].isna().all()
    assert again.summary["mean_pcc"] == pytest.approx(np.mean(expected))
    assert again.summary["n_spots"] == 21
    del some.layers["measured"]
    with pytest.raises(InputError, match=r'no layers\["measured"\]'):
        kept_comparison(some)


def test_scores_that_a_file_has_are_not_computed(
    monkeypatch: pytest.MonkeyPatch, section: DrawnSection, model: Path
) -> None:
    result = compared(run(section, model))
    monkeypatch.setattr(analysis_comparison, "comparison_table", None)
    again = kept_comparison(result.prediction)
    pd.testing.assert_frame_equal(again.scores, result.scores)


def test_it_tells_how_far_it_is(section: DrawnSection, model: Path) -> None:
    events = run(section, model)
    assert isinstance(events[0], Reading)
    done = [event.done for event in events if isinstance(event, Predicting)]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == 42
    assert len(events) == len(done) + 2


@pytest.mark.parametrize("mpp", [(MPP, MPP), None])
def test_the_fix_is_made_before_anything_is_read_from_the_slide(
    tmp_path: Path, model: Path, mpp: tuple[float, float] | None
) -> None:
    section = write_section(tmp_path, factor=4.0)
    result = compared(run(section, model, Fix(factor=4.0), mpp=mpp))
    np.testing.assert_allclose(
        result.prediction.obsm["spatial"], section.spots.obsm["spatial"], atol=1e-9
    )
    unmoved = compared(run(write_section(tmp_path, "S2"), model))
    np.testing.assert_allclose(result.prediction.X, unmoved.prediction.X, rtol=1e-4, atol=1e-5)


def test_a_stop_ends_it_before_the_next_batch(section: DrawnSection, model: Path) -> None:
    inbox = Inbox()
    inbox.stop()
    events = run(section, model, inbox=inbox)
    assert [type(event) for event in events] == [Reading]


def test_no_thread_outlives_events_that_nobody_asks_for(section: DrawnSection, model: Path) -> None:
    before = threading.active_count()
    events = compare(
        Inbox(),
        slide=section.slide,
        mpp=(MPP, MPP),
        expression=section.expression,
        positions=None,
        fix=None,
        model=str(model),
        device="cpu",
    )
    next(events)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_section_that_the_model_was_trained_on_is_told(
    tmp_path: Path, section: DrawnSection
) -> None:
    training = {"trained": True, "summary": "-", "sections": ["S1"]}
    result = compared(run(section, write_model(tmp_path / "trained", training=training)))
    assert any("was trained on S1" in notice for notice in result.notices)


def test_another_slide_is_refused(tmp_path: Path, section: DrawnSection, model: Path) -> None:
    glass = write_tiff(tmp_path / "glass.tif", np.full((200, 240, 3), 245, np.uint8))
    with pytest.raises(InputError, match=r"0% of the spots' area is tissue of glass.tif"):
        run(section._replace(slide=glass), model)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match="already normalized"):
        run(write_section(tmp_path, normalized=True), model)
    mouse = write_section(tmp_path, "S2", genes=("Erbb2", "Epcam"))
    with pytest.raises(InputError, match=r"S2 shares no gene .* a human model on a mouse section"):
        run(mouse, model)


@pytest.mark.parametrize(
    ("slide", "expression", "trained_on", "name"),
    [
        ("C6.jpg", "counts/C6.tsv.gz", (), "C6"),
        ("image.jpg", "C6.tsv.gz", ("C6",), "C6"),
        ("image.jpg", "C6.tsv.gz", (), "image"),
        ("image.svs", "V1/outs", ("V1",), "V1"),
    ],
)
def test_a_section_has_a_name(
    slide: str, expression: str, trained_on: tuple[str, ...], name: str
) -> None:
    assert section_name(Path(slide), Path(expression), trained_on) == name


def test_a_report_is_a_folder_of_scores_prediction_and_figures(
    tmp_path: Path, section: DrawnSection, model: Path
) -> None:
    result = compared(run(section, model))
    folder = tmp_path / "report"
    assert list(write_report(Inbox(), compared=result, folder=folder)) == [folder]
    assert pd.read_csv(folder / "genes.csv")["gene"].tolist() == list(PANEL)
    assert (folder / "maps.png").exists()
    assert (folder / "predictions" / "S1.h5ad").exists()
    with pytest.raises(InputError, match="already exists"):
        list(write_report(Inbox(), compared=result, folder=folder))
    # As in a prediction at tiles that was looked up at spots.
    for name in ("section", "donor"):
        result.prediction.uns["nh2st"].pop(name)
    list(write_report(Inbox(), compared=result, folder=tmp_path / "again"))
    assert (tmp_path / "again" / "predictions" / "S1.h5ad").exists()


def test_the_viewers_side_of_it_needs_no_torch() -> None:
    code = (
        "import sys, napari_nh2st.jobs.comparison, napari_nh2st.spots.placement;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
