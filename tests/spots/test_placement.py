"""Spots in the wrong place: noticed, named, and brought back to where they belong."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide
from misplaced_sections import l_shaped_pixels, spots_on
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.spots import read_spots
from napari_nh2st.spots.orientation import ORIENTATIONS, Fix, apply_fix, places
from napari_nh2st.spots.placement import _tissue_sample, on_tissue, propose_fix
from napari_nh2st.synthetic import write_synthetic_section
from napari_nh2st.tiles import TissueMask
from spot_sections import drawn_spots, her2st, mob

MPP = 10.0


@pytest.fixture(scope="module")
def section() -> tuple[AnnData, Slide]:
    """Spots on all of an L of tissue, on a slide that is not square."""
    pixels = l_shaped_pixels()
    spots = spots_on(pixels)
    spots.uns["nh2st_spots"] = {"report": "drawn: spots", "pitch_um": 200.0}
    return spots, array_slide(ArrayLevel(pixels), mpp=MPP)


def misplaced(spots: AnnData, turn: str, factor: float, slide: Slide, place: int = 0) -> AnnData:
    """As a file might have them: turned, then in pixels of an image `factor` × smaller."""
    wrong = spots.copy()
    where = places(spots.obsm["spatial"], turn, slide.shape)
    wrong.obsm["spatial"] = where[min(place, len(where) - 1)] / factor
    return wrong


def without_mpp(slide: Slide) -> Slide:
    return array_slide(ArrayLevel(slide.levels[0].read(0, 0, *slide.shape)), mpp=None)


def test_spots_where_they_belong_are_left_alone(section: tuple[AnnData, Slide]) -> None:
    spots, slide = section
    assert propose_fix(spots, slide) is None
    assert propose_fix(spots, without_mpp(slide)) is None


@pytest.mark.parametrize("factor", [0.1, 0.25, 1.0, 4.0])
@pytest.mark.parametrize("turn", list(ORIENTATIONS))
def test_every_turn_and_scale_is_brought_back(
    section: tuple[AnnData, Slide], turn: str, factor: float
) -> None:
    spots, slide = section
    for place in range(len(places(spots.obsm["spatial"], turn, slide.shape))):
        wrong = misplaced(spots, turn, factor, slide, place)
        proposal = propose_fix(wrong, slide)
        if turn == "as they are" and factor == 1:
            assert proposal is None
            continue
        assert proposal is not None
        fixed = apply_fix(wrong, proposal.fix, slide.shape)
        assert np.abs(fixed.obsm["spatial"] - spots.obsm["spatial"]).max() < 1
        assert proposal.fix.factor == factor


@pytest.mark.parametrize(("turn", "factor"), [("with x mirrored", 0.1), ("with y mirrored", 4.0)])
def test_where_the_resolution_is_not_known_the_tissue_tells_the_scale(
    section: tuple[AnnData, Slide], turn: str, factor: float
) -> None:
    spots, slide = section
    wrong = misplaced(spots, turn, factor, slide)
    proposal = propose_fix(wrong, without_mpp(slide))
    assert proposal is not None
    fixed = apply_fix(wrong, proposal.fix, slide.shape)
    assert np.abs(fixed.obsm["spatial"] - spots.obsm["spatial"]).max() < 1


@pytest.mark.parametrize("wrong_by", [0.1, 0.5, 2.0, 10.0])
def test_a_wrong_resolution_of_the_slide_moves_no_spot(
    section: tuple[AnnData, Slide], wrong_by: float
) -> None:
    spots, slide = section
    pixels = slide.levels[0].read(0, 0, *slide.shape)
    assert propose_fix(spots, array_slide(ArrayLevel(pixels), mpp=MPP * wrong_by)) is None


@pytest.mark.parametrize("factor", [0.1, 0.25, 4.0])
def test_a_synthetic_section_of_another_scale_is_brought_back(
    tmp_path_factory: pytest.TempPathFactory, factor: float
) -> None:
    folder = tmp_path_factory.mktemp("synthetic")
    written = write_synthetic_section(folder, 7, size_um=(2400, 2000), mpp=4.0)
    spots = read_spots(written.expression)
    with open_slide(written.slide) as slide:
        assert propose_fix(spots, slide) is None
        proposal = propose_fix(misplaced(spots, "as they are", factor, slide), slide)
    assert proposal is not None
    assert proposal.fix == Fix(factor=factor)


def test_a_scale_recorded_in_the_file_is_taken_exactly(section: tuple[AnnData, Slide]) -> None:
    spots, slide = section
    scale = 0.0873
    wrong = misplaced(spots, "as they are", 1 / scale, slide)
    wrong.uns["spatial"] = {"A": {"scalefactors": {"tissue_hires_scalef": scale}}}
    proposal = propose_fix(wrong, slide)
    assert proposal is not None
    assert proposal.fix == Fix(factor=1 / scale)
    del wrong.uns["spatial"]
    estimated = propose_fix(wrong, slide)
    assert estimated is not None
    assert estimated.fix.factor == pytest.approx(1 / scale, rel=0.02)


def test_the_reasons_name_distances_and_spots_beyond_the_slide(
    section: tuple[AnnData, Slide],
) -> None:
    spots, slide = section
    wrong = misplaced(spots, "with x and y swapped", 0.25, slide)
    proposal = propose_fix(wrong, slide)
    assert proposal is not None
    height, width = slide.shape
    x, y = wrong.obsm["spatial"].T
    beyond = int(((x < 0) | (y < 0) | (x >= width) | (y >= height)).sum())
    scale, outside, turned = proposal.reasons
    assert "80 px apart, 800 µm at the slide's 10 µm/px" in scale
    assert "200 µm apart" in scale
    assert "an image 4 × larger than the slide" in scale
    assert outside == f"{beyond} of {spots.n_obs} spots lie beyond the slide."
    assert turned.startswith("Multiplied by 0.25, but otherwise as they are, ")
    assert "with x and y swapped it would be" in turned


def test_a_fix_makes_a_copy_that_says_so(section: tuple[AnnData, Slide]) -> None:
    spots, slide = section
    before = spots.obsm["spatial"].copy()
    fixed = apply_fix(spots, Fix("with y mirrored", 0.5), slide.shape)
    expected = np.column_stack([before[:, 0] / 2, slide.shape[0] - before[:, 1] / 2])
    np.testing.assert_allclose(fixed.obsm["spatial"], expected)
    np.testing.assert_allclose(
        fixed.obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(), expected
    )
    np.testing.assert_array_equal(spots.obsm["spatial"], before)
    assert "fix" not in spots.uns["nh2st_spots"]
    assert fixed.uns["nh2st_spots"]["fix"]["factor"] == 0.5
    report = fixed.uns["nh2st_spots"]["report"]
    assert report.endswith("positions multiplied by 0.5, then taken with y mirrored")
    assert (fixed.X != spots.X).nnz == 0


def test_an_impossible_fix_is_refused() -> None:
    for wrong in ({"orientation": "sideways"}, {"factor": 0.0}, {"factor": np.nan}, {"place": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Fix(**wrong)


WIDTH, HEIGHT = 480.0, 400.0
STEPS = {
    "flip-x": lambda x, y: (WIDTH - x, y),
    "flip-y": lambda x, y: (x, HEIGHT - y),
    "swap-xy": lambda x, y: (y, x),
}


WORDS = {
    "": "",
    "flip-x": "with x mirrored",
    "flip-y": "with y mirrored",
    "flip-x flip-y": "with x and y mirrored",
    "swap-xy": "with x and y swapped",
    "swap-xy flip-x": "with x and y swapped, then x mirrored",
    "flip-x swap-xy": "with x mirrored, then x and y swapped",
    "swap-xy flip-y": "with x and y swapped, then y mirrored",
    "flip-y swap-xy": "with y mirrored, then x and y swapped",
    "swap-xy flip-x flip-y": "with x and y swapped, then both mirrored",
    "flip-x flip-y swap-xy": "with x and y mirrored, then swapped",
}


def test_the_words_of_a_fix_tell_the_order_of_its_steps() -> None:
    for text, words in WORDS.items():
        fix = Fix.from_text(text)
        assert fix.in_words().startswith(f"taken {words}" if text else "as they are")
        assert fix.in_short().startswith(words.removeprefix("with "))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("as they are", ((100, 20),)),
        ("with x mirrored", ((WIDTH - 100, 20),)),
        ("with y mirrored", ((100, HEIGHT - 20),)),
        ("with x and y mirrored (turned by 180°)", ((WIDTH - 100, HEIGHT - 20),)),
        ("with x and y swapped", ((20, 100),)),
        ("with x and y swapped, then x mirrored", ((WIDTH - 20, 100), (HEIGHT - 20, 100))),
        ("with x and y swapped, then y mirrored", ((20, HEIGHT - 100), (20, WIDTH - 100))),
        (
            "with x and y swapped, then both mirrored",
            ((WIDTH - 20, HEIGHT - 100), (HEIGHT - 20, WIDTH - 100)),
        ),
    ],
)
def test_places_are_what_the_words_say(name: str, expected: tuple[tuple[int, int], ...]) -> None:
    found = places([(100, 20)], name, (HEIGHT, WIDTH))
    assert tuple(tuple(place[0]) for place in found) == expected


@pytest.mark.parametrize("factor", [1.0, 4.0, 1 / 0.0873])
@pytest.mark.parametrize("turn", list(ORIENTATIONS))
def test_a_spelled_fix_does_its_steps_one_after_the_other(turn: str, factor: float) -> None:
    spots = drawn_spots()
    for place in range(len(ORIENTATIONS[turn])):
        fix = Fix(turn, factor, place)
        assert Fix.from_text(fix.spelled()) == fix
        x, y = spots.obsm["spatial"].T
        for step in fix.spelled().split():
            x, y = (
                (x * float(step[6:]), y * float(step[6:]))
                if step.startswith("scale=")
                else STEPS[step](x, y)
            )
        moved = apply_fix(spots, fix, (int(HEIGHT), int(WIDTH))).obsm["spatial"]
        np.testing.assert_array_equal(moved, np.column_stack([x, y]))


def test_a_fix_is_read_as_it_may_be_typed() -> None:
    assert Fix.from_text("") == Fix.from_text("scale=1") == Fix()
    assert Fix.from_text(" Scale=0.5  FLIP-Y flip-x ") == Fix(
        "with x and y mirrored (turned by 180°)", 0.5
    )
    assert Fix(factor=4.0).spelled() == "scale=4"


@pytest.mark.parametrize(
    "text",
    ["flip", "scale=0", "scale=big", "scale=nan", "flip-x scale=2", "flip-x swap-xy flip-y", "4"],
)
def test_what_is_spelled_as_no_fix_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"'{text}' is not a fix of positions; give scale=NUMBER"):
        Fix.from_text(text)


def test_tissue_is_sampled_at_the_middle_of_its_pixels() -> None:
    tissue = np.zeros((5, 7), bool)
    tissue[2, 3] = tissue[4, 0] = True
    sample = _tissue_sample(TissueMask(tissue, (10.0, 20.0)))
    np.testing.assert_array_equal(sample, [[70, 25], [10, 45]])  # (x, y)


def test_too_few_spots_tell_nothing() -> None:
    slide = array_slide(ArrayLevel(np.full((300, 300, 3), 245, np.uint8)), mpp=1.0)
    assert propose_fix(drawn_spots(rows=3, columns=4), slide) is None


def test_bare_glass_proposes_nothing() -> None:
    slide = array_slide(ArrayLevel(np.full((400, 460, 3), 245, np.uint8)), mpp=5.0)
    for factor in (1.0, 4.0):
        spots = drawn_spots()
        spots.obsm["spatial"] /= factor
        assert propose_fix(spots, slide) is None
        assert on_tissue(spots, slide) == 0


@pytest.mark.parametrize("name", ["C2", "C6", "MOB3"])
def test_real_sections_are_left_alone(test_data: Path, name: str) -> None:
    if name.startswith("MOB"):
        spots, path = mob(test_data, int(name[-1])), test_data / "mob" / f"{name}.jpg"
    else:
        spots, path = her2st(test_data, name), test_data / "her2st" / "images" / f"{name}.jpg"
    with open_slide(path) as slide:
        assert propose_fix(spots, slide) is None
