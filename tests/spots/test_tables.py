"""Legacy ST tables: real sections, both orientations, and what can be wrong with them."""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.spots import read_spots
from napari_nh2st.spots.st_tables import read_count_table
from spot_sections import her2st, mob


def report(spots: object) -> str:
    return str(spots.uns["nh2st_spots"]["report"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("section", "spots", "without_counts"),
    [("C2", 187, 0), ("C3", 180, 2), ("C4", 184, 3), ("C5", 181, 2), ("C6", 178, 1)],
)
def test_her2st_sections_match_as_described(
    test_data: Path, section: str, spots: int, without_counts: int
) -> None:
    data = her2st(test_data, section)
    assert data.n_obs == spots
    left_out = f"{without_counts} with a position but no counts left out"
    assert (left_out in report(data)) == bool(without_counts)
    assert "\n" not in report(data)


def test_her2st_counts_and_pixels_are_those_of_the_files(test_data: Path) -> None:
    data = her2st(test_data, "C6")
    table = pd.read_csv(test_data / "her2st" / "counts" / "C6.tsv.gz", sep="\t", index_col=0)
    positions = pd.read_csv(test_data / "her2st" / "spots" / "C6_selection.tsv", sep="\t")
    positions.index = [f"{x}x{y}" for x, y in zip(positions.x, positions.y, strict=True)]
    assert data.var_names.tolist() == table.columns.tolist()
    np.testing.assert_array_equal(data.X.toarray(), table.loc[data.obs_names])
    expected = positions.loc[data.obs_names]
    np.testing.assert_array_equal(data.obsm["spatial"], expected[["pixel_x", "pixel_y"]])
    np.testing.assert_array_equal(data.obs["array_row"], expected["y"])
    np.testing.assert_array_equal(data.obs["array_col"], expected["x"])


@pytest.mark.parametrize(("section", "spots"), [(1, 379), (2, 407), (3, 438)])
def test_mob_takes_selected_spots_and_drops_versions(
    test_data: Path, section: int, spots: int
) -> None:
    data = mob(test_data, section)
    assert data.n_obs == spots
    assert data.var_names.str.fullmatch(r"ENSMUSG\d{11}").all()
    assert "versions of 1000 Ensembl ids dropped" in report(data)
    assert "not under tissue left out" in report(data)


POSITIONS = "x\ty\tpixel_x\tpixel_y\n1\t1\t10\t20\n2\t1\t30\t20\n1\t2\t10\t40\n2\t2\t30\t40\n"
COUNTS = "\tA\tB\tC\n1x1\t1\t0\t2\n2x1\t3\t4\t0\n1x2\t0\t0\t5\n"


def tables(folder: Path, counts: str = COUNTS, positions: str = POSITIONS) -> tuple[Path, Path]:
    paths = folder / "counts.tsv", folder / "positions.tsv"
    for path, text in zip(paths, (counts, positions), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def transposed(text: str) -> str:
    rows = [line.split("\t") for line in text.splitlines()]
    return "\n".join("\t".join(column) for column in zip(*rows, strict=True))


def test_genes_by_spots_reads_as_spots_by_genes(tmp_path: Path) -> None:
    one = read_spots(*tables(tmp_path))
    two = read_spots(*tables(tmp_path, transposed(COUNTS)))
    assert one.obs_names.tolist() == two.obs_names.tolist() == ["1x1", "2x1", "1x2"]
    np.testing.assert_array_equal(one.X.toarray(), [[1, 0, 2], [3, 4, 0], [0, 0, 5]])
    np.testing.assert_array_equal(one.X.toarray(), two.X.toarray())
    np.testing.assert_array_equal(one.obsm["spatial"], [[10, 20], [30, 20], [10, 40]])
    assert "1 with a position but no counts left out" in report(one)


@pytest.mark.parametrize(
    "counts",
    [
        COUNTS.replace("\t", ","),
        COUNTS.replace("\t", ";"),
        "\ufeff" + COUNTS.replace("\t", ";").replace("4", "4,0"),
        COUNTS[1:],  # without a corner, as R writes
        "".join("X" * (line[0] != "\t") + line for line in COUNTS.splitlines(keepends=True)),
        COUNTS.replace("1x2", "1.04x1.97"),
        COUNTS.replace("A", '"A"'),
        COUNTS.replace("\n", "\r\n"),
    ],
    ids=[
        "commas",
        "semicolons",
        "decimal commas",
        "no corner",
        "R's X",
        "adjusted positions",
        "quotes",
        "Windows",
    ],
)
def test_tables_of_many_hands_read_the_same(tmp_path: Path, counts: str) -> None:
    expected = read_spots(*tables(tmp_path))
    spots = read_spots(*tables(tmp_path, counts))
    assert spots.obs_names.tolist() == expected.obs_names.tolist()
    assert spots.var_names.tolist() == ["A", "B", "C"]
    np.testing.assert_array_equal(spots.X.toarray(), expected.X.toarray())


@pytest.mark.parametrize("header", [True, False])
def test_positions_of_a_spreadsheet_with_decimal_commas_are_what_pandas_reads(
    tmp_path: Path, header: bool
) -> None:
    """As Excel saves CSV in German, with a header or, as the Spot Detector's files, without."""
    names = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y"]
    lines = ["1;1;1,02;0,98;10,5;1020,25", "2;1;2,01;1;1030,125;-0,5", "1;2;1;2;10;1E+1"]
    text = "\n".join([";".join(names)] * header + lines)
    expected = pd.read_csv(io.StringIO("\n".join(lines)), sep=";", decimal=",", names=names)
    spots = read_spots(*tables(tmp_path, positions=text))
    np.testing.assert_array_equal(spots.obsm["spatial"], expected[["pixel_x", "pixel_y"]])


def test_spot_files_without_header_are_those_of_the_spot_detector(tmp_path: Path) -> None:
    bare = "1\t1\t1.01\t0.98\t10\t20\t1\n2\t1\t2\t1\t30\t20\t0\n1\t2\t1\t2\t10\t40\t1\n"
    spots = read_spots(*tables(tmp_path, positions=bare))
    assert spots.obs_names.tolist() == ["1x1", "1x2"]
    assert "1 not under tissue left out" in report(spots)


def test_counts_without_spots_and_empty_spots_are_reported(tmp_path: Path) -> None:
    counts = COUNTS + "7x7\t1\t1\t1\n2x2\t0\t0\t0\n"
    spots = read_spots(*tables(tmp_path, counts))
    assert spots.obs_names.tolist() == ["1x1", "2x1", "1x2", "2x2"]
    assert "1 with counts but no position left out" in report(spots)
    assert "1 without a single count kept" in report(spots)


def test_columns_of_one_gene_are_added_up(tmp_path: Path) -> None:
    header = "\tENSG00000000003.14\tENSG00000000005\tENSG00000000003.2"
    counts = COUNTS.replace("\tA\tB\tC", header)
    spots = read_spots(*tables(tmp_path, counts))
    assert spots.var_names.tolist() == ["ENSG00000000003", "ENSG00000000005"]
    np.testing.assert_array_equal(spots.X.toarray(), [[3, 0], [3, 4], [5, 0]])
    assert "versions of 2 Ensembl ids dropped" in report(spots)
    assert "1 gene name that occurs more than once added up (ENSG00000000003)" in report(spots)


def test_a_column_of_totals_is_no_gene(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = [f"{x}x{y}" for x in range(5) for y in range(5)]
    genes = pd.DataFrame(rng.poisson(3.0, (25, 4)), places, ["ERBB2", "CD74", "1-Mar", "Sep-02"])
    genes.assign(n_counts=genes.sum(axis=1)).to_csv(tmp_path / "counts.tsv", sep="\t")
    pixels = pd.DataFrame([name.split("x") for name in places], columns=["x", "y"]).astype(int)
    pixels = pixels.assign(pixel_x=100 * pixels.x, pixel_y=100 * pixels.y)
    pixels.to_csv(tmp_path / "positions.tsv", sep="\t", index=False)
    spots = read_spots(tmp_path / "counts.tsv", tmp_path / "positions.tsv")
    pd.testing.assert_frame_equal(spots.to_df().astype(int), genes, check_names=False)
    assert "the column n_counts left out, which is the sum of all others" in report(spots)
    assert "2 gene names that Excel turned into dates (1-Mar, Sep-02)" in report(spots)


def test_clone_names_keep_their_number(tmp_path: Path) -> None:
    spots = read_spots(*tables(tmp_path, COUNTS.replace("A", "AP000769.1")))
    assert spots.var_names[0] == "AP000769.1"


@pytest.mark.parametrize(
    ("counts", "positions", "message"),
    [
        (COUNTS.replace("4", "four"), POSITIONS, r"row 3 \(2x1\), column B: 'four' is not a count"),
        (COUNTS.replace("4\t", "\t"), POSITIONS, r"row 3 \(2x1\), column B: '' is not a count"),
        (COUNTS + "2x2\t1\t1\n", POSITIONS, r"row 5 \(2x2\): 2 values for 3 columns"),
        (COUNTS + "1x1\t1\t1\t1\n", POSITIONS, "counts name the spot 1x1 2 times"),
        (COUNTS + "dog\t1\t1\t1\n", POSITIONS, "'dog' is not a spot"),
        ("\tA\n", POSITIONS, "has no rows"),
        (COUNTS.replace("\t", "|"), POSITIONS, "has a single column; separate"),
        ("\tA\tB\nspot1\t1\t2\n", POSITIONS, "neither rows nor columns are spots"),
        ("\t1x1\t2x1\n1x1\t1\t2\n2x1\t1\t2\n", POSITIONS, "both rows and columns are spots"),
        (COUNTS, POSITIONS.replace("pixel_y", "pixel_z"), "column pixel_y is missing"),
        (COUNTS, POSITIONS.replace("40", "?", 1), r"row 4, column pixel_y: '\?' is not a number"),
        (COUNTS, POSITIONS + "1\t1\t3\t3\n", "row 6: the spot 1x1 occurs a second time"),
        (COUNTS, POSITIONS + "nan\t1\t3\t3\n", "row 6: x and y must be numbers"),
        (COUNTS, "", "the table is empty"),
        (COUNTS, "x\ty\tpixel_x\tpixel_y\n9\t9\t1\t1\n", "no spot has both counts and a pos"),
        (
            "\tA\n5x1\t1\n6x1\t2\n7x1\t3\n",
            "x\ty\tpixel_x\tpixel_y\n1\t5\t1\t1\n1\t6\t2\t2\n1\t7\t3\t3\n",
            "named y×x",
        ),
    ],
)
def test_a_malformed_table_is_one_sentence(
    tmp_path: Path, counts: str, positions: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_spots(*tables(tmp_path, counts, positions))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_table_needs_positions_and_files_need_to_exist(tmp_path: Path) -> None:
    counts, positions = tables(tmp_path)
    with pytest.raises(InputError, match=r"needs a table of positions .*pixel_x"):
        read_spots(counts)
    with pytest.raises(InputError, match="no such file"):
        read_spots(tmp_path / "gone.tsv", positions)
    with pytest.raises(InputError, match=r"gone\.tsv: there is no such file"):
        read_spots(counts, tmp_path / "gone.tsv")


def test_a_cut_off_gzip_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "counts.tsv.gz"
    rows = "".join(f"{k}x{k * k}\t{k**3}\t0\t{k}\n" for k in range(3000))
    path.write_bytes(gzip.compress(("\tA\tB\tC\n" + rows).encode())[:-30])
    with pytest.raises(InputError, match=r"counts\.tsv\.gz cannot be read"):
        read_count_table(path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(InputError, match=r"counts\.tsv\.gz cannot be read"):
        read_count_table(path)
