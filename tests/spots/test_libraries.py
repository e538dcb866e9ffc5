"""AnnData of other hands: sections merged into one file, and where each thing stands in it."""

import pickle
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.outlines import spot_diameter
from napari_nh2st.spots import ChoiceNeeded, read_spots, spot_picture
from spot_sections import assert_same_spots, drawn_spots

ONE, TWO = (
    {"hires": 0.1, "diameter": 11.0, "grey": 90},
    {"hires": 0.2, "diameter": 44.0, "grey": 180},
)


def section(name: str, library: dict[str, float] | None, origin: float, seed: int) -> AnnData:
    """A Visium section as squidpy reads it, with its library in uns."""
    spots = drawn_spots("hexagonal", origin=(origin, origin), seed=seed)
    spots.obs_names = [f"{k:04d}-1" for k in range(spots.n_obs)]
    if library is not None:
        spots.uns["spatial"] = {
            name: {
                "images": {"hires": np.full((40, 50, 3), library["grey"], np.uint8)},
                "scalefactors": {
                    "tissue_hires_scalef": library["hires"],
                    "spot_diameter_fullres": library["diameter"],
                },
            }
        }
    return spots


def save(data: AnnData, folder: Path, name: str = "merged.h5ad") -> Path:
    path = folder / name
    data.write_h5ad(path)
    return path


def merged(label: str | None, *, libraries: bool = True) -> AnnData:
    parts = [section("A1", ONE if libraries else None, 20, 1), section("B1", TWO, 45, 2)]
    if not libraries:
        del parts[1].uns["spatial"]
    return anndata.concat(
        parts, label=label, keys=["A1", "B1"], uns_merge="unique", index_unique="-"
    )


def assert_is_b1(spots: AnnData) -> None:
    expected = section("B1", TWO, 45, 2)
    np.testing.assert_array_equal(spots.X.toarray(), expected.X.toarray())
    np.testing.assert_array_equal(spots.obsm["spatial"], expected.obsm["spatial"])


@pytest.mark.parametrize("label", ["library_id", "sample", "batch", "Section ID", "my patients"])
def test_a_merged_section_comes_with_its_own_picture(tmp_path: Path, label: str) -> None:
    path = save(merged(label), tmp_path)
    with pytest.raises(ChoiceNeeded, match=r"2 sections \(A1, B1\)") as error:
        read_spots(path)
    # As it is after it was raised in another process.
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value)
    assert (again.option, again.names) == ("library", ("A1", "B1"))
    spots = read_spots(path, library="B1")
    assert_is_b1(spots)
    picture = spot_picture(spots)
    assert picture is not None
    assert (picture[0][0, 0, 0], picture[1]) == (180, 0.2)
    assert spot_diameter(spots) == 44.0
    assert spots.uns["nh2st_spots"]["chosen"] == {"library": "B1"}
    # What was read is one section, also from a file.
    again = read_spots(save(spots, tmp_path, "one.h5ad"))
    assert_same_spots(again, spots)


@pytest.mark.parametrize("label", ["orig.ident", "slide", "my patients"])
def test_sections_without_pictures_are_told_by_what_repeats(tmp_path: Path, label: str) -> None:
    path = save(merged(label, libraries=False), tmp_path)
    with pytest.raises(ChoiceNeeded, match=r"2 sections \(A1, B1\)"):
        read_spots(path)
    assert_is_b1(read_spots(path, library="B1"))


def test_sections_may_be_told_by_the_names_of_their_spots(tmp_path: Path) -> None:
    path = save(merged(None), tmp_path)
    with pytest.raises(ChoiceNeeded, match=r"2 sections \(A1, B1\)"):
        read_spots(path)
    spots = read_spots(path, library="B1")
    assert_is_b1(spots)
    assert spot_diameter(spots) == 44.0


