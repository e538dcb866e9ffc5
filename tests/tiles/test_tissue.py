"""Tissue is found on drawn slides, and what is not tissue is left out."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from array_slides import ArrayLevel, array_slide
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.tiles import TissueMask, find_tissue, tissue_from_polygons
from napari_nh2st.tiles.mask import scanned_area, stained

SHAPE = (300, 400)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
BLOB = ((Y - 150) / 80) ** 2 + ((X - 200) / 110) ** 2 < 1
NOWHERE, EVERYWHERE = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
WHITE = (1.0, 1.0, 1.0)

Where = NDArray[np.bool_]


def drawn(
    tissue: Where,
    glass: tuple[float, float, float] = WHITE,
    light: NDArray[np.float64] | float = 1.0,
    stain: tuple[int, int, int] = (205, 140, 190),
    ink: Where = NOWHERE,
    ink_color: tuple[int, int, int] = (0, 0, 0),
) -> NDArray[np.uint8]:
    """Stain on glass under a light, as a camera with some noise sees it: absorption multiplies."""
    rng = np.random.default_rng(0)
    shown = np.full((*SHAPE, 3), 244.0) + rng.normal(0, 2, (*SHAPE, 3))
    cells = rng.normal(0, 18, (*SHAPE, 3)) + 20 * (np.sin(Y / 5) * np.cos(X / 7))[..., None]
    shown[tissue] = np.clip(np.array(stain) + cells, 0, 250)[tissue]
    shown *= np.array(glass) * np.broadcast_to(light, SHAPE)[..., None]
    shown[ink] = np.array(ink_color) + rng.normal(0, 6, (int(ink.sum()), 3))
    return np.clip(shown, 0, 255).astype(np.uint8)


def slide_of(pixels: NDArray[np.uint8], mpp: float = 8.0) -> Slide:
    return array_slide(ArrayLevel(pixels), mpp=mpp)


UNEVEN = 0.8 + 0.2 * X / SHAPE[1]


@pytest.mark.parametrize(
    "pixels",
    [
        drawn(BLOB),
        drawn(BLOB, glass=(0.8, 0.8, 0.8)),
        drawn(BLOB, glass=(0.95, 0.92, 0.86)),
        drawn(BLOB, light=UNEVEN),
        drawn(BLOB, light=UNEVEN, stain=(215, 180, 205)),
        drawn(BLOB, stain=(120, 85, 160)),
    ],
    ids=["white", "grey", "yellowish", "uneven", "faint and uneven", "dark"],
)
def test_a_blob_of_tissue_is_found_on_glass(pixels: NDArray[np.uint8]) -> None:
    mask = find_tissue(slide_of(pixels))
    assert mask.downsample == (1, 1)
    assert mask.tissue[BLOB].mean() > 0.98
    assert mask.tissue[~BLOB].mean() < 0.02


@pytest.mark.parametrize(
    "pixels",
    [drawn(NOWHERE), drawn(NOWHERE, (0.8, 0.8, 0.8)), drawn(NOWHERE, light=UNEVEN)],
    ids=["white", "grey", "uneven"],
)
def test_bare_glass_is_not_halved_into_glass_and_tissue(pixels: NDArray[np.uint8]) -> None:
    assert not find_tissue(slide_of(pixels)).tissue.any()


@pytest.mark.parametrize("stain", [(205, 140, 190), (150, 100, 170), (180, 80, 130)])
def test_tissue_that_fills_the_slide_is_tissue(stain: tuple[int, int, int]) -> None:
    assert find_tissue(slide_of(drawn(EVERYWHERE, stain=stain))).tissue.mean() > 0.98


@pytest.mark.parametrize(
    "color",
    [(30, 60, 200), (40, 30, 170), (20, 130, 60), (10, 70, 40), (30, 30, 32), (210, 25, 30)],
    ids=["blue", "ultramarine", "green", "dark green", "black", "red"],
)
def test_pen_ink_is_not_tissue(color: tuple[int, int, int]) -> None:
    stroke = np.abs(Y - 30 - 10 * np.sin(X / 30)) < 6
    mask = find_tissue(slide_of(drawn(BLOB, ink=stroke, ink_color=color))).tissue
    assert mask[stroke].mean() < 0.01
    assert mask[BLOB].mean() > 0.98


def test_blue_nuclei_are_not_ink() -> None:
    # Frozen sections: haematoxylin as blue as (118, 126, 190), where dense nuclei crowd.
    nuclei = ((Y - 150) / 40) ** 2 + ((X - 200) / 40) ** 2 < 1
    pixels = drawn(BLOB, stain=(165, 160, 205))
    noise = np.random.default_rng(1).normal(0, 6, (int(nuclei.sum()), 3))
    pixels[nuclei] = np.array([100, 112, 180]) + noise
    assert find_tissue(slide_of(pixels)).tissue[BLOB].mean() > 0.98


def test_specks_and_small_holes_go_by_their_area() -> None:
    speck = (Y - 30) ** 2 + (X - 30) ** 2 < 6**2
    hole = (Y - 150) ** 2 + (X - 200) ** 2 < 8**2
    pixels = drawn(BLOB & ~hole | speck)
    per_pixel = 8.0**2
    large = find_tissue(slide_of(pixels), min_area_um2=1.5 * hole.sum() * per_pixel).tissue
    assert not large[speck].any()
    assert large[hole].all()
    small = find_tissue(slide_of(pixels), min_area_um2=20 * per_pixel).tissue
    assert small[speck].mean() > 0.5
    assert small[hole].mean() < 0.5


def test_unreadable_parts_count_as_tissue_so_that_they_are_reported() -> None:
    slide = array_slide(ArrayLevel(drawn(NOWHERE), damaged=[(1, 2)]), mpp=8.0)
    tissue = find_tissue(slide).tissue
    assert tissue[64:128, 128:192].all()
    assert tissue.sum() == 64 * 64


def test_mask_is_looked_for_at_a_coarse_level() -> None:
    fine = drawn(BLOB).repeat(4, 0).repeat(4, 1)
    level, coarse = ArrayLevel(fine[:1000, :1000]), ArrayLevel(fine[2:1000:4, 2:1000:4])
    slide = array_slide(level, coarse, mpp=2.0)
    mask = find_tissue(slide)
    assert mask.tissue.shape == (250, 250)
    assert mask.downsample == (4, 4)
    assert not level.decoded


def test_unknown_resolution_is_taken_as_half_a_micrometre() -> None:
    pixels = drawn(BLOB).repeat(2, 0).repeat(2, 1)
    assert find_tissue(slide_of(pixels, mpp=None)).tissue.shape == (600 // 16, 800 // 16)
    assert find_tissue(slide_of(pixels, mpp=None), mpp=4.0).tissue.shape == SHAPE


def test_fraction_counts_the_mask_pixels_in_each_box() -> None:
    rng = np.random.default_rng(0)
    mask = TissueMask(rng.random((40, 60)) < 0.5, (4.0, 5.0))
    top_left = rng.integers(-10, 60, (200, 2)) * (4.0, 5.0)
    size = (12.0, 35.0)
    found = mask.fraction(top_left, size)
    for corner, share in zip(top_left, found, strict=True):
        y, x = (corner / mask.downsample).astype(int)
        inside = [
            mask.tissue[row, column]
            for row in range(y, y + 3)
            for column in range(x, x + 7)
            if 0 <= row < 40 and 0 <= column < 60
        ]
        assert share == pytest.approx(sum(inside) / 21)


def test_boxes_smaller_than_a_mask_pixel_see_the_pixel_they_lie_in() -> None:
    mask = TissueMask(np.array([[True, False], [False, True]]), (100.0, 100.0))
    corners = np.array([[10.0, 10.0], [10.0, 110.0], [110.0, 10.0], [110.0, 110.0]])
    np.testing.assert_array_equal(mask.fraction(corners, (8, 8)), [1, 0, 0, 1])


def test_polygons_make_a_mask_of_what_lies_inside() -> None:
    slide = slide_of(drawn(NOWHERE))
    triangle = np.array([[50.0, 100.0], [250.0, 100.0], [250.0, 300.0]])
    square = np.array([[10.0, 10.0], [10.0, 40.0], [40.0, 40.0], [40.0, 10.0]])
    mask = tissue_from_polygons(slide, [triangle, square])
    assert mask.tissue.shape == SHAPE
    center_y, center_x = Y + 0.5, X + 0.5
    inside = (center_x > 100) & (center_y < 250) & (center_y - 50 > center_x - 100)
    inside |= (center_y > 10) & (center_y < 40) & (center_x > 10) & (center_x < 40)
    edge = (np.abs(center_y - 50 - center_x + 100) < 1e-6) & (center_y < 250)
    np.testing.assert_array_equal(mask.tissue[~edge], inside[~edge])


def test_cleaning_keeps_tissue_at_the_edge_of_the_image() -> None:
    half = X < 200
    tissue = stained(drawn(half), 40)
    assert tissue[half].mean() > 0.99


@pytest.mark.parametrize("gap", [6, 7])
def test_glass_between_tissue_and_the_edge_of_the_image_is_glass(gap: int) -> None:
    block = ((Y - (SHAPE[0] - gap - 80)) / 80) ** 2 + ((X - 200) / 110) ** 2 < 1
    mask = stained(ndimage.gaussian_filter(drawn(block), (1, 1, 0)), 300)
    assert mask[block].all()
    assert not mask[SHAPE[0] - gap + 2 :].any()


def test_measured_spots_lie_on_what_is_found(test_data: Path) -> None:
    table = np.genfromtxt(test_data / "mob" / "alignment_table_MOB1.tsv", names=True)
    table = table[table["selected"] == 1]
    centers = np.column_stack([table["pixel_y"], table["pixel_x"]])
    with open_slide(test_data / "mob" / "MOB1.jpg", mpp=3.5) as slide:
        mask = find_tissue(slide)
    share = mask.fraction(centers - 10, (20, 20))
    assert len(share) == 379
    assert (share > 0.25).mean() > 0.97
    assert 0.08 < mask.tissue.mean() < 0.25


def test_a_faint_smear_without_texture_is_left_out() -> None:
    tissue = BLOB & (X < 190)
    bump = np.exp(-(((Y - 150) / 70) ** 2 + ((X - 290) / 60) ** 2))
    eosin = 1 - bump[..., None] * np.array([0.02, 0.3, 0.15])
    pixels = np.where(tissue[..., None], drawn(tissue), drawn(tissue) * eosin).astype(np.uint8)
    smear = (bump > 0.4) & ~tissue
    found = stained(pixels, 40)
    assert found[tissue].mean() > 0.97
    assert found[smear].mean() < 0.03
    # The color alone would have done: with texture the same patch is tissue.
    random = np.random.default_rng(1).normal(1, 0.09, SHAPE)[..., None]
    rough = np.where(smear[..., None], np.clip(pixels * random, 0, 250), pixels).astype(np.uint8)
    assert stained(rough, 40)[bump > 0.6].mean() > 0.9


GREYS = [(grey, grey, grey) for grey in (0, 1, 64, 128, 200, 240, 255)]


@pytest.mark.parametrize("color", [*GREYS, (200, 60, 140), (90, 60, 160), (255, 250, 200)], ids=str)
@pytest.mark.parametrize("glass", [WHITE, (0.95, 0.92, 0.78), (0.85, 0.9, 1.0)], ids=str)
def test_padding_of_any_color_is_no_tissue(
    color: tuple[int, int, int], glass: tuple[float, float, float]
) -> None:
    padding = (X > 330) | (Y > 255) | ((Y < 30) & (X < 60))
    pixels = drawn(BLOB & ~padding, glass=glass)
    pixels[padding] = color
    mask = find_tissue(slide_of(pixels)).tissue
    assert mask[padding].mean() < 0.01
    assert mask[BLOB & ~padding].mean() > 0.97
    assert mask[~BLOB & ~padding].mean() < 0.02


@pytest.mark.parametrize("color", [(128, 128, 128), (255, 255, 255), (0, 0, 0), (230, 200, 120)])
def test_padding_that_was_compressed_is_no_tissue(
    color: tuple[int, int, int], tmp_path: Path
) -> None:
    padding = (X > 331) | (Y > 257)
    pixels = drawn(BLOB & ~padding, glass=(0.95, 0.93, 0.88))
    pixels[padding] = color
    fine = pixels.repeat(4, 0).repeat(4, 1)
    tifffile.imwrite(
        tmp_path / "padded.tif", fine, tile=(256, 256), photometric="rgb", compression="jpeg"
    )
    with open_slide(tmp_path / "padded.tif", mpp=2.0) as slide:
        mask = find_tissue(slide).tissue
    assert mask.shape == SHAPE
    assert mask[padding].mean() < 0.01
    assert mask[BLOB & ~padding].mean() > 0.97
    assert mask[~BLOB & ~padding].mean() < 0.02


@pytest.mark.parametrize("glass", [(0.95, 0.92, 0.76), (0.8, 0.88, 1.0), (1.0, 0.85, 0.9)], ids=str)
def test_glass_of_another_white_balance_is_glass(glass: tuple[float, float, float]) -> None:
    mask = find_tissue(slide_of(drawn(BLOB, glass=glass))).tissue
    assert mask[BLOB].mean() > 0.98
    assert mask[~BLOB].mean() < 0.02
    assert not find_tissue(slide_of(drawn(NOWHERE, glass=glass))).tissue.any()


def test_blurred_tissue_on_glass_of_one_color_is_not_taken_for_the_glass() -> None:
    pixels = np.full((*SHAPE, 3), 245, np.uint8)
    noise = np.random.default_rng(0).normal(0, 2, (int(BLOB.sum()), 3))
    pixels[BLOB] = np.array([190, 90, 150]) + noise
    assert find_tissue(slide_of(pixels)).tissue[BLOB].mean() > 0.98


def pale(share: float, where: Where) -> NDArray[np.uint8]:
    """The blob, with only some of the stain in a part of it."""
    stained_part, faint = drawn(BLOB).astype(float), 244 * (drawn(BLOB) / 244.0) ** share
    return np.clip(np.where(where[..., None], faint, stained_part), 0, 255).astype(np.uint8)


def test_pale_tissue_beside_stained_tissue_is_found_by_its_texture() -> None:
    part = BLOB & (X > 220)
    mask = find_tissue(slide_of(pale(0.35, part))).tissue
    assert mask[part].mean() > 0.95
    assert mask[~BLOB].mean() < 0.02


def test_fat_is_tissue_though_most_of_it_is_empty() -> None:
    # Cells of 100 µm, which leave nothing on the slide but their faint walls.
    fat = BLOB & (X > 200)
    cells = (np.abs((Y % 12) - 6) < 1) | (np.abs((X % 12) - 6) < 1)
    pixels = drawn(BLOB & ~fat).astype(float)
    pixels[fat & cells] *= (0.92, 0.84, 0.92)
    mask = find_tissue(slide_of(pixels.astype(np.uint8))).tissue
    assert mask[fat].mean() > 0.88
    assert mask[~BLOB].mean() < 0.02


def test_grey_texture_by_itself_is_no_tissue() -> None:
    # The ring of a bubble below the cover glass, as on legacy ST slides.
    radius = np.hypot(Y - 40, X - 350)
    ring = np.exp(-(((radius - 22) / 5) ** 2))
    pixels = drawn(BLOB) * (1 - 0.5 * ring[..., None] * np.array([1.0, 1.0, 0.92]))
    mask = find_tissue(slide_of(pixels.astype(np.uint8))).tissue
    assert not mask[radius < 35].any()
    assert mask[BLOB].mean() > 0.98


@pytest.mark.parametrize("segment", [(32, 32), (64, 48), (300, 400)])
def test_the_chunks_of_the_file_change_nothing(segment: tuple[int, int]) -> None:
    pixels = pale(0.3, BLOB & (X > 220)).repeat(3, 0).repeat(3, 1)
    expected = find_tissue(slide_of(pixels, mpp=8 / 3)).tissue
    level = ArrayLevel(pixels, segment)
    np.testing.assert_array_equal(find_tissue(array_slide(level, mpp=8 / 3)).tissue, expected)


def test_the_scanned_area_is_what_lies_within_the_bounds() -> None:
    slide = slide_of(drawn(BLOB))
    assert scanned_area(slide) is None
    slide.bounds = (60, 80, 120, 200)
    mask = scanned_area(slide)
    assert mask is not None
    expected = np.zeros(SHAPE, bool)
    expected[60:180, 80:280] = True
    np.testing.assert_array_equal(mask.tissue, expected, strict=True)


@pytest.mark.parametrize("bounds", [(4, 59, 4, 1), (0, 1, 1, 59), (29, 6, 1, 3)])
def test_a_pixel_of_the_mask_that_was_scanned_in_part_is_scanned(
    bounds: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_nh2st.tiles.mask.LARGEST_MASK_SIDE", 20)
    slide = slide_of(np.full((30, 60, 3), 255, np.uint8))
    slide.bounds = bounds
    y, x, height, width = bounds
    scanned = np.zeros((30, 60), bool)
    scanned[y : y + height, x : x + width] = True
    mask = scanned_area(slide)
    assert mask is not None
    np.testing.assert_array_equal(mask.tissue, scanned.reshape(10, 3, 20, 3).any((1, 3)))
