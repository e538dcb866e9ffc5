"""QuPath shows the scanned part of a slide alone: what goes there and back lies on the tissue."""

import json
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_spot_prediction
from napari_nh2st.cli import main
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.new import new_prediction
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.tiles import find_tissue, tile_grid
from napari_nh2st.tiles.geojson import read_regions
from napari_nh2st.tiles.mask import scanned_area
from small_configs import PANEL, small_config
from small_models import small_model

BOUNDS = (200, 300, 500, 640)
"""Top, left, height and width of the scanned part."""


def scanned_in_part(stray: bool = False) -> Slide:
    """Tissue fills the scanned part of a white canvas; with `stray`, some lies beyond it."""
    pixels = np.full((1000, 1200, 3), 255, np.uint8)
    top, left, height, width = BOUNDS
    pixels[top : top + height, left : left + width] = textured(height, width)
    if stray:
        pixels[800:950, 50:250] = textured(150, 200)
    slide = array_slide(ArrayLevel(pixels), mpp=0.5, path="slide.mrxs")
    slide.bounds = BOUNDS
    return slide


def predicted(slide: Slide) -> AnnData:
    settings = PredictSettings(
        device="cpu", precision="float32", tissue_only=False, pitch_um=64, genes=PANEL[:1]
    )
    return predict(slide, small_model(), settings)


def rings(path: Path) -> np.ndarray:
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return np.array([f["geometry"]["coordinates"][0] for f in features])


def test_tissue_is_looked_for_within_the_bounds() -> None:
    mask = find_tissue(scanned_in_part(stray=True), min_area_um2=100)
    y, x = np.nonzero(mask.tissue)
    step_y, step_x = mask.downsample
    top, left, height, width = BOUNDS
    assert y.min() * step_y >= top - step_y
    assert (y.max() + 1) * step_y <= top + height + step_y
    assert x.min() * step_x >= left - step_x
    assert (x.max() + 1) * step_x <= left + width + step_x
    assert mask.tissue.any()
    slide = scanned_in_part(stray=True)
    slide.bounds = None
    assert np.nonzero(find_tissue(slide, min_area_um2=100).tissue)[0].max() * step_y > 750


def test_all_tiles_are_those_of_the_scanned_part() -> None:
    slide = scanned_in_part()
    mask = scanned_area(slide)
    assert mask is not None
    assert mask.tissue.sum() * np.prod(mask.downsample) == pytest.approx(500 * 640, rel=0.01)
    prediction = predicted(slide)
    x, y = prediction.obsm["spatial"].T
    half = prediction.uns["nh2st"]["tile_px"] * prediction.uns["nh2st"]["mpp"] / 0.5 / 2
    assert (x > 300 - half).all()
    assert (x < 940 + half).all()
    assert (y > 200 - half).all()
    assert (y < 700 + half).all()
    assert scanned_area(array_slide(ArrayLevel(textured(64, 64)))) is None


def test_export_for_qupath_counts_from_the_corner_of_the_bounds(tmp_path: Path) -> None:
    slide = scanned_in_part()
    grid = tile_grid(slide, tile_um=32, pitch_um=32, mask=scanned_area(slide))
    prediction = new_prediction(slide, grid, small_config(), PANEL, PredictSettings().to_json())
    prediction.X[:] = 1
    assert prediction.uns["nh2st"]["slide"]["bounds"].tolist() == list(BOUNDS)
    export(prediction, tmp_path / "p.h5ad")
    export(read_anndata_file(tmp_path / "p.h5ad"), tmp_path / "p.geojson")
    seen = rings(tmp_path / "p.geojson")
    # A naive loop over the tiles: 64 px, cut at the scanned part, counted from its corner.
    for ring, (x, y) in zip(seen, prediction.obsm["spatial"], strict=True):
        left, right = max(x - 32, 300) - 300, min(x + 32, 940) - 300
        top, bottom = max(y - 32, 200) - 200, min(y + 32, 700) - 200
        assert ring.min(0).tolist() == [left, top]
        assert ring.max(0).tolist() == [right, bottom]
    assert seen.max((0, 1)).tolist() == [640, 500]


