"""Density of nuclei: as many as were drawn and as another method counts, wherever a tile stands."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.inference.nuclei import nuclei_of_tiles, nuclei_per_mm2
from napari_nh2st.model.folder import new_model
from napari_nh2st.prediction.schema import NUCLEI
from napari_nh2st.slide import Slide
from napari_nh2st.synthetic import SyntheticTissue
from small_configs import small_config
from small_models import small_model

SIDE_UM = 1200
TILE_UM = 150
SETTINGS = PredictSettings(tissue_only=False, device="cpu", precision="float32", batch_size=8)


def pixels_slide() -> Slide:
    return array_slide(ArrayLevel(textured(170, 230)), mpp=1.0)


@cache
def drawn(mpp: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Tiles of a synthetic tissue, and the nuclei per mm² that were drawn in each."""
    side = round(TILE_UM / mpp)
    count = int(SIDE_UM / mpp) // side
    tissue = SyntheticTissue(7, (count * side, count * side), mpp)
    picture = tissue.render(0, 0, count * side, count * side)
    tiles = picture.reshape(count, side, count, side, 3).swapaxes(1, 2)
    row, column = ((tissue.nuclei[axis] // side).astype(int) for axis in "yx")
    inside = (row < count) & (column < count)
    number = np.zeros((count, count))
    np.add.at(number, (row[inside], column[inside]), 1)
    return tiles.reshape(-1, side, side, 3).copy(), number.ravel() / (side * mpp / 1000) ** 2


@pytest.mark.parametrize("mpp", [0.75, 2.4])
def test_as_many_nuclei_are_counted_as_were_drawn(mpp: float) -> None:
    tiles, truth = drawn(mpp)
    assert np.ptp(truth) > 3000
    counted = nuclei_of_tiles(tiles, mpp)
    assert np.corrcoef(counted, truth)[0, 1] > 0.95
    assert 0.75 < counted.sum() / truth.sum() < 1.2
    assert counted[truth == 0].mean() < 100


def test_maxima_of_smoothed_hematoxylin_are_as_many() -> None:
    """By scikit-image, at full resolution."""
    tiles, _ = drawn(0.75)
    tiles = tiles[::3]
    found = []
    for tile in tiles:
        hematoxylin = gaussian(rgb2hed(tile)[..., 0], 2.0 / 0.75)
        peaks = peak_local_max(hematoxylin, min_distance=4, exclude_border=False)
        above = hematoxylin[tuple(peaks.T)] > hematoxylin.mean() + 0.01
        found.append(above.sum() / (TILE_UM / 1000) ** 2)
    assert np.corrcoef(nuclei_of_tiles(tiles, 0.75), found)[0, 1] > 0.9


def test_a_tile_that_is_turned_has_as_many_nuclei() -> None:
    # Rows and columns are smoothed alike; of ties, which have one more or less, there are few.
    tiles, _ = drawn(0.75)
    turned = np.ascontiguousarray(tiles.transpose(0, 2, 1, 3))
    difference = np.abs(nuclei_of_tiles(tiles, 0.75) - nuclei_of_tiles(turned, 0.75))
    one = 1 / (TILE_UM / 1000) ** 2
    assert difference.max() < 2.5 * one
    assert difference.mean() < 0.1 * one


def test_a_tile_has_the_same_density_in_any_batch() -> None:
    tiles = torch.randint(0, 256, (9, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
    every = nuclei_per_mm2(tiles, 0.5)
    assert every.std() > 0
    for size in (1, 2, 4):
        parts = [nuclei_per_mm2(part, 0.5) for part in tiles.split(size)]
        assert torch.equal(torch.cat(parts), every)


def test_a_part_that_is_all_alike_is_one_nucleus_at_most() -> None:
    """As black beyond a scan: each of its pixels is as high as those around it."""
    tile = torch.full((1, 64, 64, 3), 230, dtype=torch.uint8)
    tile[:, :, :24] = 0
    for mpp in (0.5, 1.0, 2.4):
        assert nuclei_per_mm2(tile, mpp).item() == pytest.approx(1 / (64 * mpp / 1000) ** 2)


@pytest.mark.parametrize("reach", ["query", "average", "merge"])
def test_a_prediction_has_the_density_of_its_tiles_beside_the_same_values(reach: str) -> None:
    model = (
        small_model(reach)
        if reach != "merge"
        else new_model(
            small_config(architecture="merge", hyperparameters={"hidden": 8, "heads": 2}), 0
        )
    )
    slide = pixels_slide()
    plain = predict(slide, model, SETTINGS)
    assert NUCLEI not in plain.obs
    found = predict(slide, model, replace(SETTINGS, nuclei=True))
    np.testing.assert_array_equal(found.X, plain.X)
    corners = np.floor(found.obsm["spatial"][:, ::-1] - 16 + 0.5).astype(int)
    tiles = np.stack([slide.levels[0].read(*corner, 32, 32) for corner in corners])
    # Of a whole slide, rows are kept in half precision.
    expected = nuclei_of_tiles(tiles, 1.0)
    np.testing.assert_allclose(found.obs[NUCLEI], expected, rtol=1e-3 if reach == "merge" else 0)
    assert found.obs[NUCLEI].std() > 0


def test_tiles_that_are_too_coarse_are_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match=r"small sees tiles at 4.7 µm/px, where nuclei cannot be"):
        predict(pixels_slide(), small_model(mpp=4.7), replace(SETTINGS, nuclei=True))
