"""Unions of predictions of one map: what only one of the two knows, and one notice of each kind."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.analysis.stain import DESCRIPTORS, StainProfile, stain_notice
from napari_nh2st.export import export
from napari_nh2st.prediction.fading import fading
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.reading import unfamiliarity_at
from napari_nh2st.prediction.reliability import trust_numbers, unfamiliar_notices
from napari_nh2st.prediction.schema import check_prediction, notices
from napari_nh2st.prediction.union import Union, is_of_region, of_same_map
from trusted_predictions import add_trust


@pytest.fixture(scope="module")
def whole() -> AnnData:
    slide = array_slide(ArrayLevel(textured(300, 420)), mpp=1.0)
    prediction = add_trust(drawn_prediction(slide))
    prediction.uns["nh2st"]["notices"] = np.array([], object)
    return prediction


def without_trust(prediction: AnnData) -> AnnData:
    """As a model without heads predicts."""
    plain = prediction.copy()
    del plain.layers["spread"], plain.obs["unfamiliar"]
    return plain


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layout", "hexagonal"),
        ("pitch_um", 64.0),
        ("step_um", 16.0),
        ("step_px_fullres", np.array([32.0, 33.0])),
        ("first_center_px_fullres", np.array([16.0, 17.0])),
        ("model", {"name": "other"}),
        ("model", {"sha256": "0"}),
        ("slide", {"fingerprint": "0"}),
    ],
)
def test_values_stand_in_one_map_only_where_all_that_places_them_agrees(
    whole: AnnData, name: str, value: object
) -> None:
    assert of_same_map(whole[:60], whole[40:])
    other = whole.copy()
    about = other.uns["nh2st"]
    about[name] = {**about[name], **value} if isinstance(value, dict) else value
    assert not of_same_map(whole, other)
    assert not of_same_map(other, whole)


def test_other_genes_or_the_same_in_another_order_make_another_map(whole: AnnData) -> None:
    assert not of_same_map(whole, whole[:, ::-1])
    assert not of_same_map(whole, whole[:, :-1])


@pytest.mark.parametrize("which", ["former", "part"])
def test_what_only_one_of_two_runs_says_of_trust_is_kept(
    whole: AnnData, which: str, tmp_path: Path
) -> None:
    former, part = whole[:60].copy(), whole[40:].copy()
    if which == "former":
        former = without_trust(former)
    else:
        part = without_trust(part)
    union = Union.of(former, part)
    union.finish()
    made = union.prediction
    known = np.zeros(whole.n_obs, bool)
    known[slice(40, None) if which == "former" else slice(40)] = True
    expected = np.where(known[:, None], whole.layers["spread"], np.nan)
    expected[np.isnan(made.X)] = np.nan
    np.testing.assert_array_equal(made.layers["spread"], expected)
    far = np.where(known, whole.obs["unfamiliar"], np.nan)
    np.testing.assert_array_equal(made.obs["unfamiliar"], far)
    assert made.layers["spread"].dtype == made.obs["unfamiliar"].dtype == np.float32
    check_prediction(made)
    # Whoever reads them stands it.
    unknown = int(np.flatnonzero(~known)[3])
    gene = made.var_names[0]
    assert unfamiliarity_at(made, unknown) is None
    np.testing.assert_array_equal(np.isnan(fading(made, gene)), np.isnan(made.X[:, 0]))
    assert fading(made, gene)[unknown] == 0, "what is not known does not fade"
    assert all(value is not None for value in trust_numbers(made).values())
    export(made, tmp_path / "union.csv")
    export(made, tmp_path / "union.h5ad")
    read = read_anndata_file(tmp_path / "union.h5ad")
    np.testing.assert_array_equal(read.layers["spread"], expected)
    np.testing.assert_array_equal(read.obs["unfamiliar"], far)


def test_values_that_come_bring_what_is_known_of_them(whole: AnnData) -> None:
    former, part = without_trust(whole[:60].copy()), whole[40:].copy()
    part.X[:], part.layers["spread"][:], part.obs["unfamiliar"] = np.nan, np.nan, np.float32(np.nan)
    union = Union.of(former, part)
    part.X[[3, 30]] = 1.0
    part.layers["spread"][[3, 30]] = 0.5
    part.obs["unfamiliar"] = np.arange(part.n_obs, dtype=np.float32)
    union.bring(np.array([3, 30]))
    at = np.flatnonzero(np.isfinite(union.prediction.obs["unfamiliar"]))
    assert at.tolist() == [43, 70]
    assert union.prediction.obs["unfamiliar"].iloc[at].tolist() == [3, 30]
    known = np.isfinite(union.prediction.layers["spread"]).any(1)
    assert np.flatnonzero(known).tolist() == [43, 70]


def test_tissue_that_was_painted_anew_counts_where_the_part_has_tiles(whole: AnnData) -> None:
    former, part = whole[:60].copy(), whole[40:].copy()
    for prediction, cells in ((former, 1), (part, 2)):
        prediction.obsm["tissue_cells"] = np.full((prediction.n_obs, 8), cells, np.uint8)
    made = Union.of(former, part).prediction
    assert made.obs_names.equals(whole.obs_names)
    assert (made.obsm["tissue_cells"][:40] == 1).all()
    assert (made.obsm["tissue_cells"][40:] == 2).all()
    assert (former.obsm["tissue_cells"] == 1).all(), "it stays as it is"


def test_why_a_tile_has_no_value_is_said_by_the_run_that_came_to_it(whole: AnnData) -> None:
    former, part = whole[:60].copy(), whole[40:].copy()
    former.X[50:53], part.X[10:13] = np.nan, np.nan  # the same three
    former.obs["status"] = former.obs["status"].astype(object)
    part.obs["status"] = part.obs["status"].astype(object)
    former.obs.iloc[50:53, former.obs.columns.get_loc("status")] = "damaged"
    # The part was stopped before the first of them, and found another reason for the second.
    part.obs.iloc[10:13, part.obs.columns.get_loc("status")] = ["pending", "missing", "missing"]
    part.X[12] = 1
    part.obs.iloc[12, part.obs.columns.get_loc("status")] = "predicted"
    union = Union.of(former, part)
    union.finish()
    assert union.prediction.obs["status"].iloc[49:54].tolist() == [
        *("predicted", "damaged", "missing", "predicted", "predicted")
    ]


def test_of_a_whole_slide_the_tissue_stays_known_where_a_region_is_added(whole: AnnData) -> None:
    former, part = whole.copy(), whole[40:].copy()
    polygon = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    former.uns["nh2st"]["tissue"] = {"origin": "found", "share_without_tile": 0.03}
    part.uns["nh2st"]["tissue"] = {"origin": "found"}
    part.uns["nh2st"]["settings"] = {"region": {"0": polygon}}
    made = Union.of(former, part).prediction
    assert made.uns["nh2st"]["tissue"] == {"origin": "found", "share_without_tile": 0.03}
    assert not is_of_region(made)
    both = Union.of(made[:60].copy(), part)
    assert not is_of_region(both.prediction)


def far_stain(distance: float) -> str:
    """The notice on a stain so far off."""
    profile = StainProfile(np.ones(len(DESCRIPTORS)), np.eye(len(DESCRIPTORS)), 9, 2, 2.5)
    found = np.full((20, len(DESCRIPTORS)), 1 + distance)
    notice = stain_notice(distance, found, profile)
    assert notice is not None
    return notice


@pytest.mark.parametrize("farther", ["former", "part"])
def test_of_each_kind_there_is_one_notice(whole: AnnData, farther: str) -> None:
    former, part = whole[:60].copy(), whole[40:].copy()
    distances = (19.1, 18.4) if farther == "former" else (18.4, 19.1)
    for prediction, distance, share in ((former, distances[0], 0.5), (part, distances[1], 0.9)):
        far = np.full(prediction.n_obs, 0.5, np.float32)
        far[: round(share * prediction.n_obs)] = 2
        prediction.obs["unfamiliar"] = far
        about = prediction.uns["nh2st"]
        about["stain_distance"] = distance
        said = [far_stain(distance), f"Values are 32 µm apart: 16 µm would be {share} h.", "pale"]
        about["notices"] = np.array([*said, *unfamiliar_notices(prediction)], object)
    union = Union.of(former, part)
    union.finish()
    made = union.prediction
    assert made.uns["nh2st"]["stain_distance"] == 19.1
    # Of tiles in both regions, the part's distance counts.
    share = (made.obs["unfamiliar"] > 1).sum() / np.isfinite(made.obs["unfamiliar"]).sum()
    said = notices(made)
    assert len(said) == 4
    assert far_stain(19.1) in said
    assert "pale" in said
    assert said[-1].startswith(f"{share:.0%} of the tiles look unlike")


def test_a_notice_on_unfamiliar_tiles_goes_where_the_union_has_few(whole: AnnData) -> None:
    former, part = whole.copy(), whole[:4].copy()
    former.obs["unfamiliar"], part.obs["unfamiliar"] = np.float32(0.5), np.float32(2)
    part.uns["nh2st"]["notices"] = np.array(unfamiliar_notices(part), object)
    assert len(notices(part)) == 1
    union = Union.of(former, part)
    union.finish()
    assert notices(union.prediction) == ()


@pytest.mark.filterwarnings("error")
def test_numbers_of_trust_of_a_map_without_values_are_not_known(whole: AnnData) -> None:
    whole.layers["spread"][:] = np.nan
    whole.obs["unfamiliar"] = np.nan
    numbers = trust_numbers(whole)
    assert numbers["median_spread"] is None
    assert numbers["unfamiliar_share"] == 0
