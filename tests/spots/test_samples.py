"""Folders of several samples: each matrix gets its own positions and scale factors, or none."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.io import mmwrite

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.outlines import spot_diameter
from napari_nh2st.spots import ChoiceNeeded, read_spots
from spot_sections import drawn_spots

FILTERED = "filtered_feature_bc_matrix.h5"


def sample(
    seed: int, origin: float = 20.0, skip: int = 0, rows: int = 6, columns: int = 8
) -> AnnData:
    """A Visium section; barcodes are the same on every slide."""
    spots = drawn_spots("hexagonal", rows, columns, origin=(origin, origin), seed=seed)
    spots.obs_names = [f"{k:04d}-1" for k in range(spots.n_obs)]
    spots.var_names = ["ERBB2", "EPCAM", "ACTB"]
    return spots[skip:].copy()


ONE, TWO = sample(1), sample(2, origin=900.0)


def write_matrix(path: Path, spots: AnnData) -> None:
    counts = spots.X.tocsr()
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(counts, name)
        group["shape"] = np.array(counts.shape[::-1], np.int32)
        group["barcodes"] = np.array(spots.obs_names.tolist(), "S")
        for name in ("id", "name"):
            group[f"features/{name}"] = np.array(spots.var_names.tolist(), "S")
        group["features/feature_type"] = np.array(["Gene Expression"] * spots.n_vars, "S")


def write_triple(folder: Path, prefix: str, spots: AnnData, features: str = "features") -> None:
    draft = folder / "draft.mtx"
    mmwrite(draft, spots.X.T.tocsr().astype(int))
    for name, content in (
        ("matrix.mtx", draft.read_bytes()),
        ("barcodes.tsv", "\n".join(spots.obs_names).encode()),
        (f"{features}.tsv", "\n".join(f"{g}\t{g}" for g in spots.var_names).encode()),
    ):
        (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(content))
    draft.unlink()


def positions(spots: AnnData) -> pd.DataFrame:
    x, y = spots.obsm["spatial"].T
    table = pd.DataFrame({"barcode": spots.obs_names, "in_tissue": 1})
    table["array_row"], table["array_col"] = (
        spots.obs["array_row"].array,
        spots.obs["array_col"].array,
    )
    return table.assign(pxl_row_in_fullres=y, pxl_col_in_fullres=x)


def write_positions(path: Path, spots: AnnData) -> None:
    path.parent.mkdir(exist_ok=True)
    positions(spots).to_csv(path, index=False, header="list" not in path.name)


def write_diameter(path: Path, diameter: float) -> None:
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"spot_diameter_fullres": diameter, "tissue_hires_scalef": 0.1})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def assert_is(spots: AnnData, expected: AnnData) -> None:
    np.testing.assert_array_equal(spots.X.toarray(), expected.X.toarray())
    np.testing.assert_allclose(spots.obsm["spatial"], expected.obsm["spatial"])
    assert spots.var_names.tolist() == expected.var_names.tolist()


@pytest.fixture(params=["spatial/", "", "{}_spatial/", "{}/spatial/"])
def geo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Two samples in one folder, their positions wherever people put them."""
    for prefix, spots, diameter in (("GSM1_S1", ONE, 22.0), ("GSM2_S2", TWO, 44.0)):
        place = tmp_path / request.param.format(prefix)
        place.mkdir(parents=True, exist_ok=True)
        before = "" if "{}" in request.param else f"{prefix}_"
        write_matrix(tmp_path / f"{prefix}_{FILTERED}", spots)
        write_positions(place / f"{before}tissue_positions_list.csv.gz", spots)
        write_diameter(place / f"{before}scalefactors_json.json.gz", diameter)
    return tmp_path


def test_each_matrix_gets_what_has_its_prefix(geo: Path) -> None:
    for prefix, expected, diameter in (("GSM1_S1", ONE, 22.0), ("GSM2_S2", TWO, 44.0)):
        spots = read_spots(geo / f"{prefix}_{FILTERED}")
        assert_is(spots, expected)
        assert spot_diameter(spots) == diameter
        assert list(spots.uns["spatial"]) == [prefix]


