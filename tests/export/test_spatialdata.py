"""SpatialData stores: with the package where it is installed, and the sentence where it is not."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction, drawn_spot_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export, read_anndata_file
from napari_nh2st.slide import Slide
from small_configs import PANEL

MPP = (0.5, 0.8)


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(4100, 420)), mpp=MPP, path="section.tif")


@pytest.fixture
def spatialdata() -> Any:
    return pytest.importorskip("spatialdata")


def test_without_spatialdata_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slide: Slide
) -> None:
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(InputError, match=r"pip install 'napari-nh2st\[spatialdata\]'"):
        export(drawn_prediction(slide), tmp_path / "out.spatialdata.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")  # its libraries' about each other
def test_tiles_picture_and_table_share_full_resolution_pixels(
    tmp_path: Path, spatialdata: Any, slide: Slide
) -> None:
    prediction = drawn_prediction(slide)
    path = tmp_path / "out.spatialdata.zarr"
    export(prediction, path, genes=("VIM", "ERBB2"))
    store = spatialdata.read_zarr(path)

    table = store.tables["table"]
    np.testing.assert_array_equal(table.X, prediction[:, ["VIM", "ERBB2"]].X)
    assert table.obs_names.tolist() == prediction.obs_names.tolist()
    tiles = spatialdata.transform(store["tiles"], to_coordinate_system="global")
    centers = tiles.geometry.centroid.loc[table.obs["tile_id"]]
    np.testing.assert_allclose(np.column_stack([centers.x, centers.y]), prediction.obsm["spatial"])
    np.testing.assert_allclose(tiles.geometry.area * np.prod(MPP), 32**2)

    # The picture covers the slide to within one of its own pixels at the lower and right edge.
    extent = spatialdata.get_extent(store["hires"], coordinate_system="global")
    levels = [store["hires"][level].image for level in store["hires"].children]
    assert [level.shape[1:] for level in levels] == [(2050, 210), (1025, 105), (512, 52), (256, 26)]
    (section,) = prediction.uns["spatial"].values()
    picture = np.moveaxis(levels[0].to_numpy(), 0, -1)
    np.testing.assert_array_equal(picture, section["images"]["hires"])
    np.testing.assert_allclose(extent["y"], (0, 4100), atol=2)
    np.testing.assert_allclose(extent["x"], (0, 420), atol=2)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.filterwarnings("ignore")
def test_spots_are_circles_with_both_values(tmp_path: Path, spatialdata: Any, slide: Slide) -> None:
    prediction = drawn_spot_prediction(slide)
    export(prediction, tmp_path / "out.zarr", format="spatialdata")
    store = spatialdata.read_zarr(tmp_path / "out.zarr")
    spots = store["spots"].loc[store.tables["table"].obs["tile_id"]]
    np.testing.assert_allclose(
        np.column_stack([spots.geometry.x, spots.geometry.y]), prediction.obsm["spatial"]
    )
    np.testing.assert_array_equal(
        store.tables["table"].layers["measured"], prediction.layers["measured"]
    )


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_a_prediction_again_without_spatialdata(
    tmp_path: Path, spatialdata: Any, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = drawn_prediction(slide)
    export(prediction, tmp_path / "out.spatialdata.zarr")
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    found = read_anndata_file(tmp_path / "out.spatialdata.zarr")
    np.testing.assert_array_equal(found.X, prediction.X)
    assert found.var_names.tolist() == list(PANEL)
    export(found, tmp_path / "again.geojson")


@pytest.mark.filterwarnings("ignore")
def test_only_our_own_stores_are_replaced(tmp_path: Path, spatialdata: Any, slide: Slide) -> None:
    prediction = drawn_prediction(slide)
    path = tmp_path / "out.spatialdata.zarr"
    export(prediction, path)
    with pytest.raises(InputError, match="already exists"):
        export(prediction, path)
    export(prediction, path, genes=("VIM",), overwrite=True)
    assert spatialdata.read_zarr(path).tables["table"].n_vars == 1

    study = tmp_path / "study.spatialdata.zarr"
    spatialdata.SpatialData().write(study)
    with pytest.raises(InputError, match="is not a SpatialData store of this program"):
        export(prediction, study, overwrite=True)


@pytest.mark.filterwarnings("ignore")
def test_columns_of_others_are_kept_by_names_that_it_accepts(
    tmp_path: Path, spatialdata: Any, slide: Slide
) -> None:
    prediction = drawn_prediction(slide)
    numbers = np.arange(prediction.n_obs, dtype=float)
    prediction.obs["region"] = "invasive margin"
    prediction.obs["T cells/B cells"] = numbers
    path = tmp_path / "out.spatialdata.zarr"
    export(prediction, path)
    table = spatialdata.read_zarr(path).tables["table"]
    assert set(table.obs["region"]) == {"invasive margin"}
    np.testing.assert_array_equal(table.obs["T_cells_B_cells"], numbers)
    assert set(table.obs[table.uns["spatialdata_attrs"]["region_key"]]) == {"tiles"}
    assert "T cells/B cells" in prediction.obs

    export(read_anndata_file(path), path, overwrite=True)  # its keys are not there twice
    again = spatialdata.read_zarr(path).tables["table"]
    assert list(again.obs) == list(table.obs)


@pytest.mark.filterwarnings("ignore")
def test_elements_and_files_of_others_outlive_a_new_export(
    tmp_path: Path, spatialdata: Any, slide: Slide
) -> None:
    prediction = drawn_prediction(slide)
    path = tmp_path / "out.spatialdata.zarr"
    export(prediction, path)
    store = spatialdata.read_zarr(path)
    model = spatialdata.models.ShapesModel
    store["drawn"] = model.parse(np.array([[3.0, 4.0]]), geometry=0, radius=2)
    store.write_element("drawn")
    (path / "notes.txt").write_text("mine", encoding="utf-8")
    export(prediction, path, genes=("VIM",), overwrite=True)
    again = spatialdata.read_zarr(path)
    assert again["drawn"].geometry.iloc[0].coords[0] == (3.0, 4.0)
    assert list(again.tables["table"].var_names) == ["VIM"]
    assert (path / "notes.txt").read_text(encoding="utf-8") == "mine"
