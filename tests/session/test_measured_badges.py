"""Scores measured on a slide, as the badges of its heatmap."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_predictions import drawn_prediction, drawn_spot_prediction
from napari_nh2st.export import write_anndata
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.reliability import has_measured
from napari_nh2st.prediction.schema import notes, reliability, reliability_of
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.session.measured_section import MeasuredSection
from shown_predictions import Shown, show_prediction


@pytest.fixture
def shown(tmp_path: Path, viewer: ViewerModel) -> Shown:
    return show_prediction(tmp_path, viewer=viewer)


def compare(shown: Shown, model: str = "") -> ComparisonResults:
    """Comparison of the shown slide, as the dock has it."""
    prediction = drawn_spot_prediction(shown.slide)
    if model:
        notes(prediction)["model"]["name"] = model
    section = MeasuredSection.of_prediction(shown.session, prediction)
    shown.session.measured.current = section
    section.set_results(ComparisonResults.of_prediction(prediction))
    shown.session.measured.changed.emit()
    assert section.results is not None
    return section.results


def test_a_comparison_is_offered_used_and_taken_back(shown: Shown) -> None:
    badges, prediction = shown.session.measured_badges, shown.prediction
    heard: list[int] = []
    badges.used.connect(lambda: heard.append(1))
    badges.use(True)  # nothing to use
    assert not badges.are_used
    results = compare(shown)
    assert badges.offer is results
    assert badges.n_spots == results.compared.prediction.n_obs
    before = reliability(prediction)
    badges.use(True)
    pcc = results.table.set_index("gene")["PCC"].reindex(prediction.var_names)
    np.testing.assert_array_equal(reliability(prediction), pcc)
    assert reliability_of(prediction) == f"this slide ({badges.n_spots} spots)"
    badges.use(False)
    np.testing.assert_array_equal(reliability(prediction), before)
    assert len(heard) == 3


def test_a_comparison_of_another_model_is_not_offered(shown: Shown) -> None:
    compare(shown, model="another")
    assert shown.session.measured_badges.offer is None
    assert shown.session.measured_badges.n_spots == 0


def test_another_run_of_the_slide_takes_them_over(shown: Shown, tmp_path: Path) -> None:
    compare(shown)
    shown.session.measured_badges.use(True)
    measured = reliability(shown.prediction)
    finer = drawn_prediction(shown.slide, pitch_um=16.0)
    shown.heatmap.take(finer, shown.slide_layer)
    np.testing.assert_array_equal(reliability(finer), measured)
    assert reliability_of(finer).startswith("this slide")
    shown.session.measured_badges.use(False)
    assert not has_measured(finer)
    other = drawn_prediction(shown.slide)
    notes(other)["model"]["name"] = "another"
    shown.session.measured_badges.use(True)
    shown.heatmap.take(other, shown.slide_layer)
    assert not has_measured(other)


def test_to_undo_a_run_does_not_undo_what_was_chosen_for_the_badges(shown: Shown) -> None:
    session, badges = shown.session, shown.session.measured_badges
    compare(shown)
    badges.use(True)
    session.runs.show(shown.slide_layer, drawn_prediction(shown.slide), "CD74")
    assert badges.are_used
    badges.use(False)
    session.runs.undo(shown.heatmap)
    assert shown.heatmap.prediction is shown.prediction
    assert not badges.are_used
    badges.use(True)
    session.runs.undo(shown.heatmap)
    assert badges.are_used


def test_they_come_back_with_the_file(shown: Shown, tmp_path: Path) -> None:
    compare(shown)
    shown.session.measured_badges.use(True)
    write_anndata(shown.prediction, tmp_path / "kept.h5ad")
    again = read_anndata_file(tmp_path / "kept.h5ad")
    assert has_measured(again)
    assert reliability_of(again) == reliability_of(shown.prediction)