def test_a_folder_of_samples_asks_which(geo: Path) -> None:
    with pytest.raises(ChoiceNeeded, match=r"2 samples \(GSM1_S1, GSM2_S2\)") as error:
        read_spots(geo)
    assert (error.value.option, error.value.names) == ("library", ("GSM1_S1", "GSM2_S2"))
    for place in ("the list in napari", "column library of the table given with --sections"):
        assert place in str(error.value)
    spots = read_spots(geo, library="GSM2_S2")
    assert_is(spots, TWO)
    assert spots.uns["nh2st_spots"]["offered"] == {"library": ["GSM1_S1", "GSM2_S2"]}
    assert spots.uns["nh2st_spots"]["chosen"] == {"library": "GSM2_S2"}
    with pytest.raises(InputError, match="no sample 'S3'; there are GSM1_S1, GSM2_S2"):
        read_spots(geo, library="S3")


def two_prefixed(folder: Path) -> None:
    write_matrix(folder / f"S1_{FILTERED}", ONE)
    write_matrix(folder / f"S2_{FILTERED}", TWO)
    write_positions(folder / "spatial" / "S1_tissue_positions.csv", ONE)


def plain_beside(folder: Path) -> None:
    write_matrix(folder / FILTERED, ONE)
    write_matrix(folder / f"S2_{FILTERED}", TWO)
    write_positions(folder / "spatial" / "tissue_positions.csv", ONE)


def part_of_two(folder: Path) -> None:
    write_matrix(folder / f"S2_a_{FILTERED}", TWO)
    write_matrix(folder / f"S2_b_{FILTERED}", ONE)
    write_positions(folder / "spatial" / "S2_tissue_positions.csv", ONE)


def other_alone(folder: Path) -> None:
    write_matrix(folder / f"S2_{FILTERED}", TWO)
    write_positions(folder / "spatial" / "S1_tissue_positions.csv", ONE)


def two_parts_of_one(folder: Path) -> None:
    write_matrix(folder / f"S2_b_{FILTERED}", TWO)
    write_positions(folder / "spatial" / "b_tissue_positions.csv", ONE)
    write_positions(folder / "spatial" / "S2_tissue_positions.csv", ONE)


