"""Tissue of a slide as a layer: what is painted is what is taken."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from array_slides import write_tiff
from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.layers.tissue import add_tissue_layer, tissue_layer_of, tissue_of
from napari_nh2st.tiles import TissueMask, find_tissue

MASK = TissueMask(np.random.default_rng(0).random((64, 80)) < 0.5, (8.0, 8.0))


def slide_layer(viewer: ViewerModel, path: Path, **attributes: object) -> Image:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    ((data, found, _),) = read_slide(write_tiff(path, pixels), mpp=2.0)
    return viewer.add_image(data, **(found | attributes))


@pytest.mark.parametrize(
    "placed",
    [
        {},
        {"scale": (2.0, 3.0), "translate": (50, -20)},
        {"rotate": 30.0, "translate": (7, 8)},
        {"affine": np.array([[0, 2, 5], [-2, 0, 9], [0, 0, 1.0]])},
    ],
    ids=["as it comes", "moved", "turned", "affine"],
)
def test_a_mask_lies_on_its_slide_and_is_read_as_it_was(
    placed: dict[str, object], tmp_path: Path
) -> None:
    viewer = ViewerModel()
    image = slide_layer(viewer, tmp_path / "section.tif", **placed)
    slide = image.metadata[SLIDE_KEY]
    layer = add_tissue_layer(viewer, image, MASK)
    assert tissue_layer_of(viewer, image) is layer
    # The corner of the mask's pixel (3, 5) is the slide's (24, 40).
    np.testing.assert_allclose(
        layer.data_to_world((3 - 0.5, 5 - 0.5)), image.data_to_world((24 - 0.5, 40 - 0.5))
    )
    same = tissue_of(layer, image, slide)
    np.testing.assert_array_equal(same.tissue, MASK.tissue)
    assert same.downsample == pytest.approx(MASK.downsample)


def test_what_is_painted_and_erased_is_taken_and_undone(tmp_path: Path) -> None:
    viewer = ViewerModel()
    image = slide_layer(viewer, tmp_path / "section.tif")
    slide = image.metadata[SLIDE_KEY]
    layer = add_tissue_layer(viewer, image, MASK)
    layer.brush_size = 9
    layer.paint((20, 30), 1)
    layer.paint((50, 60), 0)
    painted = tissue_of(layer, image, slide).tissue
    assert painted[18:23, 28:33].all()
    assert not painted[48:53, 58:63].any()
    layer.undo()
    layer.undo()
    np.testing.assert_array_equal(tissue_of(layer, image, slide).tissue, MASK.tissue)
    layer.data = np.zeros_like(layer.data)
    with pytest.raises(InputError, match="Nothing is painted in layer 'section · tissue'"):
        tissue_of(layer, image, slide)


def test_a_layer_that_lies_elsewhere_is_taken_where_it_lies(tmp_path: Path) -> None:
    viewer = ViewerModel()
    image = slide_layer(viewer, tmp_path / "section.tif", scale=(1, 1))
    slide = image.metadata[SLIDE_KEY]
    layer = add_tissue_layer(viewer, image, MASK)
    layer.translate = np.add(layer.translate, (80, 160))
    moved = tissue_of(layer, image, slide)
    expected = MASK.tissue.repeat(8, 0).repeat(8, 1)[: 512 - 80, : 640 - 160]
    np.testing.assert_array_equal(moved.tissue[80:, 160:], expected)
    assert not moved.tissue[:80].any()
    layer.rotate = 20
    with pytest.raises(InputError, match="turned against the slide"):
        tissue_of(layer, image, slide)


def test_each_slide_has_its_own_tissue(tmp_path: Path) -> None:
    viewer = ViewerModel()
    one = slide_layer(viewer, tmp_path / "one.tif")
    other = slide_layer(viewer, tmp_path / "other.tif")
    layer = add_tissue_layer(viewer, one, find_tissue(one.metadata[SLIDE_KEY]))
    assert tissue_layer_of(viewer, one) is layer
    assert tissue_layer_of(viewer, other) is None
    viewer.layers.remove(layer)
    assert tissue_layer_of(viewer, one) is None
