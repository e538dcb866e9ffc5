"""Analyses that write into the AnnData of a prediction."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction, drawn_spot_prediction
from napari_nh2st import analysis
from napari_nh2st.analysis import DomainSettings
from napari_nh2st.errors import InputError
from napari_nh2st.export import read_anndata_file, write_anndata

SLIDE = array_slide(ArrayLevel(textured(300, 420)), mpp=(0.5, 0.8), path="section.tif")
SETTINGS = DomainSettings(n_domains=2, min_reliability=None)
SETS = {"small": ("VIM", "cd74")}


def domains(prediction: AnnData, copy: bool) -> AnnData | None:
    return analysis.assign_domains(prediction, SETTINGS, copy=copy)


def signatures(prediction: AnnData, copy: bool) -> AnnData | None:
    return analysis.score_signatures(prediction, SETS, copy=copy)


def smoothness(prediction: AnnData, copy: bool) -> AnnData | None:
    return analysis.score_smoothness(prediction, copy=copy)


def measured(prediction: AnnData, copy: bool) -> AnnData | None:
    return analysis.score_measured(prediction, bootstrap=5, copy=copy)


WRITERS = {
    domains: {"domain"},
    signatures: {"small"},
    smoothness: {"morans_i"},
    measured: {"pcc", "pcc_low", "pcc_high", "mse", "mae"},
}


@pytest.mark.parametrize("write", WRITERS)
def test_results_are_written_in_place_or_into_a_copy(
    write: Callable[[AnnData, bool], AnnData | None],
) -> None:
    prediction = drawn_spot_prediction(SLIDE) if write is measured else drawn_prediction(SLIDE)
    before = {*prediction.obs, *prediction.var}
    result = write(prediction, True)
    assert {*prediction.obs, *prediction.var} == before
    assert result is not None
    assert WRITERS[write] <= {*result.obs, *result.var} - before
    assert write(prediction, False) is None
    assert {*prediction.obs, *prediction.var} == {*result.obs, *result.var}
    with pytest.raises(InputError, match="not a prediction of napari-nh2st"):
        write(AnnData(np.ones((3, 2), np.float32)), False)


def test_domains_are_those_that_are_found_and_keep_their_colors() -> None:
    prediction = drawn_prediction(SLIDE)
    analysis.assign_domains(prediction, SETTINGS)
    labels = analysis.find_domains(prediction, SETTINGS).labels
    column = prediction.obs["domain"]
    np.testing.assert_array_equal(column.cat.codes + 1, labels)
    assert list(column.cat.categories) == ["domain 1", "domain 2"]
    assert len(prediction.uns["nh2st"]["domain_markers"])
    prediction.uns["domain_colors"] = np.array(["#111111", "#222222"], object)
    analysis.assign_domains(prediction, SETTINGS)
    assert list(prediction.uns["domain_colors"]) == ["#111111", "#222222"]


def test_domains_of_others_are_replaced_with_a_warning_or_kept_by_another_key() -> None:
    prediction = drawn_prediction(SLIDE)
    others = np.where(np.arange(prediction.n_obs) % 2, "tumour", "stroma")
    prediction.obs["domain"] = others
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for _ in range(2):  # its own of a former call are replaced as scanpy does it
            analysis.assign_domains(prediction, SETTINGS, key_added="k2")
    assert list(prediction.obs["domain"]) == list(others)
    assert len(prediction.uns["k2_colors"]) == 2
    markers = prediction.uns["nh2st"]["k2_markers"]
    assert set(markers["domain"]) == {"domain 1", "domain 2"}
    with pytest.warns(UserWarning, match=r"obs\['domain'\].* is replaced. To keep it, give key_ad"):
        analysis.assign_domains(prediction, SETTINGS)
    assert prediction.obs["domain"].equals(prediction.obs["k2"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        part = prediction[prediction.obs["domain"] == "domain 1"].copy()  # has one category left
        analysis.assign_domains(part, SETTINGS)


@pytest.mark.parametrize("key", ["array_row", "status", "tumour/stroma"])
def test_domains_take_no_column_that_a_prediction_needs(key: str) -> None:
    prediction = drawn_prediction(SLIDE)
    before = prediction.obs.copy()
    with pytest.raises(InputError, match=f"key_added is '{key}'"):
        analysis.assign_domains(prediction, SETTINGS, key_added=key)
    assert prediction.obs.equals(before)


def test_signatures_are_scored_and_moran_is_that_of_the_function() -> None:
    prediction = drawn_prediction(SLIDE)
    analysis.score_signatures(prediction, SETS)
    np.testing.assert_array_equal(
        prediction.obs["small"], analysis.signature_score(prediction, ("VIM", "CD74"))
    )
    analysis.score_smoothness(prediction)
    np.testing.assert_array_equal(prediction.var["morans_i"], analysis.moran(prediction))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (smoothness, r"^var\['morans_i'\], which .* is replaced. To keep it, rename it first"),
        (measured, r"^var\['pcc'\], var\['mse'\], which .* are replaced"),
    ],
)
def test_columns_of_others_are_replaced_with_a_warning_and_ones_own_without(
    write: Callable[[AnnData, bool], AnnData | None], words: str, tmp_path: Path
) -> None:
    prediction = drawn_spot_prediction(SLIDE) if write is measured else drawn_prediction(SLIDE)
    clean = write(prediction, True)
    assert clean is not None
    for name in ("morans_i", "pcc", "mse"):
        prediction.var[name] = 7.0
    with pytest.warns(UserWarning, match=words) as warned:
        write(prediction, False)
    # Through a file as well, whose notes come back as NumPy has them.
    write_anndata(prediction, tmp_path / "kept.h5ad")
    read = read_anndata_file(tmp_path / "kept.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        write(read, False)
    for name in WRITERS[write]:
        np.testing.assert_array_equal(read.var[name], clean.var[name])
    assert len(warned) == 1


def test_what_a_reader_should_know_is_a_warning() -> None:
    prediction = drawn_prediction(SLIDE)
    with pytest.warns(UserWarning, match="half: 1 of 2 genes found; not found: VIMM") as warned:
        analysis.score_signatures(prediction, {"half": ("VIM", "VIMM")})
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="No gene has a reliability of 0.9 or more"):
        analysis.assign_domains(prediction, DomainSettings(n_domains=2, min_reliability=0.9))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        analysis.assign_domains(prediction, SETTINGS)


def test_scores_against_the_measured_are_those_of_the_table() -> None:
    spots = drawn_spot_prediction(SLIDE)
    spots.X[0] = np.nan  # of a spot without a prediction nothing counts
    analysis.score_measured(spots, bootstrap=5)
    table = analysis.comparison_table(spots, bootstrap=5)
    for name in ("pcc", "pcc_low", "pcc_high", "mse", "mae"):
        np.testing.assert_array_equal(spots.var[name], table[name])
    summary = spots.uns["nh2st"]["comparison"]
    assert summary["n_spots"] == spots.n_obs - 1
    assert summary["mean_pcc"] == pytest.approx(np.nanmean(table["pcc"]))
    del spots.layers["measured"]
    with pytest.raises(InputError, match=r'no layers\["measured"\]'):
        analysis.score_measured(spots)
