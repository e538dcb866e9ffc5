"""SpatialData stores: with the package where it is installed, and with a stand-in for it."""

import json
import sys
import types
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.spots import ChoiceNeeded, read_spots, spot_array
from spot_sections import assert_same_spots, drawn_spots


def test_spatialdata_gives_the_shapes_centers(tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity, Scale

    drawn = drawn_spots("hexagonal")
    number = np.arange(drawn.n_obs)
    shapes = ShapesModel.parse(
        drawn.obsm["spatial"][::-1],  # in another order than the table
        geometry=0,
        radius=10,
        index=pd.Index(number[::-1]),
        transformations={"global": Identity(), "hires": Scale([0.5, 0.5], axes=("x", "y"))},
    )
    table = AnnData(drawn.X, obs=drawn.obs.copy(), var=drawn.var)
    table.obs["region"] = pd.Categorical(["spots"] * drawn.n_obs)
    table.obs["spot_id"] = number
    table = TableModel.parse(table, region="spots", region_key="region", instance_key="spot_id")
    store = spatialdata.SpatialData(shapes={"spots": shapes}, tables={"table": table})
    path = tmp_path / "section.zarr"
    store.write(path)
    assert_same_spots(read_spots(path), drawn)
    half = read_spots(path, coordinate_system="hires")
    np.testing.assert_allclose(half.obsm["spatial"], drawn.obsm["spatial"] / 2)
    assert spot_array(half).layout == "hexagonal"


def write_store(path: Path, tables: dict[str, AnnData], transformations: dict[str, object]) -> None:
    """A store as spatialdata_io writes it: circles for each table."""
    import spatialdata
    from spatialdata.models import ShapesModel, TableModel

    shapes, linked = {}, {}
    for name, drawn in tables.items():
        number = np.arange(drawn.n_obs)
        shapes[f"spots_{name}"] = ShapesModel.parse(
            drawn.obsm["spatial"],
            geometry=0,
            radius=10,
            index=pd.Index(number),
            transformations=dict(transformations),
        )
        table = AnnData(drawn.X, obs=drawn.obs.copy(), var=drawn.var)
        table.obs["region"] = pd.Categorical([f"spots_{name}"] * drawn.n_obs)
        table.obs["spot_id"] = number
        linked[name] = TableModel.parse(
            table, region=f"spots_{name}", region_key="region", instance_key="spot_id"
        )
    spatialdata.SpatialData(shapes=shapes, tables=linked).write(path)


def test_the_system_in_which_shapes_are_as_they_are_is_full_resolution(tmp_path: Path) -> None:
    """Those of spatialdata_io.visium are the dataset's and two made smaller; none is "global"."""
    pytest.importorskip("spatialdata")
    from spatialdata.transformations import Identity, Scale

    drawn = drawn_spots("hexagonal")
    scaled = {
        f"A_downscaled_{k}": Scale([s, s], axes=("x", "y")) for k, s in (("hi", 0.5), ("lo", 0.1))
    }
    path = tmp_path / "visium.zarr"
    write_store(path, {"A": drawn}, {**scaled, "z_full": Identity()})
    spots = read_spots(path)
    assert_same_spots(spots, drawn)
    assert spots.uns["nh2st_spots"]["chosen"] == {"coordinate_system": "z_full"}
    lowres = read_spots(path, coordinate_system="A_downscaled_lo")
    np.testing.assert_allclose(lowres.obsm["spatial"], drawn.obsm["spatial"] / 10)
    none = tmp_path / "scaled.zarr"
    write_store(none, {"A": drawn}, scaled)
    with pytest.raises(ChoiceNeeded, match="2 coordinate systems") as error:
        read_spots(none)
    assert error.value.names == ("A_downscaled_hi", "A_downscaled_lo")


def test_bins_of_visium_hd_are_tables_of_their_side(tmp_path: Path) -> None:
    pytest.importorskip("spatialdata")
    from spatialdata.transformations import Identity

    bins = {
        f"square_{side:03d}um": drawn_spots(rows=80 // side, columns=80 // side, pitch_px=5 * side)
        for side in (8, 16)
    }
    path = tmp_path / "hd.zarr"
    write_store(path, bins, {"A": Identity()})
    for chosen, side in (({}, 16), ({"bin_um": 8}, 8), ({"library": "square_008um"}, 8)):
        spots = read_spots(path, **chosen)
        assert_same_spots(spots, bins[f"square_{side:03d}um"])
        assert spots.uns["nh2st_spots"]["pitch_um"] == side
        assert spots.uns["nh2st_spots"]["offered"] == {"bin_um": ["8", "16"]}
        assert spots.uns["nh2st_spots"]["chosen"] == {"bin_um": str(side)}
    with pytest.raises(InputError, match=r"no bins of 4 µm; there are 8, 16 µm"):
        read_spots(path, bin_um=4)


def test_several_tables_are_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("spatialdata")
    from spatialdata.transformations import Identity

    tables = {"A": drawn_spots("hexagonal"), "B": drawn_spots("hexagonal", seed=1, origin=(90, 70))}
    path = tmp_path / "two.zarr"
    write_store(path, tables, {"global": Identity()})
    with pytest.raises(ChoiceNeeded, match=r"2 tables \(A, B\)") as error:
        read_spots(path)
    assert error.value.names == ("A", "B")
    assert_same_spots(read_spots(path, library="B"), tables["B"])


def test_regions_of_one_table_are_sections(tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import Identity

    parts = {"A": drawn_spots("hexagonal"), "B": drawn_spots("hexagonal", seed=1, origin=(90, 70))}
    shapes = {
        name: ShapesModel.parse(
            drawn.obsm["spatial"],
            geometry=0,
            radius=10,
            index=pd.Index(np.arange(drawn.n_obs)),
            transformations={"global": Identity()},
        )
        for name, drawn in parts.items()
    }
    table = anndata.concat(parts, label="region", index_unique="-")
    table.obs["region"] = table.obs["region"].astype("category")
    table.obs["spot_id"] = np.tile(np.arange(parts["A"].n_obs), 2)  # of each its own
    table = TableModel.parse(table, region=["A", "B"], region_key="region", instance_key="spot_id")
    path = tmp_path / "regions.zarr"
    spatialdata.SpatialData(shapes=shapes, tables={"table": table}).write(path)
    with pytest.raises(ChoiceNeeded, match=r"\(A, B\)"):
        read_spots(path)
    spots = read_spots(path, library="B")
    np.testing.assert_array_equal(spots.X.toarray(), parts["B"].X.toarray())
    np.testing.assert_allclose(spots.obsm["spatial"], parts["B"].obsm["spatial"])


class FakeShapes:
    """What is asked of an element of a store."""

    def __init__(self, centers: pd.DataFrame) -> None:
        self.centers = centers

    def compute(self) -> pd.DataFrame:
        return self.centers


class Scaled:
    """What is asked of a transformation."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def to_affine_matrix(self, input_axes: object, output_axes: object) -> np.ndarray:
        assert input_axes == output_axes == ("x", "y")
        return np.diag([self.factor, self.factor, 1.0])


class FakeStore(dict[str, FakeShapes]):
    """What is asked of a store."""

    def __init__(self, shapes: FakeShapes, table: AnnData) -> None:
        super().__init__(spots=shapes)
        self.tables = {"table": table}


@pytest.fixture
def fake_spatialdata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A store of the drawn spots, read by a stand-in for the package."""
    drawn = drawn_spots("hexagonal")
    names = [f"s{k}" for k in range(drawn.n_obs)]
    centers = pd.DataFrame(drawn.obsm["spatial"], columns=["x", "y"], index=names)
    table = AnnData(drawn.X, obs=drawn.obs.assign(spot=names), var=drawn.var)
    table.uns["spatialdata_attrs"] = {"region": "spots", "instance_key": "spot"}
    module = types.ModuleType("spatialdata")
    module.read_zarr = lambda _: FakeStore(FakeShapes(centers[::-1]), table)  # type: ignore[attr-defined]
    module.get_centroids = lambda shapes, coordinate_system: shapes  # type: ignore[attr-defined]
    module.transformations = types.SimpleNamespace(  # type: ignore[attr-defined]
        get_transformation=lambda shapes, get_all: {"global": Scaled(1), "hires": Scaled(0.5)}
    )
    monkeypatch.setitem(sys.modules, "spatialdata", module)
    folder = tmp_path / "store.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_text(
        json.dumps({"attributes": {"spatialdata_attrs": {}}}), encoding="utf-8"
    )
    return folder


def test_rows_of_a_table_find_their_shapes(fake_spatialdata: Path) -> None:
    assert_same_spots(read_spots(fake_spatialdata), drawn_spots("hexagonal"))


def test_an_unknown_table_or_coordinate_system_is_named(fake_spatialdata: Path) -> None:
    with pytest.raises(InputError, match=r"no coordinate system 'px' \(there are: global, hires"):
        read_spots(fake_spatialdata, coordinate_system="px")
    with pytest.raises(InputError, match=r"no table 'cells' \(there are: table\)"):
        read_spots(fake_spatialdata, library="cells")


def test_without_spatialdata_the_extra_is_named(
    fake_spatialdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spatialdata", None)
    with pytest.raises(InputError, match=r"napari-nh2st\[spatialdata\]"):
        read_spots(fake_spatialdata)
