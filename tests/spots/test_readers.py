"""Space Ranger and AnnData: each gives the same spots."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.io import mmwrite
from scipy.sparse import csr_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.spots import read_spots, spot_picture
from spot_sections import assert_same_spots, drawn_spots

COLUMNS = [
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
]


def report(spots: AnnData) -> str:
    return str(spots.uns["nh2st_spots"]["report"])


# Space Ranger


def write_outs(
    outs: Path, positions: str = "tissue_positions.csv", folder: bool = False
) -> AnnData:
    """A section as Space Ranger writes it, with an antibody, a repeated name and a bare spot."""
    drawn = drawn_spots("hexagonal", 4, 5)
    barcodes = [f"{k:04d}-1" for k in range(drawn.n_obs)]
    counts = np.column_stack([drawn.X.toarray(), np.full(drawn.n_obs, 9)]).astype(np.int32)
    features = {
        "id": ["ENSG1", "ENSG2", "ENSG3", "CD4"],
        "name": ["A", "B", "A", "CD4.1"],
        "feature_type": ["Gene Expression"] * 3 + ["Antibody Capture"],
    }
    (outs / "spatial").mkdir(parents=True)
    if folder:
        write_matrix_folder(outs / "filtered_feature_bc_matrix", counts, barcodes, features)
    else:
        write_matrix_h5(outs / "filtered_feature_bc_matrix.h5", counts, barcodes, features)
    table = pd.DataFrame(dict.fromkeys(COLUMNS, 1), index=range(drawn.n_obs + 1))
    table["barcode"] = [*barcodes, "bare-1"]
    table.loc[: drawn.n_obs - 1, ["array_row", "array_col"]] = drawn.obs.to_numpy()
    pixels = np.rint(drawn.obsm["spatial"]).astype(int)
    table.loc[: drawn.n_obs - 1, ["pxl_row_in_fullres", "pxl_col_in_fullres"]] = pixels[:, ::-1]
    table.loc[drawn.n_obs, "in_tissue"] = 0
    path = outs / "spatial" / positions
    if positions.endswith("parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, header="list" not in positions)
    factors = {"tissue_hires_scalef": 0.1, "spot_diameter_fullres": 22.0}
    (outs / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors), encoding="utf-8")
    expected = AnnData(
        csr_matrix(np.column_stack([counts[:, 0] + counts[:, 2], counts[:, 1]])),
        obs=pd.DataFrame(index=barcodes),
        var=pd.DataFrame(index=["A", "B"]),
        obsm={"spatial": pixels.astype(float)},
    )
    expected.obs[["array_row", "array_col"]] = drawn.obs.to_numpy()
    return expected


def write_matrix_h5(
    path: Path, counts: np.ndarray, barcodes: list[str], features: dict[str, list[str]]
) -> None:
    matrix = csr_matrix(counts)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = counts.shape[::-1]
        group["barcodes"] = np.array(barcodes, "S")
        for name, values in features.items():
            group[f"features/{name}"] = np.array(values, "S")


def write_matrix_folder(
    folder: Path, counts: np.ndarray, barcodes: list[str], features: dict[str, list[str]]
) -> None:
    folder.mkdir()
    mmwrite(folder / "matrix.mtx", csr_matrix(counts.T))
    matrix = folder / "matrix.mtx"
    (folder / "matrix.mtx.gz").write_bytes(gzip.compress(matrix.read_bytes()))
    matrix.unlink()
    rows = ["\t".join(row) for row in zip(*features.values(), strict=True)]
    (folder / "features.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    (folder / "barcodes.tsv").write_text("\n".join(barcodes) + "\n", encoding="utf-8")


@pytest.mark.parametrize("folder", [False, True], ids=["HDF5", "folder"])
@pytest.mark.parametrize(
    "positions", ["tissue_positions_list.csv", "tissue_positions.csv", "GSM1_tissue_positions.csv"]
)
def test_space_ranger_1_to_3_reads_alike(tmp_path: Path, positions: str, folder: bool) -> None:
    expected = write_outs(tmp_path / "outs", positions, folder)
    for path in (tmp_path, tmp_path / "outs"):
        spots = read_spots(path)
        assert_same_spots(spots, expected)
        assert spots.uns["nh2st_spots"]["pitch_um"] == 100
        assert "1 features that are not genes left out" in report(spots)
        assert "(A)" in report(spots)
    assert spots.var["gene_ids"].tolist() == ["ENSG1", "ENSG2"]


def test_visium_equals_scanpy(test_data: Path) -> None:
    scanpy = pytest.importorskip("scanpy")
    folder = test_data / "visium"
    spots = read_spots(folder)
    with pytest.warns(FutureWarning):  # scanpy moves this reader to squidpy
        theirs = scanpy.read_visium(folder)
    assert spots.obs_names.tolist() == theirs.obs_names.tolist()
    assert spots.var_names.tolist() == theirs.var_names.tolist()
    assert spots.var["gene_ids"].tolist() == theirs.var["gene_ids"].tolist()
    np.testing.assert_array_equal(spots.X.toarray(), theirs.X.toarray())
    np.testing.assert_array_equal(spots.obsm["spatial"], theirs.obsm["spatial"].astype(float))
    names = ["in_tissue", "array_row", "array_col"]
    np.testing.assert_array_equal(spots.obs[names], theirs.obs[names])
    matrix = read_spots(folder / "filtered_feature_bc_matrix.h5")
    assert_same_spots(matrix, spots)


def write_hd(outs: Path, side: int, positions: str) -> AnnData:
    folder = outs / "binned_outputs" / f"square_{side:03d}um"
    expected = write_outs(folder, positions)
    factors = {"bin_size_um": float(side), "microns_per_pixel": 0.27}
    (folder / "spatial" / "scalefactors_json.json").write_text(
        json.dumps(factors), encoding="utf-8"
    )
    return expected


def test_visium_hd_takes_the_largest_bins_or_those_named(tmp_path: Path) -> None:
    for side in (2, 8, 16):
        expected = write_hd(tmp_path / "outs", side, "tissue_positions.csv")
    spots = read_spots(tmp_path / "outs")
    assert_same_spots(spots, expected)
    assert spots.uns["nh2st_spots"]["pitch_um"] == 16
    assert read_spots(tmp_path, bin_um=8).uns["nh2st_spots"]["pitch_um"] == 8
    direct = read_spots(tmp_path / "outs" / "binned_outputs" / "square_002um")
    assert direct.uns["nh2st_spots"]["pitch_um"] == 2
    with pytest.raises(InputError, match=r"no bins of 4 µm; there are 2, 8, 16 µm"):
        read_spots(tmp_path, bin_um=4)


def test_visium_hd_positions_are_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    expected = write_hd(tmp_path / "outs", 16, "tissue_positions.parquet")
    assert_same_spots(read_spots(tmp_path), expected)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_outs(tmp_path / "outs")
    (tmp_path / "outs" / "spatial" / "tissue_positions.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"napari-nh2st\[visium-hd\]"):
        read_spots(tmp_path)


def break_outs(outs: Path, how: str) -> None:
    matrix = outs / "filtered_feature_bc_matrix.h5"
    positions = outs / "spatial" / "tissue_positions.csv"
    if how == "no matrix":
        matrix.unlink()
    elif how == "cut off":
        matrix.write_bytes(matrix.read_bytes()[:3000])
    elif how == "two matrices":
        shutil.copy(matrix, outs / "GSM1_filtered_feature_bc_matrix.h5")
    elif how == "no positions":
        positions.unlink()
    elif how == "column":
        positions.write_text(
            positions.read_text(encoding="utf-8").replace("array_row", "row"), encoding="utf-8"
        )
    elif how == "number":
        lines = positions.read_text(encoding="utf-8").splitlines()
        lines[3] = lines[3].rsplit(",", 1)[0] + ",here"
        positions.write_text("\n".join(lines), encoding="utf-8")
    elif how == "other sample":
        positions.write_text(
            positions.read_text(encoding="utf-8").replace("-1,", "-2,"), encoding="utf-8"
        )


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no matrix", "no filtered_feature_bc_matrix.h5"),
        ("cut off", "not a feature-barcode matrix"),
        ("two matrices", r"2 samples \(GSM1, filtered_feature_bc_matrix.h5\)"),
        ("no positions", "no tissue_positions file"),
        ("column", "column array_row is missing"),
        ("number", r"'here' in the column pxl_col_in_fullres is not a number \(barcode 0002-1\)"),
        ("other sample", r"no spot has both .*'0000-1'.*'0000-2'"),
    ],
)
def test_a_broken_space_ranger_folder_is_one_sentence(
    tmp_path: Path, how: str, message: str
) -> None:
    write_outs(tmp_path / "outs")
    break_outs(tmp_path / "outs", how)
    with pytest.raises(InputError, match=message):
        read_spots(tmp_path / "outs")


# AnnData


def save(data: AnnData, folder: Path, suffix: str) -> Path:
    path = folder / f"section{suffix}"
    if suffix == ".h5ad":
        data.write_h5ad(path)
    else:
        data.write_zarr(path)
    return path


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_anndata_files_read_back(tmp_path: Path, suffix: str) -> None:
    drawn = drawn_spots("hexagonal")
    spots = read_spots(save(drawn, tmp_path, suffix))
    assert_same_spots(spots, drawn)
    assert isinstance(spots.X, csr_matrix)
    assert "80 spots × 3 genes (AnnData)" in report(spots)


def test_what_was_read_can_be_saved_and_read_again(test_data: Path, tmp_path: Path) -> None:
    spots = read_spots(test_data / "visium")
    again = read_spots(save(spots, tmp_path, ".h5ad"))
    assert_same_spots(again, spots)
    assert again.uns["nh2st_spots"]["pitch_um"] == 100


def test_hest_files_give_spots_and_their_picture(tmp_path: Path) -> None:
    drawn = drawn_spots("hexagonal")
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    drawn.uns["spatial"] = {
        "ST": {
            "images": {"downscaled_fullres": image},
            "scalefactors": {"tissue_downscaled_fullres_scalef": 0.125},
        }
    }
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    picture = spot_picture(spots)
    assert picture is not None
    np.testing.assert_array_equal(picture[0], image)
    assert picture[1] == 0.125
    assert spot_picture(drawn_spots()) is None


@pytest.mark.parametrize("layer", ["Counts", "raw_count", "UMI"])
def test_layers_of_counts_are_known_by_the_names_that_people_give_them(
    tmp_path: Path, layer: str
) -> None:
    drawn = drawn_spots()
    drawn.layers[layer] = drawn.X.copy()
    drawn.X = np.log1p(drawn.X.toarray())
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    np.testing.assert_array_equal(spots.X.toarray(), drawn.layers[layer].toarray())
    assert f"counts from layers['{layer}']" in report(spots)


@pytest.mark.parametrize("empty", [False, True])
def test_a_report_says_where_values_are_no_counts(tmp_path: Path, empty: bool) -> None:
    drawn = drawn_spots()
    drawn.X = csr_matrix(drawn.shape) if empty else np.log1p(drawn.X.toarray())
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    assert ("its values are not raw counts" in report(spots)) is not empty


@pytest.mark.parametrize("place", ["layer", "raw"])
def test_counts_are_found_beside_normalized_values(tmp_path: Path, place: str) -> None:
    drawn = drawn_spots()
    expected = drawn.copy()
    if place == "layer":
        drawn.layers["counts"] = drawn.X.copy()
    else:
        drawn.raw = drawn.copy()
        drawn = drawn[:, ["A", "C"]].copy()  # raw keeps all genes
    drawn.X = np.log1p(drawn.X.toarray())
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    assert_same_spots(spots, expected)
    assert "counts from" in report(spots)


def test_symbols_stand_in_for_ensembl_ids(tmp_path: Path) -> None:
    ids = ["ENSG00000141736.14", "ENSG00000075624", "ENSG00000000001"]
    drawn = drawn_spots(genes=tuple(ids))
    drawn.var["gene_symbols"] = ["ERBB2", "ACTB", ""]
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    assert spots.var_names.tolist() == ["ERBB2", "ACTB", "ENSG00000000001"]
    assert spots.var["gene_ids"].tolist()[0] == "ENSG00000141736"


def test_spots_beside_tissue_and_without_place_are_left_out(tmp_path: Path) -> None:
    drawn = drawn_spots()
    drawn.obs["in_tissue"] = np.arange(drawn.n_obs) > 2
    drawn.obs["in_tissue"] = drawn.obs["in_tissue"].astype(int)
    drawn.obsm["spatial"][10] = np.nan
    spots = read_spots(save(drawn, tmp_path, ".h5ad"))
    assert spots.n_obs == drawn.n_obs - 4
    assert "3 not under tissue left out" in report(spots)
    assert "1 with an empty position left out" in report(spots)


def test_several_sections_in_one_file_must_be_told_apart(tmp_path: Path) -> None:
    drawn = drawn_spots()
    drawn.obs["library_id"] = np.where(np.arange(drawn.n_obs) < 30, "one", "two")
    path = save(drawn, tmp_path, ".h5ad")
    with pytest.raises(InputError, match=r"2 sections \(one, two\)"):
        read_spots(path)
    assert read_spots(path, library="one").n_obs == 30
    with pytest.raises(InputError, match=r"no section 'six'; there are one, two"):
        read_spots(path, library="six")


def test_files_that_are_no_spots_are_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.h5ad"
    broken.write_bytes(b"text behind a name")
    nowhere = drawn_spots()
    del nowhere.obsm["spatial"]
    strange = tmp_path / "spots.xlsx"
    strange.write_bytes(b"")
    (tmp_path / "empty.zarr").mkdir()
    for path, message in (
        (broken, "cannot be read as AnnData"),
        (save(nowhere, tmp_path, ".h5ad"), r"obsm\['spatial'\] must have"),
        (strange, r"cannot be read as spots: give an \.h5ad"),
        (tmp_path / "empty.zarr", "cannot be read as spots"),
    ):
        with pytest.raises(InputError, match=message) as error:
            read_spots(path)
        assert "\n" not in str(error.value)


def test_positions_of_anndata_need_no_table(tmp_path: Path) -> None:
    path = save(drawn_spots(), tmp_path, ".h5ad")
    with pytest.raises(InputError, match="positions of its own"):
        read_spots(path, path)
