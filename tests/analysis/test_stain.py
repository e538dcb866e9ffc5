"""Stain of slides: drawn ones, whose stain is known, and real ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import hed2rgb, rgb2hed
from skimage.transform import downscale_local_mean

from array_slides import ArrayLevel, array_slide, textured, write_tiff
from napari_nh2st.analysis import (
    StainProfile,
    fit_stain,
    profile_of,
    slide_stain,
    stain_distance,
    stain_notice,
    tile_descriptors,
)
from napari_nh2st.analysis.stain_fields import MOST_FIELDS, tissue_fields
from napari_nh2st.errors import InputError
from napari_nh2st.inference.notices import normalized_stain, stain_fit
from napari_nh2st.model import bundled_models, read_config
from napari_nh2st.prediction.schema import FAR_STAIN
from napari_nh2st.slide import open_slide
from napari_nh2st.synthetic import write_synthetic_slide
from napari_nh2st.tiles import TissueMask
from small_configs import small_config
from spot_sections import her2st

HEMATOXYLIN, EOSIN = 0.06, 0.04


def stained(
    hematoxylin: float = HEMATOXYLIN,
    eosin: float = EOSIN,
    residual: float = 0.005,
    fields: int = 40,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """(fields, 32, 32, 3) with these amounts of stain, give or take a little."""
    rng = np.random.default_rng(seed)
    amounts = np.array([hematoxylin, eosin, residual])
    by_field = amounts * rng.normal(1, 0.15, (fields, 1, 1, 3)).clip(0.3)
    stains = by_field * rng.normal(1, 0.25, (fields, 32, 32, 3)).clip(0)
    return (hed2rgb(stains) * 255).round().astype(np.uint8)


def test_a_field_is_the_mean_of_its_pixels_upright(tmp_path: Path) -> None:
    pixels = textured(300, 200, 5)
    mpp = 2.5 / 4, 2.5 / 2  # a field has 256 rows and 128 columns of the slide
    with open_slide(write_tiff(tmp_path / "slide.tif", pixels), mpp=mpp) as slide:
        (field,) = tissue_fields(slide, centers=np.array([[150.0, 100.0]]))
    expected = downscale_local_mean(pixels[22:278, 36:164].astype(float), (4, 2, 1))
    np.testing.assert_allclose(field, expected, atol=0.5 + 1e-4)


def profile(sections: int = 4, **amounts: float) -> StainProfile:
    rng = np.random.default_rng(1)
    described = []
    for number in range(sections):
        section = stained(
            HEMATOXYLIN * rng.normal(1, 0.1), EOSIN * rng.normal(1, 0.1), seed=number + 1
        )
        described.append(tile_descriptors(section))
    return fit_stain(described)


def told(fields: NDArray[np.uint8]) -> tuple[float, str | None]:
    described = tile_descriptors(fields)
    distance = stain_distance(profile(), described)
    return distance, stain_notice(distance, described, profile())


def test_descriptors_are_mean_and_spread_of_each_stain_in_the_tissue() -> None:
    tiles = stained(fields=3)
    tiles[1, :20] = 250  # glass, which counts for nothing
    tiles[2] = 250
    tiles[2, 0, :30] = (120, 60, 140)  # 3 % tissue
    found = tile_descriptors(tiles)
    assert found.shape == (3, 6)
    for tile, tissue in ((0, tiles[0]), (1, tiles[1, 20:])):
        pixels = rgb2hed(tissue).reshape(-1, 3)
        expected = [[p[i] for p in pixels] for i in range(3)]
        np.testing.assert_allclose(found[tile, :3], [np.mean(e) for e in expected])
        np.testing.assert_allclose(found[tile, 3:], [np.std(e) for e in expected])
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[0, :2], [HEMATOXYLIN, EOSIN], rtol=0.4)


def test_spread_is_that_within_sections_and_that_between_them() -> None:
    # So many fields that Ledoit and Wolf shrink next to nothing.
    rng = np.random.default_rng(2)
    shape = rng.normal(0, 1, (6, 6)) * 0.01
    centers = rng.normal(0.05, 0.01, (4, 6))
    sections = [center + rng.normal(0, 1, (20_000, 6)) @ shape.T for center in centers]
    fitted = fit_stain(sections)
    expected = shape @ shape.T + np.cov(centers, rowvar=False)
    np.testing.assert_allclose(fitted.covariance, expected, atol=0.03 * expected.max())
    np.testing.assert_allclose(fitted.mean, centers.mean(0), atol=5e-4)
    assert (fitted.n_tiles, fitted.n_sections) == (80_000, 4)


def test_distance_is_mahalanobis_of_the_median_field() -> None:
    from scipy.spatial.distance import mahalanobis

    fitted = profile()
    described = tile_descriptors(stained(0.09, 0.02, seed=9))
    described[3] = np.nan
    median = np.nanmedian(described, axis=0)
    expected = mahalanobis(median, fitted.mean, np.linalg.inv(fitted.covariance))
    assert stain_distance(fitted, described) == pytest.approx(expected)
    assert stain_distance(fitted, fitted.mean[None]) == 0
    assert np.isnan(stain_distance(fitted, described[3:4]))
    assert stain_notice(float("nan"), described[3:4], fitted) is None


def test_stain_alike_gives_no_notice() -> None:
    distance, notice = told(stained(seed=50))
    assert distance < 1
    assert notice is None


@pytest.mark.parametrize(
    ("fields", "words", "without"),
    [
        (stained(0.18, 0.12, 0.015), ("darker (2", "times the stain"), "paler"),
        (stained(0.020, 0.013, 0.002), ("paler (0.3 times",), "darker"),
        (stained(0.02, 0.12), ("pinker (more eosin)",), "bluer"),
        (stained(0.10, 0.002), ("bluer (more hematoxylin",), "pinker"),
        (stained(0.03, 0.0, 0.09), ("browner", "immunohistochemistry (DAB)"), "pinker"),
        (255 - stained(), ("or not H&E at all?",), "pinker"),
    ],
)
def test_stain_far_off_is_told_with_its_direction(
    fields: NDArray[np.uint8], words: tuple[str, ...], without: str
) -> None:
    distance, notice = told(fields)
    assert distance > FAR_STAIN
    assert notice is not None
    assert f"distance {distance:.1f}" in notice
    for word in words:
        assert word in notice
    assert without not in notice


def test_a_profile_survives_json() -> None:
    fitted = profile()
    kept = StainProfile.from_json(json.loads(json.dumps(fitted.to_json(), allow_nan=False)))
    np.testing.assert_allclose(kept.mean, fitted.mean, rtol=1e-5)
    np.testing.assert_allclose(kept.covariance, fitted.covariance, rtol=1e-5)
    assert (kept.n_tiles, kept.n_sections, kept.mpp) == (160, 4, 2.5)


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": [1.0, 2.0]},
        {"covariance": [[0.0] * 6] * 6},
        {"descriptors": ["hue"] * 6},
        {"mpp": None},
        {"mean": [float("nan")] * 6},
    ],
)
def test_a_damaged_profile_is_a_sentence(damage: dict[str, object]) -> None:
    for content in (profile().to_json() | damage, [], {}):
        with pytest.raises(InputError, match="stain profile is damaged"):
            StainProfile.from_json(content)


def test_a_models_profile_is_in_its_training() -> None:
    config = small_config()
    assert profile_of(config) is None
    training = dict(config.training) | {"stain": profile().to_json()}
    found = profile_of(replace(config, training=training))
    assert found is not None
    np.testing.assert_allclose(found.mean, profile().mean, rtol=1e-5)


def test_sections_that_do_not_vary_have_a_profile_nevertheless() -> None:
    flat = np.tile(tile_descriptors(np.full((1, 8, 8, 3), (150, 90, 160), np.uint8)), (12, 1))
    fitted = fit_stain([flat])
    assert stain_distance(fitted, flat) == pytest.approx(0)
    assert stain_distance(fitted, flat * 1.5) > FAR_STAIN
    with pytest.raises(InputError, match="9 fields have tissue"):
        fit_stain([flat[:9], np.full((3, 6), np.nan)])


def two_colors() -> NDArray[np.uint8]:
    """Left half pink, right half blue."""
    pixels = np.empty((512, 640, 3), np.uint8)
    pixels[:, :320], pixels[:, 320:] = (200, 100, 170), (90, 90, 190)
    return pixels


def test_fields_are_read_around_centers_at_the_resolution_asked_for() -> None:
    slide = array_slide(ArrayLevel(two_colors()), mpp=2.5)
    left, right = (
        tile_descriptors(two_colors()[None, :64, columns])
        for columns in (slice(64), slice(-64, None))
    )
    # At 2.5 µm/px a field is 64 px; one on the border has 24 columns of pink.
    centers = np.array([[100.0, 100.0], [100.0, 500.0], [100.0, 328.0]])
    found = slide_stain(slide, centers=centers)
    np.testing.assert_allclose(found[:2], np.concatenate([left, right]), atol=1e-12)
    np.testing.assert_allclose(found[2, :3], (24 * left + 40 * right)[0, :3] / 64)
    # At 5 µm/px it is 128 px wide, averaged by two; 56 of them are pink.
    coarse = slide_stain(slide, centers=centers[2:], mpp=5.0)
    np.testing.assert_allclose(coarse[0, :3], (56 * left + 72 * right)[0, :3] / 128)


def test_a_coarser_level_serves_where_there_is_one() -> None:
    pixels = two_colors().repeat(4, 0).repeat(4, 1)
    fine, middle, coarse = (ArrayLevel(pixels[::n, ::n]) for n in (1, 2, 4))
    slide = array_slide(fine, middle, coarse, mpp=0.7)
    slide_stain(slide, centers=np.array([[800.0, 800.0]]))
    assert coarse.decoded.total() == 0  # at 2.8 µm/px
    assert fine.decoded.total() == 0
    assert middle.decoded.total() > 0


def test_fields_are_drawn_from_the_tissue_the_same_for_a_seed() -> None:
    slide = array_slide(ArrayLevel(two_colors()), mpp=2.5)
    tissue = np.zeros((64, 80), bool)
    tissue[8:-8, 50:] = True
    mask = TissueMask(tissue, (8.0, 8.0))
    found = slide_stain(slide, mask)
    assert len(found) == MOST_FIELDS
    blue = tile_descriptors(two_colors()[None, :64, -64:])
    np.testing.assert_allclose(np.median(found, axis=0), blue[0], atol=1e-12)
    np.testing.assert_array_equal(found, slide_stain(slide, mask))
    small = TissueMask(tissue & (np.arange(80) == 70), (8.0, 8.0))
    assert len(slide_stain(slide, small)) == 48


def test_a_slide_that_does_not_know_its_resolution_is_read_nevertheless() -> None:
    slide = array_slide(ArrayLevel(two_colors()), mpp=None)
    given = array_slide(ArrayLevel(two_colors()), mpp=0.5)
    centers = np.array([[200.0, 300.0]])
    np.testing.assert_array_equal(
        slide_stain(slide, centers=centers), slide_stain(given, centers=centers)
    )


def test_damaged_parts_are_left_out_and_no_tissue_is_a_sentence() -> None:
    damaged = ArrayLevel(two_colors(), damaged=[(1, 1)])
    slide = array_slide(damaged, mpp=2.5)
    centers = np.array([[96.0, 96.0], [300.0, 300.0]])
    assert len(slide_stain(slide, centers=centers)) == 1
    with pytest.raises(InputError, match="no stained tissue"):
        slide_stain(slide, centers=centers[:1])
    white = array_slide(ArrayLevel(np.full((512, 512, 3), 245, np.uint8)), mpp=2.5)
    for where in ({}, {"centers": np.array([[256.0, 256.0]])}):
        with pytest.raises(InputError, match="no stained tissue"):
            slide_stain(white, **where)


def test_the_bundled_model_knows_the_stain_of_its_own_sections(test_data: Path) -> None:
    fitted = profile_of(read_config(bundled_models()["her2-breast-demo"]))
    assert fitted is not None
    assert (fitted.n_sections, fitted.n_tiles) == (5, 910)
    spots = her2st(test_data, "C4").obsm["spatial"]
    with open_slide(test_data / "her2st" / "images" / "C4.jpg", mpp=0.69) as slide:
        own = slide_stain(slide, centers=spots[::4, ::-1], mpp=fitted.mpp)
    assert stain_distance(fitted, own) < 0.6 * FAR_STAIN


def test_the_bundled_model_finds_other_laboratories_far(test_data: Path, tmp_path: Path) -> None:
    fitted = profile_of(read_config(bundled_models()["her2-breast-demo"]))
    assert fitted is not None
    synthetic = tmp_path / "slide.tiff"
    write_synthetic_slide(synthetic, seed=3, shape=(1600, 1600), mpp=1.0)
    slides = {
        test_data / "mob" / "MOB2.jpg": (3.1, ("paler", "bluer")),
        test_data / "slides" / "CMU-1-Small-Region.svs": (None, ("pinker",)),
        synthetic: (None, ("pinker",)),
    }
    for path, (mpp, words) in slides.items():
        with open_slide(path, mpp=mpp) as slide:
            found = slide_stain(slide, mpp=fitted.mpp)
        distance = stain_distance(fitted, found)
        notice = stain_notice(distance, found, fitted)
        assert distance > 2 * FAR_STAIN
        assert notice is not None
        assert all(word in notice for word in words)


def test_the_bundled_model_finds_other_tissue_far_in_its_own_stain_too(test_data: Path) -> None:
    config = read_config(bundled_models()["her2-breast-demo"])
    own = test_data / "her2st" / "images" / "C4.jpg", 0.69
    bulb = test_data / "mob" / "MOB2.jpg", 3.1
    distances = []
    for path, mpp in (own, bulb):
        with open_slide(path, mpp=mpp) as slide:
            matrix, _ = normalized_stain(slide, config)
            assert matrix is not None
            distances.append(stain_fit(slide, config, matrix=matrix).distance)
    assert distances[0] is not None
    assert distances[1] is not None
    assert distances[0] < 0.6 * FAR_STAIN < FAR_STAIN < distances[1]