def test_sections_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    parts = [section("A1", ONE, 20, 1), section("B1", TWO, 45, 2)]
    for uns_merge, message in (
        ("unique", r"2 sections \(A1, B1\)"),
        (None, "up to 2 spots on one"),
    ):
        data = anndata.concat(parts, uns_merge=uns_merge)
        data.obs_names_make_unique()
        path = save(data, tmp_path)
        for library in (None, "B1"):
            with pytest.raises(InputError, match=message) as error:
                read_spots(path, library=library)
            assert not isinstance(error.value, ChoiceNeeded)


def test_sections_of_one_library_name_are_told_by_another_column(tmp_path: Path) -> None:
    """HEST calls each library ST, and squidpy fills obs['library_id'] with such a name."""
    parts = [section("ST", ONE, 20, 1), section("ST", TWO, 45, 2)]
    data = anndata.concat(parts, label="sample", keys=["A1", "B1"], uns_merge="first")
    data.obs["library_id"] = "ST"
    data.obs_names_make_unique()
    path = save(data, tmp_path)
    with pytest.raises(ChoiceNeeded, match=r"2 sections \(A1, B1\)"):
        read_spots(path)
    spots = read_spots(path, library="B1")
    assert_is_b1(spots)
    assert spot_picture(spots) is None  # which section's it is, nothing says
    assert "pictures of ST left out" in spots.uns["nh2st_spots"]["report"]


def test_a_column_within_one_section_does_not_split_it(tmp_path: Path) -> None:
    spots = section("A1", ONE, 20, 1)
    spots.obs["sample"] = np.where(np.arange(spots.n_obs) < 30, "core 1", "core 2")
    spots.obs["cluster"] = pd.Categorical(np.arange(spots.n_obs) % 5)
    assert_same_spots(read_spots(save(spots, tmp_path)), spots)


def test_a_section_taken_out_of_a_merged_file_is_one_section(tmp_path: Path) -> None:
    data = merged("library_id")
    alone = data[data.obs["library_id"] == "B1"].copy()  # uns still has both
    spots = read_spots(save(alone, tmp_path))
    assert_is_b1(spots)
    assert spot_diameter(spots) == 44.0


def test_cellxgene_marks_whether_a_file_is_one_section(tmp_path: Path) -> None:
    drawn = section("A1", ONE, 20, 1)
    for spatial in (
        {"is_single": np.bool_(True), **drawn.uns["spatial"]},
        {"is_single": np.bool_(True)},
        {"is_single": np.bool_(False)},
    ):
        drawn.uns["spatial"] = spatial
        spots = read_spots(save(drawn, tmp_path))
        assert_same_spots(spots, drawn)
        assert (spot_picture(spots) is not None) == ("A1" in spatial)
        may_be_several = "by is_single these may be several sections"
        assert (may_be_several in spots.uns["nh2st_spots"]["report"]) == (not spatial["is_single"])


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        ["True", "False"],
        ["1", "0"],
        ["in_tissue", "not_in_tissue"],
        pd.Categorical(["yes", "no"]),
        pd.Categorical([1, 0]),
        [1.0, np.nan],
    ],
    ids=str,
)
def test_under_tissue_is_written_in_many_ways(tmp_path: Path, values: object) -> None:
    drawn = drawn_spots("hexagonal")
    yes, no = list(values)  # type: ignore[call-overload]
    column = pd.Series([no if k in (2, 5) else yes for k in range(drawn.n_obs)])
    if isinstance(values, pd.Categorical):
        column = column.astype("category")
    drawn.obs["in_tissue"] = column.array
    spots = read_spots(save(drawn, tmp_path))
    assert spots.obs_names.tolist() == np.delete(drawn.obs_names, [2, 5]).tolist()


