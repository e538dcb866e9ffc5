"""Features that other tools computed: their files, and the grid of their tiles."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from anndata.io import write_elem

from array_slides import ArrayLevel, array_slide, textured
from feature_files import corners_over, means_of, write_clam, write_h5, write_trident, write_zarr
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.feature_grid import feature_grid
from napari_nh2st.tiles.given_features import (
    GivenFeatures,
    check_same_kind,
    features_key,
    read_given_features,
)


@pytest.fixture(scope="module")
def slide() -> Slide:
    """200 × 232 px at 0.5 µm/px."""
    return array_slide(ArrayLevel(textured(200, 232)), path="S1.tif")


def read(path: Path | str, slide: Slide, wanted: str | None = None) -> GivenFeatures:
    return read_given_features(features_key(str(path)), slide, wanted)


def test_a_file_of_trident_says_all(slide: Slide, tmp_path: Path) -> None:
    given = read(write_trident(tmp_path / "features_tiny" / "S1.h5", slide), slide)
    corners = corners_over(slide, 32)
    np.testing.assert_array_equal(given.centers, corners[:, ::-1] + 16)
    np.testing.assert_array_equal(given.features, means_of(slide, corners, 32))
    assert (given.encoder, given.tile_px, given.mpp) == ("tiny", 16, 1.0)
    assert (given.side_px, given.step_px, given.notices) == (32, 32, ())


def test_its_folder_names_the_encoder_where_the_file_does_not(slide: Slide, tmp_path: Path) -> None:
    path = write_trident(tmp_path / "features_uni_v1" / "S1.h5", slide, encoder=None)
    assert read(path, slide).encoder == "uni_v1"
    assert read(f"{path}?name=other", slide).encoder == "other"


def test_a_folder_has_a_file_for_each_slide(slide: Slide, tmp_path: Path) -> None:
    path = write_trident(tmp_path / "S1.h5", slide)
    assert read(tmp_path, slide).path == path
    other = array_slide(ArrayLevel(textured(200, 232)), path="S2.tif")
    with pytest.raises(InputError, match=r"no features of S2\.tif: neither S2\.h5"):
        read(tmp_path, other)


def test_of_clams_files_the_distance_is_the_side_unless_it_is_said(
    slide: Slide, tmp_path: Path
) -> None:
    path = write_clam(tmp_path / "S1.h5", slide)
    given = read(path, slide)
    assert (given.side_px, given.tile_px, given.mpp) == (32, 32, 0.5)
    assert "the distance between them is taken, 32 px" in given.notices[0]
    said = read(f"{path}?tile_px=16&mpp=1", slide)
    assert (said.side_px, said.tile_px, said.mpp, said.notices) == (32, 16, 1.0, ())


def test_zarr_has_the_same_layout(slide: Slide, tmp_path: Path) -> None:
    given = read(write_zarr(tmp_path / "S1.zarr", slide), slide)
    np.testing.assert_array_equal(given.features, means_of(slide, corners_over(slide, 32), 32))


def test_a_store_of_lazyslide(slide: Slide, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import zarr

    path, corners = tmp_path / "S1.zarr", corners_over(slide, 32)
    root = zarr.open_group(path, mode="w")
    spec = {"height": 16, "width": 16, "stride_height": 16, "stride_width": 16, "mpp": 1.0}
    root.attrs["tile_spec"] = {"tiles": spec | {"base_downsample": 2.0}}
    root.attrs["slide_properties"] = {"shape": list(slide.shape), "mpp": 0.5}
    root.create_group("shapes").create_group("tiles")
    header = bytes([1]) + np.array([3, 1, 5], "<u4").tobytes()
    ring = np.array([[32, 0], [32, 32], [0, 32], [0, 0], [32, 0]], "<f8")
    boxes = [header + (ring + corner).astype("<f8").tobytes() for corner in corners]
    shapes = pd.DataFrame({"tile_id": np.arange(len(corners)), "tissue_id": 0, "geometry": boxes})
    shapes.to_parquet(path / "shapes" / "tiles" / "shapes.parquet")
    tables, values = root.create_group("tables"), means_of(slide, corners, 32)
    number = np.arange(len(corners))[::-1]  # a table's order need not be that of the shapes
    for name in ("tiny_tiles", "other_tiles"):
        obs = pd.DataFrame({"tile_id": number, "library_id": "tiles"}, index=number.astype(str))
        write_elem(tables, name, AnnData(values[number], obs=obs))
    given = read(path, slide, "tiny")
    assert (given.encoder, given.tile_px, given.mpp, given.step_px) == ("tiny", 16, 1.0, 32)
    np.testing.assert_array_equal(given.centers[::-1], corners[:, ::-1] + 16)
    np.testing.assert_array_equal(given.features[::-1], values)
    assert read(f"{path}?table=other_tiles", slide).encoder == "other"
    with pytest.raises(InputError, match="several encoders: other_tiles, tiny_tiles"):
        read(path, slide)
    root.attrs["slide_properties"] = {"shape": [slide.shape[0], 500]}
    with pytest.raises(InputError, match="is of a slide of 500 × 200 px"):
        read(path, slide, "tiny")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features": np.ones((3, 6), np.float32)}, "features of 3 tiles and coordinates of 42"),
        ({"features": np.ones((42, 6), np.int64)}, "features are int64 of shape"),
        ({"coords": np.array([[300, 0]])}, r"1 of 1 tiles lie outside of S1\.tif .* x 300, y 0"),
        ({"level0_width": 500}, "is of a slide of 500 × 200 px"),
        ({"features": np.full((42, 6), np.inf, np.float16)}, "none of its 42 tiles can be used"),
    ],
)
def test_what_does_not_fit_is_said(
    changed: dict[str, object], message: str, slide: Slide, tmp_path: Path
) -> None:
    if "coords" in changed:
        changed = {"features": np.ones((1, 6), np.float32), **changed}
    path = write_trident(tmp_path / "S1.h5", slide, **changed)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read(path, slide)


def test_other_files_are_refused(slide: Slide, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5", encoding="utf-8")
    with pytest.raises(InputError, match="not an HDF5 file, or it is damaged"):
        read(tmp_path / "text.h5", slide)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["X"] = [1.0]
    with pytest.raises(InputError, match=r"no array 'features', .* \(it has: X\)"):
        read(tmp_path / "other.h5", slide)
    with pytest.raises(InputError, match="there is no file of features"):
        read(tmp_path / "nothing.h5", slide)


def test_tiles_that_cannot_be_used_are_counted(slide: Slide, tmp_path: Path) -> None:
    corners = np.concatenate([corners_over(slide, 32), [[216, 20], [231, 199]]])
    features = np.ones((len(corners), 6), np.float32)
    features[3, 2] = np.nan
    path = write_h5(
        tmp_path / "S1.h5",
        {"features": features, "coords": corners},
        {"coords": {"patch_size": 32, "patch_size_level0": 32, "name": "S9"}},
    )
    given = read(path, slide)
    assert len(given.centers) == len(corners) - 3
    assert [notice.split(": ")[-1] for notice in given.notices] == [
        "The features in S1.h5 say that they belong to S9; the slide is S1.tif.",
        "1 of 44 tiles have features that are not finite.",
        "2 of 44 tiles have their center beyond the slide's edge and are left out.",
    ]


def test_another_kind_is_refused_in_a_sentence(slide: Slide, tmp_path: Path) -> None:
    given = read(write_trident(tmp_path / "S1.h5", slide), slide)
    assert check_same_kind(given, "Tiny", 6, 16.0, "the model m") == ()
    for encoder, n_features, tile_um, message in (
        ("uni", 6, 16.0, r"features of tiny; the model m takes those of uni.*S1\.h5\?name=uni"),
        ("tiny", 1024, 16.0, "has 6 features of a tile, of tiny; the model m takes 1024"),
        ("tiny", 6, 112.0, "tiles of 16 µm; the model m takes tiles of 112 µm"),
    ):
        with pytest.raises(InputError, match=message):
            check_same_kind(given, encoder, n_features, tile_um, "the model m")
    unnamed = read(write_zarr(tmp_path / "S1.zarr", slide), slide)
    (notice,) = check_same_kind(unnamed, "tiny", 6, 16.0, "the model m")
    assert "does not say which encoder" in notice


def test_a_spot_has_the_tile_that_it_lies_in(slide: Slide, tmp_path: Path) -> None:
    given = read(write_trident(tmp_path / "S1.h5", slide), slide)
    spots = np.array([[1.0, 1.0], [31.0, 33.0], [199.0, 100.0], [80.0, 80.0]])
    tile = given.nearest(spots)
    assert tile[2] == -1  # below the last row of tiles
    np.testing.assert_array_equal(given.centers[tile[[0, 1, 3]]], [[16, 16], [16, 48], [80, 80]])


@pytest.mark.parametrize("overlap", [0, 8])
def test_the_grid_has_every_tile_of_the_file(overlap: int, slide: Slide, tmp_path: Path) -> None:
    given = read(write_trident(tmp_path / "S1.h5", slide, overlap=overlap), slide)
    grid = feature_grid(given, slide, pitch_um=16.0)
    assert len(grid) == len(given.centers)
    assert sorted(map(tuple, grid.centers)) == sorted(map(tuple, given.centers))
    assert len(np.unique(grid.array, axis=0)) == len(grid)
    on_lattice = (grid.centers > 16).all(1)  # the first row and column of TRIDENT's are off it
    places = grid.array * grid.step_px + grid.origin
    np.testing.assert_array_equal(places[on_lattice], grid.centers[on_lattice])
    assert on_lattice.sum() >= 25
    assert (grid.step_um, grid.pitch_um) == (16 - overlap, 16)
    assert grid.divisions == (2 if overlap else 1)
    assert len(np.unique(grid.phases)) == grid.divisions**2


def test_tiles_off_the_lattice_keep_their_centers(slide: Slide, tmp_path: Path) -> None:
    """As of CLAM and LazySlide, whose pieces of tissue have lattices of their own."""
    first, second = corners_over(slide, 32), np.array([[60, 170], [92, 170], [124, 170]])
    corners = np.concatenate([first[first[:, 1] < 128], second])
    arrays = {"features": np.ones((len(corners), 2), np.float32), "coords": corners}
    given = read(write_h5(tmp_path / "S1.h5", arrays, {}), slide)
    grid = feature_grid(given, slide, pitch_um=16.0)
    assert len(grid) == len(corners)
    assert len(np.unique(grid.array, axis=0)) == len(corners)
    assert np.abs(grid.array * grid.step_px + grid.origin - grid.centers).max() <= 16
    assert {(186.0, 76.0), (186.0, 108.0), (186.0, 140.0)} <= set(map(tuple, grid.centers))
    assert (grid.array_shape, grid.origin) == ((6, 7), (16.0, 16.0))