def test_tiles_beyond_the_scanned_part_are_left_out(tmp_path: Path) -> None:
    slide = scanned_in_part()
    grid = tile_grid(slide, tile_um=32, pitch_um=32, mask=None)
    prediction = new_prediction(slide, grid, small_config(), PANEL, PredictSettings().to_json())
    prediction.X[:] = 1
    export(prediction, tmp_path / "p.geojson")
    x, y = prediction.obsm["spatial"].T
    meets = (x + 32 > 300) & (x - 32 < 940) & (y + 32 > 200) & (y - 32 < 700)
    assert 0 < meets.sum() < len(meets)
    seen = rings(tmp_path / "p.geojson")
    assert len(seen) == meets.sum()
    assert (np.ptp(seen, axis=1) > 0).all()


def test_regions_of_qupath_come_back_where_tiles_went(tmp_path: Path) -> None:
    slide = scanned_in_part()
    prediction = predicted(slide)
    export(prediction, tmp_path / "p.geojson")
    outlines = read_regions(tmp_path / "p.geojson", slide)
    x, y = prediction.obsm["spatial"].T
    for outline, row, column in zip(outlines, y, x, strict=True):
        corners = outline[:5]
        inside = 200 <= row <= 700 and 300 <= column <= 940
        assert not inside or corners[:, 0].min() <= row <= corners[:, 0].max()
        assert not inside or corners[:, 1].min() <= column <= corners[:, 1].max()
    unmoved = np.concatenate(read_regions(tmp_path / "p.geojson"))
    np.testing.assert_array_equal(np.add(unmoved, (200, 300)), np.concatenate(outlines))


def test_spots_and_predictions_without_bounds_stay_where_they_are(tmp_path: Path) -> None:
    slide = array_slide(ArrayLevel(textured(300, 420)), mpp=0.5, path="s.tif")
    spots = drawn_spot_prediction(slide)
    assert "shape" not in spots.uns["nh2st"]["slide"]  # as of older versions
    export(spots, tmp_path / "p.geojson")
    np.testing.assert_allclose(
        rings(tmp_path / "p.geojson")[:, :4].mean(1), spots.obsm["spatial"], atol=1e-3
    )


def test_the_command_takes_a_region_of_qupath(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scanned part's left half holds the tissue that a region from (0, 0) selects."""
    pytest.importorskip("openslide")
    from mirax_slides import write_mirax

    path = write_mirax(tmp_path / "slide.mrxs", textured(512, 768), at=(2, 4), canvas=(6, 8))
    square = [[0, 0], [384, 0], [384, 512], [0, 512], [0, 0]]
    region = {"type": "Polygon", "coordinates": [square]}
    (tmp_path / "r.geojson").write_text(json.dumps(region), encoding="utf-8")
    arguments = ["--genes", "ERBB2", "--pitch-um", "60", "--device", "cpu", "--all-tiles"]
    arguments += ["--region", str(tmp_path / "r.geojson")]
    code = main(["predict", str(path), "-o", str(tmp_path / "p.h5ad"), *arguments])
    assert code == 0, capsys.readouterr().err
    x, y = read_anndata_file(tmp_path / "p.h5ad").obsm["spatial"].T
    assert len(x) > 4
    assert ((x >= 1024) & (x <= 1408)).all()
    assert ((y >= 512) & (y <= 1024)).all()
    with open_slide(path) as slide:
        assert slide.bounds == (512, 1024, 512, 768)


def test_what_is_no_region_is_refused_before_the_slide_is_opened(tmp_path: Path) -> None:
    (tmp_path / "r.geojson").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="no polygon"):
        read_regions(tmp_path / "r.geojson", scanned_in_part())