def test_an_in_tissue_that_says_nothing_is_named(tmp_path: Path) -> None:
    drawn = drawn_spots("hexagonal")
    drawn.obs["in_tissue"] = "tumor"
    with pytest.raises(InputError, match=r"obs\['in_tissue'\]: 'tumor' does not say whether"):
        read_spots(save(drawn, tmp_path))


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ("pxl_row_in_fullres", "pxl_col_in_fullres"),
        ("imagerow", "imagecol"),
        ("Y", "X"),
        ("y_centroid", "x_centroid"),
    ],
)
def test_positions_in_a_table_are_read_by_their_names(tmp_path: Path, y: str, x: str) -> None:
    drawn = drawn_spots("hexagonal")
    table = pd.DataFrame(drawn.obsm["spatial"][:, ::-1], columns=[y, x], index=drawn.obs_names)
    swapped = drawn.copy()
    swapped.obsm["spatial"] = table
    assert_same_spots(read_spots(save(swapped, tmp_path)), drawn)
    swapped.obsm["spatial"] = table.rename(columns={y: "other"})
    with pytest.raises(InputError, match=rf"has the columns other, {x}; give x and y"):
        read_spots(save(swapped, tmp_path))
    swapped.obsm["spatial"] = table[[x, y]].set_axis(["0", "1"], axis=1)
    assert_same_spots(read_spots(save(swapped, tmp_path)), drawn)


def test_positions_may_stand_in_obs_alone(tmp_path: Path) -> None:
    drawn = drawn_spots("hexagonal")
    bare = drawn.copy()
    del bare.obsm["spatial"]
    bare.obs["imagerow"], bare.obs["imagecol"] = drawn.obsm["spatial"].T[::-1]
    assert_same_spots(read_spots(save(bare, tmp_path)), drawn)


@pytest.mark.parametrize(
    "column", ["SYMBOL", "Gene Name", "feature_name", "hgnc_symbol", "GeneSymbol", "real_gene_name"]
)
def test_symbols_are_found_in_any_spelling(tmp_path: Path, column: str) -> None:
    drawn = drawn_spots("hexagonal")
    named = drawn.copy()
    named.var_names = [f"ENSG{k:011d}" for k in range(3)]
    named.var["gene"] = named.var_names  # no symbols, whatever the column's name says
    named.var[column] = drawn.var_names.to_numpy()
    spots = read_spots(save(named, tmp_path))
    assert_same_spots(spots, drawn)
    assert spots.var["gene_ids"].tolist() == named.var_names.tolist()


def test_bins_and_um_per_px_that_a_file_records_count(tmp_path: Path) -> None:
    pooled = drawn_spots(rows=20, columns=20, pitch_px=40)
    for uns, pitch in (
        ({}, None),
        ({"bin_type": "bins", "bin_size": 100, "resolution": 500}, 50.0),
        ({"bin_type": "bins", "bin_size": 100}, 50.0),
        ({"spatial": {"A": {"scalefactors": {"bin_size_um": 16.0, "microns_per_pixel": 0.3}}}}, 16),
        ({"spatial": {"A": {"scalefactors": {"microns_per_pixel": 0.25}}}}, 10.0),
        ({"spatial": {"A": {"metadata": {"pixel_size_um": 3.2}}}}, 128.0),
    ):
        pooled.uns = uns
        spots = read_spots(save(pooled, tmp_path))
        assert spots.uns["nh2st_spots"].get("pitch_um") == (
            None if pitch is None else pytest.approx(pitch)
        )


def test_a_distance_that_is_guessed_is_said_in_the_report(tmp_path: Path) -> None:
    guessed = {
        "hexagonal": "100 µm taken as on Visium",
        "interleaved": "200 µm taken as on a legacy",
    }
    for layout, words in guessed.items():
        drawn = drawn_spots(layout)
        assert words in read_spots(save(drawn, tmp_path)).uns["nh2st_spots"]["report"]
        drawn.uns["nh2st_spots"] = {"pitch_um": 55.0}
        assert "taken" not in read_spots(save(drawn, tmp_path)).uns["nh2st_spots"]["report"]


