"""Tissue that somebody drew becomes a mask, and what has no tile is counted."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from array_slides import ArrayLevel, array_slide
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask, tile_grid, tissue_from_labels
from napari_nh2st.tiles.coverage import share_without_tile
from napari_nh2st.tiles.drawn_tissue import read_tissue

HEIGHT, WIDTH = 600, 800
DRAWN = np.zeros((60, 80), np.uint8)
DRAWN[10:40, 20:50] = 255


@pytest.fixture
def slide() -> Slide:
    return array_slide(ArrayLevel(np.full((HEIGHT, WIDTH, 3), 243, np.uint8)), mpp=0.5)


def is_drawn(mask: TissueMask) -> bool:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[100:400, 200:500] = True
    factor = int(mask.downsample[0])
    assert mask.downsample == (factor, factor)
    return np.array_equal(mask.tissue.repeat(factor, 0).repeat(factor, 1), expected)


@pytest.mark.parametrize(
    "name", ["mask.png", "mask.tif", "rgb.png", "rgba.png", "rgba.tif", "bits.png"]
)
def test_a_picture_of_the_whole_slide_is_a_mask(name: str, slide: Slide, tmp_path: Path) -> None:
    path = tmp_path / name
    colors = np.stack([np.zeros_like(DRAWN), DRAWN // 2, DRAWN], -1)
    opaque = np.full((60, 80, 1), 255, np.uint8)
    match name:
        case "mask.tif":
            tifffile.imwrite(path, DRAWN.astype(np.uint16))
        case "rgb.png":
            Image.fromarray(colors).save(path)
        case "rgba.tif":
            pixels = np.concatenate([colors, opaque], -1)
            tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
        case "rgba.png":
            Image.fromarray(np.concatenate([colors, opaque], -1)).save(path)
        case "bits.png":
            Image.fromarray(DRAWN > 0).save(path)
        case _:
            Image.fromarray(DRAWN).save(path)
    assert is_drawn(read_tissue(path, slide))


def test_polygons_are_a_mask(slide: Slide, tmp_path: Path) -> None:
    ring = [[200, 100], [500, 100], [500, 400], [200, 400], [200, 100]]
    path = tmp_path / "tissue.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}), encoding="utf-8")
    assert is_drawn(read_tissue(path, slide))


def test_what_is_no_mask_of_the_slide_is_refused(slide: Slide, tmp_path: Path) -> None:
    def refused(name: str, why: str) -> None:
        with pytest.raises(InputError, match=why) as error:
            read_tissue(tmp_path / name, slide)
        assert name in str(error.value)

    refused("none.png", "there is no such file")
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "text.tif").write_text("no picture", encoding="utf-8")
    refused("text.png", "cannot be read as a mask")
    refused("text.tif", "cannot be read as a mask")
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(tmp_path / "black.png")
    refused("black.png", "no tissue")
    Image.fromarray(DRAWN.T).save(tmp_path / "turned.png")
    refused("turned.png", "not the shape of the slide")
    Image.fromarray(np.ones((10_001, 10_000), bool)).save(tmp_path / "large.png")
    refused("large.png", "save it smaller")
    ring = [[2000, 100], [2500, 100], [2500, 400]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    (tmp_path / "far.geojson").write_text(json.dumps(polygon), encoding="utf-8")
    refused("far.geojson", "none of its polygons lies on the slide")


def test_labels_lie_where_they_are_said_to(slide: Slide) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (30, 40))
    mask = tissue_from_labels(slide, labels, (10.0, 8.0), corner=(205.0, -12.0))
    for y, x in np.random.default_rng(1).integers(0, (HEIGHT, WIDTH), (500, 2)):
        row, column = int((y + 0.5 - 205) // 10), int((x + 0.5 + 12) // 8)
        inside = 0 <= row < 30 and 0 <= column < 40
        assert mask.tissue[y, x] == (inside and labels[row, column] != 0)


def test_masks_are_told_apart_by_their_digest() -> None:
    some = np.random.default_rng(0).random((20, 30)) < 0.5
    one = TissueMask(some, (2.0, 2.0))
    assert one.sha256 == TissueMask(some.copy(), (2.0, 2.0)).sha256
    drawn = (np.float64(2 - 1e-12), np.float64(2.0))  # in a layer that is turned
    assert one.sha256 == TissueMask(some, drawn).sha256
    changed = some.copy()
    changed[3, 4] ^= True
    others = [TissueMask(changed, (2.0, 2.0)), TissueMask(some, (2.0, 1.0))]
    assert len({one.sha256, *(other.sha256 for other in others)}) == 3


@pytest.mark.parametrize(("layout", "divisions"), product(["square", "hexagonal"], [1, 2, 3]))
def test_tissue_without_a_tile_is_counted(layout: str, divisions: int, slide: Slide) -> None:
    # No pixel's center lies on the edge of a tile.
    tissue = np.random.default_rng(0).random((32, 32)) < 0.3
    mask = TissueMask(tissue, (HEIGHT / 32, WIDTH / 32))
    grid = tile_grid(
        slide,
        tile_um=30,
        pitch_um=60,
        mask=mask,
        layout=layout,
        min_tissue=0.4,
        divisions=divisions,
    )
    half_y, half_x = np.array(grid.step_px) * (0.5, 0.5 if layout == "square" else 1.0)
    without = 0
    rows, columns = np.nonzero(tissue)
    for row, column in zip(rows, columns, strict=True):
        y, x = (np.array([row, column]) + 0.5) * mask.downsample
        dy, dx = np.abs(grid.centers - (y, x)).T
        without += not ((dy <= half_y + 1e-9) & (dx <= half_x + 1e-9)).any()
    share = share_without_tile(grid, mask)
    assert 0.02 < share < 0.98
    assert share == pytest.approx(without / len(rows))


def test_all_of_the_tissue_may_have_tiles(slide: Slide) -> None:
    mask = TissueMask(np.ones((60, 80), bool), (10.0, 10.0))
    grid = tile_grid(slide, tile_um=20, pitch_um=20, mask=mask)
    assert share_without_tile(grid, mask) == 0
    assert share_without_tile(grid, TissueMask(np.zeros((60, 80), bool), (10.0, 10.0))) == 0
