"""Checks of a section: counts, place, resolution and orientation."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from array_slides import ArrayLevel, array_slide
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.spots import (
    check_counts,
    check_enough_spots,
    check_on_slide,
    check_resolution,
    check_section,
    orient,
    read_spots,
    spot_array,
)
from napari_nh2st.spots.checks import propose_mpp
from napari_nh2st.spots.orientation import ORIENTATIONS, orient_on, places, tissue_for_spots
from spot_sections import drawn_spots, her2st, mob

# Counts


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "gene B at spot 3x1 is NaN"),
        (np.inf, "gene B at spot 3x1 is infinite"),
        (-1.0, "gene B at spot 3x1 is negative: values were already normalized"),
        (2.5, "2.5 of gene B at spot 3x1 is not a count: values were already normalized"),
    ],
)
def test_values_that_are_no_counts_are_named(sparse: bool, value: float, message: str) -> None:
    spots = drawn_spots()
    counts = spots.X.toarray()
    counts[13, 1] = value
    spots.X = csr_matrix(counts) if sparse else counts
    with pytest.raises(InputError, match=message):
        check_counts(spots)


@pytest.mark.parametrize("normalized", ["log", "scaled"])
def test_normalized_data_is_refused(normalized: str) -> None:
    spots = drawn_spots()
    counts = spots.X.toarray()
    scaled = counts / counts.sum(1, keepdims=True) * 1e4
    spots.X = np.log1p(scaled) if normalized == "log" else scaled
    with pytest.raises(InputError, match=r"C6: .* already normalized") as error:
        check_counts(spots, "C6")
    assert ("logarithms" in str(error.value)) == (normalized == "log")


def test_counts_are_counts_whatever_their_type(test_data: Path) -> None:
    check_counts(her2st(test_data, "C6"))
    spots = drawn_spots()
    for kind in (np.int32, np.uint16, np.float64):
        spots.X = spots.X.toarray().astype(kind)
        check_counts(spots)
        spots.X = csr_matrix(spots.X)
        check_counts(spots)


def test_empty_counts_are_refused() -> None:
    spots = drawn_spots()
    spots.X = csr_matrix(spots.shape, dtype=np.float32)
    with pytest.raises(InputError, match="all counts are 0"):
        check_counts(spots)


def test_twenty_spots_are_enough_and_nineteen_are_not() -> None:
    check_enough_spots(drawn_spots()[:20])
    with pytest.raises(InputError, match=r"C6 has 19 spots; at least 20"):
        check_enough_spots(drawn_spots()[:19], "C6")


# Place and resolution


def glass(height: int = 360, width: int = 440, mpp: float | None = 5.0) -> Slide:
    return array_slide(ArrayLevel(np.full((height, width, 3), 250, np.uint8)), mpp=mpp)


def test_spots_beyond_the_slide_are_counted_and_one_is_named() -> None:
    spots = drawn_spots()  # x to 380, y to 300
    assert check_on_slide(spots, glass()) is None
    with pytest.raises(InputError, match=r"8 of 80 spots lie beyond .* 9x0 at \(380, 20\)"):
        check_on_slide(spots, glass(width=380))


def test_one_spot_in_a_hundred_beyond_the_edge_is_a_warning() -> None:
    spots = drawn_spots(rows=10)
    spots.obsm["spatial"][7] = (-3, 20)
    warning = check_on_slide(spots, glass(height=500), "C6")
    assert warning is not None
    assert "C6: 1 of 100 spots" in warning


@pytest.mark.parametrize(("layout", "um"), [("square", 200), ("hexagonal", 100)])
@pytest.mark.parametrize(
    ("factor", "outcome"),
    [
        *((fits, "fits") for fits in (1.0, 1.09, 0.92)),
        *((warns, "warns") for warns in (1.15, 0.85, 2.9, 0.35)),
        *((fails, "fails") for fails in (3.1, 0.3)),
    ],
)
def test_pitch_against_the_slides_own_resolution(
    layout: str, um: float, factor: float, outcome: str
) -> None:
    spots = drawn_spots(layout, pitch_px=40)
    slide = glass(mpp=um / 40 * factor)
    if outcome == "fails":
        with pytest.raises(InputError, match=r"C6: µm/px of the slide: .* distance, 40 px for"):
            check_resolution(spots, slide, "C6")
        return
    of_pitch, warning = check_resolution(spots, slide, "C6")
    assert of_pitch == pytest.approx(um / 40)
    assert (warning is not None) == (outcome == "warns")


def test_another_mpp_is_proposed_where_the_spots_tell_one() -> None:
    spots = drawn_spots()  # 40 px apart on a legacy array: 5 µm/px
    for fits in (5.0, 5.4):
        assert propose_mpp(spots, glass(mpp=fits)) is None
    assert propose_mpp(spots, glass(mpp=None)) is None
    for wrong in (0.2, 6.0):
        proposal = propose_mpp(spots, glass(mpp=wrong))
        assert proposal is not None
        assert proposal.mpp == 5.0
        assert f"slide: {wrong:g}, but the spots, 40 px and 200 µm apart" in proposal.sentence
        # With what is proposed all is well.
        assert check_resolution(spots, glass(mpp=proposal.mpp))[1] is None


def test_a_square_array_of_an_unknown_kind_has_no_pitch() -> None:
    """Bins are pooled to 16, 50, 100 or 128 µm: the 200 µm of legacy arrays would be wrong."""
    pooled = drawn_spots(rows=20, columns=20)
    del pooled.uns["nh2st_spots"]
    assert propose_mpp(pooled, glass(mpp=0.25)) is None
    assert check_resolution(pooled, glass(mpp=0.25)) == (None, None)
    with pytest.raises(InputError, match="neither the slide nor the spots tell the µm/px"):
        check_resolution(pooled, glass(mpp=None))
    assert check_resolution(pooled, glass(mpp=None), pitch_um=128)[0] == pytest.approx(3.2)


def test_a_pitch_that_is_guessed_is_said() -> None:
    of_pitch, warning = check_resolution(drawn_spots("hexagonal"), glass(mpp=None), "C6")
    assert of_pitch == pytest.approx(2.5)
    assert warning is not None
    assert "C6: the file does not say how far apart spots are: 100 µm taken as on Visium" in warning
    recorded = drawn_spots("hexagonal")
    recorded.uns["nh2st_spots"] = {"pitch_um": 100.0}
    assert check_resolution(recorded, glass(mpp=None), "C6")[1] is None


def test_a_given_pitch_wins() -> None:
    of_pitch, warning = check_resolution(drawn_spots(), glass(mpp=0.4), pitch_um=16)
    assert of_pitch == pytest.approx(0.4)
    assert warning is None
    with pytest.raises(InputError, match="pitch must be a positive number"):
        check_resolution(drawn_spots(), glass(), pitch_um=0)


def test_her2st_is_at_0_69_um_per_px_by_its_spots(test_data: Path) -> None:
    spots = her2st(test_data, "C6")
    of_pitch, _ = check_resolution(spots, glass(mpp=0.69))
    assert of_pitch == pytest.approx(0.69, abs=0.01)


def test_visium_pitch_is_100_um(test_data: Path) -> None:
    spots = read_spots(test_data / "visium")
    of_pitch, _ = check_resolution(spots, glass(mpp=0.72))
    # 55 µm is the diameter of a Visium spot; Space Ranger writes 65 µm in these pixels.
    diameter = spots.uns["spatial"]["visium"]["scalefactors"]["spot_diameter_fullres"]
    assert of_pitch == pytest.approx(65 / diameter, rel=0.01)


# Orientation


def tissue_slide(height: int = 400, width: int = 480) -> Slide:
    """An L of tissue: it lies differently in each of the eight orientations."""
    pixels = np.full((height, width, 3), 245, np.uint8)
    rng = np.random.default_rng(0)
    ink = np.clip(rng.normal((190, 110, 170), 12, (height, width, 3)), 0, 255).astype(np.uint8)
    tissue = np.zeros((height, width), bool)
    tissue[30:330, 40:140] = True
    tissue[250:330, 40:300] = True
    pixels[tissue] = ink[tissue]
    return array_slide(ArrayLevel(pixels), mpp=10.0)


def spots_on(slide: Slide) -> AnnData:
    spots = drawn_spots(rows=20, columns=24, pitch_px=20, origin=(10, 10))
    x, y = spots.obsm["spatial"].astype(int).T
    stained = slide.levels[0].read(0, 0, *slide.shape)[y, x].min(1) < 200
    return spots[stained].copy()


INVERSES = {
    "with x and y swapped, then x mirrored": "with x and y swapped, then y mirrored",
    "with x and y swapped, then y mirrored": "with x and y swapped, then x mirrored",
}


@pytest.mark.parametrize("name", list(ORIENTATIONS))
def test_each_orientation_is_detected_and_named(name: str) -> None:
    slide = tissue_slide()
    spots = spots_on(slide)
    for turned in places(spots.obsm["spatial"], name, slide.shape):
        spots.obsm["spatial"] = turned
        if name == "as they are":
            check = check_section(spots, slide)
            assert check.warnings == ()
            assert check.on_tissue > 0.9
            continue
        with pytest.raises(InputError, match="C6: as they are, ") as error:
            check_section(spots, slide, name="C6")
        assert f"; {INVERSES.get(name, name)} it would be" in str(error.value)


def test_positions_can_be_trusted_against_the_tissue() -> None:
    slide = tissue_slide()
    spots = spots_on(slide)
    spots.obsm["spatial"][:, 0] = slide.shape[1] - spots.obsm["spatial"][:, 0]
    check = check_section(spots, slide, trust_positions=True)
    assert check.on_tissue < 0.5
    assert "is this the slide" in check.warnings[0]


@pytest.mark.parametrize("slide", [glass(), array_slide(ArrayLevel(
    np.random.default_rng(0).normal((190, 110, 170), 12, (360, 440, 3)).astype(np.uint8)))],
    ids=["bare glass", "full tissue"])  # fmt: skip
def test_without_an_edge_of_tissue_no_orientation_is_better(slide: Slide) -> None:
    assert orient(drawn_spots().obsm["spatial"], slide, 40).better is None


def test_a_symmetric_tissue_names_no_orientation() -> None:
    slide = array_slide(ArrayLevel(np.full((400, 400, 3), 245, np.uint8)), mpp=10.0)
    slide.levels[0].pixels[100:300, 100:300] = (180, 100, 160)  # type: ignore[attr-defined]
    spots = drawn_spots(rows=10, columns=10, pitch_px=20, origin=(112, 112))
    assert orient(spots.obsm["spatial"], slide, 20).better is None


def real_section(data: Path, name: str) -> tuple[AnnData, Path]:
    if name.startswith("MOB"):
        return mob(data, int(name[-1])), data / "mob" / f"{name}.jpg"
    return her2st(data, name), data / "her2st" / "images" / f"{name}.jpg"


@pytest.mark.parametrize(("section", "mpp"), [("C6", 0.69), ("MOB1", 4.39)])
def test_real_sections_pass_and_their_spots_give_the_resolution(
    test_data: Path, section: str, mpp: float
) -> None:
    spots, path = real_section(test_data, section)
    with open_slide(path) as slide:
        check = check_section(spots, slide, name=section)
    assert check.warnings == ()
    assert check.on_tissue > 0.9
    assert check.mpp_source == "spot pitch"
    assert check.mpp[0] == pytest.approx(mpp, rel=0.01)


@pytest.mark.parametrize("section", ["MOB3"])
def test_real_sections_turned_or_mirrored_are_named(test_data: Path, section: str) -> None:
    spots, path = real_section(test_data, section)
    pitch = spot_array(spots).pitch_px
    with open_slide(path) as slide:
        shape, mask = slide.shape, tissue_for_spots(slide, pitch)
    for name in ORIENTATIONS:
        for turned in places(spots.obsm["spatial"], name, shape):
            better = orient_on(turned, mask, shape, pitch).better
            assert better == (None if name == "as they are" else INVERSES.get(name, name))