@pytest.mark.parametrize(
    ("chemistry", "is_visium"),
    [
        ("Visium V1 Slide - v1", True),
        ("Visium V5 Slide - FFPE v2", True),
        ('b"Spatial 3\' v1"', True),
        ("Visium HD v1 Slide", False),
        ("Single Cell 3' v3", False),
    ],
)
def test_a_chemistry_that_a_file_records_is_no_guess(
    tmp_path: Path, chemistry: str, is_visium: bool
) -> None:
    drawn = drawn_spots("hexagonal")
    drawn.uns["spatial"] = {"A": {"metadata": {"chemistry_description": chemistry}}}
    info = read_spots(save(drawn, tmp_path)).uns["nh2st_spots"]
    assert info.get("pitch_um") == (100.0 if is_visium else None)
    assert ("taken as on Visium" in info["report"]) is not is_visium


def test_a_third_coordinate_is_ignored_where_it_says_nothing(tmp_path: Path) -> None:
    drawn = drawn_spots("hexagonal")
    flat = drawn.copy()
    for z in (0.0, np.nan):
        flat.obsm["spatial"] = np.column_stack([drawn.obsm["spatial"], np.full(drawn.n_obs, z)])
        assert_same_spots(read_spots(save(flat, tmp_path)), drawn)
    flat.obsm["spatial"][3:, 2] = 10.0
    flat.obsm["spatial"][:3, 2] = 0.0
    with pytest.raises(InputError, match=r"third column \(z\).* keep the spots of one section"):
        read_spots(save(flat, tmp_path))


def test_two_spots_on_one_array_place_are_said(tmp_path: Path) -> None:
    drawn = drawn_spots("hexagonal")
    drawn.obs.loc[drawn.obs_names[1], ["array_row", "array_col"]] = drawn.obs.iloc[0].tolist()
    spots = read_spots(save(drawn, tmp_path))
    assert spots.n_obs == drawn.n_obs
    assert "1 on the same array place as another spot" in spots.uns["nh2st_spots"]["report"]


@pytest.mark.parametrize("name", ["section.h5", "section.H5", "section.H5AD"])
def test_anndata_is_known_under_other_names(tmp_path: Path, name: str) -> None:
    drawn = drawn_spots("hexagonal")
    save(drawn, tmp_path).rename(tmp_path / name)
    assert_same_spots(read_spots(tmp_path / name), drawn)


def test_a_filter_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As a file compressed with Blosc looks where hdf5plugin is not installed."""
    path = save(drawn_spots("hexagonal"), tmp_path)
    with h5py.File(path, "r+") as file:
        values = file["X/data"][:]
        del file["X/data"]
        kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        kind.set_chunk(values.shape)
        kind.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())  # a number that nobody has
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(file["X"].id, b"data", h5py.h5t.IEEE_F32LE, space, dcpl=kind)
        made.write_direct_chunk((0,), values.tobytes(), filter_mask=0)
    with pytest.raises(InputError, match=r"pip install hdf5plugin"):
        read_spots(path)


def test_hdf5plugin_is_used_where_it_is_installed(tmp_path: Path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    drawn = drawn_spots("hexagonal")
    path = save(drawn, tmp_path)
    with h5py.File(path, "r+") as file:
        values = file["X/data"][:]
        del file["X/data"]
        file["X"].create_dataset("data", data=values, **hdf5plugin.Blosc())
    # In a process of its own, where nobody else has imported hdf5plugin.
    code = (
        "import sys; from napari_nh2st.spots import read_spots as r; print(r(sys.argv[1]).X.sum())"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert float(done.stdout or "nan") == drawn.X.sum(), done.stderr


def test_what_says_nothing_of_a_file_is_refused(tmp_path: Path) -> None:
    path = save(drawn_spots("hexagonal"), tmp_path)
    with pytest.raises(InputError, match=r"has no bin_um to choose from; leave bin_um=8 out"):
        read_spots(path, bin_um=8)
    with pytest.raises(InputError, match=r"no section 'B1'"):
        read_spots(path, library="B1")