@pytest.mark.parametrize(
    "write", [two_prefixed, plain_beside, part_of_two, other_alone, two_parts_of_one]
)
def test_positions_of_another_sample_are_never_taken(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    matrix = next(tmp_path.glob("S2*"))
    with pytest.raises(InputError, match=r"is not clear .*tissue_positions\.csv\)") as error:
        read_spots(matrix)
    assert "\n" not in str(error.value)
    # Said by hand, they are taken.
    elsewhere = tmp_path / "elsewhere.csv"
    write_positions(elsewhere, TWO)
    np.testing.assert_allclose(read_spots(matrix, elsewhere).obsm["spatial"], TWO.obsm["spatial"])


def test_plain_and_prefixed_samples_side_by_side_are_told_apart(tmp_path: Path) -> None:
    plain_beside(tmp_path)
    write_positions(tmp_path / "spatial" / "S2_tissue_positions.csv", TWO)
    assert_is(read_spots(tmp_path / FILTERED), ONE)
    assert_is(read_spots(tmp_path / f"S2_{FILTERED}"), TWO)


@pytest.mark.parametrize(
    ("matrix", "table"),
    [
        (f"GSM1_S1_{FILTERED}", "tissue_positions_list.csv"),
        (f"GSM1_S1_{FILTERED}", "S1_tissue_positions.csv"),
        (FILTERED, "GSM1_tissue_positions.csv"),
    ],
)
def test_a_single_sample_needs_no_equal_prefixes_but_equal_spots(
    tmp_path: Path, matrix: str, table: str
) -> None:
    write_matrix(tmp_path / matrix, ONE)
    write_positions(tmp_path / "spatial" / table, ONE)
    assert_is(read_spots(tmp_path / matrix), ONE)
    spots = read_spots(tmp_path)
    assert_is(spots, ONE)
    assert f"positions from {table}" in spots.uns["nh2st_spots"]["report"]
    # Another slide's tissue covers other spots.
    write_positions(tmp_path / "spatial" / table, sample(2, skip=5))
    with pytest.raises(InputError, match="other spots under tissue"):
        read_spots(tmp_path)


def test_a_spot_under_tissue_may_lack_counts(tmp_path: Path) -> None:
    whole = sample(1, rows=12, columns=16)
    write_matrix(tmp_path / f"S1_{FILTERED}", whole[1:])
    write_positions(tmp_path / "spatial" / "tissue_positions.csv", whole)
    spots = read_spots(tmp_path)
    assert_is(spots, whole[1:])
    report = spots.uns["nh2st_spots"]["report"]
    assert "1 with a position but no counts left out" in report
    assert "positions from tissue_positions.csv" in report
    # Two of 192 are more than one of a hundred: that may be another section.
    write_matrix(tmp_path / f"S1_{FILTERED}", whole[2:])
    with pytest.raises(InputError, match="other spots under tissue"):
        read_spots(tmp_path)


def test_scale_factors_of_another_sample_are_left_out_and_said(tmp_path: Path) -> None:
    write_matrix(tmp_path / f"S1_{FILTERED}", ONE)
    write_matrix(tmp_path / f"S2_{FILTERED}", TWO)
    for prefix, spots in (("S1", ONE), ("S2", TWO)):
        write_positions(tmp_path / "spatial" / f"{prefix}_tissue_positions.csv", spots)
    write_diameter(tmp_path / "spatial" / "S1_scalefactors_json.json", 22.0)
    spots = read_spots(tmp_path / f"S2_{FILTERED}")
    assert "spatial" not in spots.uns
    assert "scale factors of other samples left out" in spots.uns["nh2st_spots"]["report"]
    assert spot_diameter(read_spots(tmp_path / f"S1_{FILTERED}")) == 22.0


@pytest.mark.parametrize("features", ["features", "genes"])
def test_prefixed_triples_are_read_by_any_of_their_names(tmp_path: Path, features: str) -> None:
    for prefix, spots in (("GSM1_S1_", ONE), ("GSM2_S2_", TWO)):
        write_triple(tmp_path, prefix, spots, features)
        write_positions(tmp_path / f"{prefix}tissue_positions_list.csv", spots)
    for name in ("matrix.mtx.gz", "barcodes.tsv.gz", f"{features}.tsv.gz"):
        assert_is(read_spots(tmp_path / f"GSM2_S2_{name}"), TWO)
    assert_is(read_spots(tmp_path, library="GSM1_S1"), ONE)


def test_the_matrix_folder_of_an_outs_folder_can_be_named_itself(tmp_path: Path) -> None:
    folder = tmp_path / "filtered_feature_bc_matrix"
    folder.mkdir()
    write_triple(folder, "", ONE)
    write_positions(tmp_path / "spatial" / "tissue_positions.csv", ONE)
    for path in (folder, folder / "matrix.mtx.gz", tmp_path):
        assert_is(read_spots(path), ONE)


def test_a_10x_file_may_have_any_name(tmp_path: Path) -> None:
    for name, spots in (("GSM1", ONE), ("GSM2", TWO)):
        write_matrix(tmp_path / f"{name}.h5", spots)
        write_positions(tmp_path / f"{name}_tissue_positions_list.csv", spots)
    assert_is(read_spots(tmp_path / "GSM2.h5"), TWO)
    assert_is(read_spots(tmp_path, library="GSM1"), ONE)


def test_what_macos_leaves_beside_each_file_is_no_sample(tmp_path: Path) -> None:
    """``._NAME`` in AppleDouble, as on exFAT, SMB shares and in archives."""
    write_matrix(tmp_path / FILTERED, ONE)
    write_positions(tmp_path / "spatial" / "tissue_positions.csv", ONE)
    write_diameter(tmp_path / "spatial" / "scalefactors_json.json", 22.0)
    for path in [*tmp_path.rglob("*.*")]:
        path.with_name(f"._{path.name}").write_bytes(bytes.fromhex("00051607") * 40)
    spots = read_spots(tmp_path)
    assert_is(spots, ONE)
    assert spot_diameter(spots) == 22.0


def test_positions_saved_by_a_spreadsheet_are_the_same(tmp_path: Path) -> None:
    write_matrix(tmp_path / FILTERED, ONE)
    (tmp_path / "spatial").mkdir()
    positions(ONE).to_csv(tmp_path / "spatial/tissue_positions.csv", index=False, sep=";")
    assert_is(read_spots(tmp_path), ONE)


def test_parquet_and_text_of_in_tissue(tmp_path: Path) -> None:
    write_matrix(tmp_path / FILTERED, ONE)
    (tmp_path / "spatial").mkdir()
    for values in (("True", "False"), ("in_tissue", "not_in_tissue"), ("1.0", "0.0")):
        table = positions(ONE)
        table["in_tissue"] = values[0]
        table.loc[3, "in_tissue"] = values[1]
        table.to_csv(tmp_path / "spatial" / "tissue_positions.csv", index=False)
        spots = read_spots(tmp_path)
        assert spots.obs_names.tolist() == [n for n in ONE.obs_names if n != "0003-1"]
    table["in_tissue"] = "perhaps"
    table.to_csv(tmp_path / "spatial" / "tissue_positions.csv", index=False)
    with pytest.raises(InputError, match=r"column in_tissue: 'perhaps' does not say whether"):
        read_spots(tmp_path)
