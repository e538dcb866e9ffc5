"""The sections table: what it reads, and the row and column of what is wrong."""

from pathlib import Path

import anndata
import numpy as np
import pytest

from array_slides import ArrayLevel, array_slide
from napari_nh2st.errors import InputError
from napari_nh2st.spots import Fix, Section, read_sections, section_spots, write_sections
from spot_sections import drawn_spots

CSV = """section_id,donor_id,slide,expression,positions,mpp
C2,G,images/C2.jpg,C2.tsv.gz,C2.tsv,0.69
V1,H,"images/V, 1.svs",V1,,
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder with the files that the table names."""
    for name in (
        "images/C2.jpg",
        "images/V, 1.svs",
        "C2.tsv.gz",
        "C2.tsv",
        "V1/spatial/x",
        "V1.h5ad",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def expected(study: Path) -> tuple[Section, ...]:
    return (
        Section(
            "C2",
            "G",
            study / "images" / "C2.jpg",
            study / "C2.tsv.gz",
            study / "C2.tsv",
            0.69,
        ),
        Section("V1", "H", study / "images" / "V, 1.svs", study / "V1"),
    )


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        "\ufeff" + CSV,
        CSV.replace(",", ";").replace("V; 1", "V, 1"),
        CSV.replace(",", "\t").replace("V\t 1", "V, 1"),
        CSV.replace("\n", "\r\n"),
        CSV.replace("\nV1", "\n\nV1").replace("C2,G", " C2 , G"),
        "mpp,slide,section_id,positions,donor_id,expression\n"
        "0.69,images/C2.jpg,C2,C2.tsv,G,C2.tsv.gz\n"
        ',"images/V, 1.svs",V1,,H,V1\n',
    ],
    ids=["comma", "BOM", "semicolon", "tab", "Windows", "blanks", "another order"],
)
def test_csv_of_any_hand_reads_the_same(study: Path, text: str) -> None:
    path = study / "sections.csv"
    path.write_bytes(text.encode())
    assert read_sections(path) == expected(study)


@pytest.mark.parametrize("head", ["", "sections:\n"])
def test_yaml_reads_as_csv(study: Path, head: str) -> None:
    path = study / "sections.yaml"
    path.write_text(
        head
        + """
- section_id: C2
  donor_id: G
  slide: images/C2.jpg
  expression: C2.tsv.gz
  positions: C2.tsv
  mpp: 0.69
- {section_id: V1, donor_id: H, slide: 'images/V, 1.svs', expression: V1, mpp: null}
""",
        encoding="utf-8",
    )
    assert read_sections(path) == expected(study)


def test_paths_start_at_the_tables_folder_or_at_the_root(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = study / "tables" / "sections.csv"
    table.parent.mkdir()
    table.write_text(
        "section_id,donor_id,slide,expression\n"
        f"a,d,../images/C2.jpg,../V1\nb,d,{study / 'images' / 'C2.jpg'},{study / 'V1'}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir("/")
    one, two = read_sections(str(table))
    assert one.slide == two.slide == study / "images" / "C2.jpg"
    assert one.expression == study / "V1"


@pytest.mark.parametrize("form", ["csv", "yaml"])
@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("flip-x", Fix("with x mirrored")),
        ("scale=0.5 swap-xy", Fix("with x and y swapped", 0.5)),
        ("flip-y swap-xy", Fix("with x and y swapped, then x mirrored", 1.0, 1)),
        ("", None),
        ("scale=1", None),
    ],
)
def test_a_fix_of_positions_stands_in_the_table(
    study: Path, text: str, fix: Fix | None, form: str
) -> None:
    path = study / f"sections.{form}"
    path.write_text(
        f"section_id,donor_id,slide,expression,fix\nV1,H,images/C2.jpg,V1,{text}\n"
        if form == "csv"
        else "- {section_id: V1, donor_id: H, slide: images/C2.jpg, expression: V1, "
        f"fix: '{text}'}}\n",
        encoding="utf-8",
    )
    (section,) = read_sections(path)
    assert section.fix == fix
    write_sections([section], study / "again.csv")
    assert read_sections(study / "again.csv") == (section,)


@pytest.mark.parametrize("form", ["csv", "yaml"])
def test_the_part_of_a_file_stands_in_the_table(study: Path, form: str) -> None:
    path = study / f"sections.{form}"
    path.write_text(
        "section_id,donor_id,slide,expression,coordinate_system,library,bin_um\n"
        "V1,H,images/C2.jpg,V1.h5ad,full,S2,8\nV2,H,images/C2.jpg,V1,,,\n"
        if form == "csv"
        else "- {section_id: V1, donor_id: H, slide: images/C2.jpg, expression: V1.h5ad, "
        "library: S2, bin_um: 8, coordinate_system: full}\n"
        "- {section_id: V2, donor_id: H, slide: images/C2.jpg, expression: V1}\n",
        encoding="utf-8",
    )
    one, two = read_sections(path)
    assert (one.library, one.bin_um, one.coordinate_system) == ("S2", 8, "full")
    assert (two.library, two.bin_um, two.coordinate_system) == (None, None, None)
    write_sections([one, two], study / "again.csv")
    assert read_sections(study / "again.csv") == (one, two)
    write_sections([two], study / "again.csv")
    assert "library" not in (study / "again.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["small", "0", "2.5", "-8", "inf"])
def test_a_side_of_bins_that_is_none_is_named_by_row_and_column(study: Path, text: str) -> None:
    path = study / "sections.csv"
    path.write_text(
        CSV.replace("mpp\n", "mpp,bin_um\n", 1).replace("0.69\n", f"0.69,{text}\n"),
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=f"row 2, column bin_um: '{text}' is not a bin size"):
        read_sections(path)


def test_positions_may_be_given_for_a_matrix_of_space_ranger(study: Path) -> None:
    path = study / "sections.csv"
    path.write_text(CSV.replace("V1,,", "V1,C2.tsv,"), encoding="utf-8")
    assert read_sections(path)[1].positions == study / "C2.tsv"


def test_what_the_table_says_is_read(tmp_path: Path) -> None:
    parts = [drawn_spots("hexagonal", seed=seed) for seed in (1, 2)]
    data = anndata.concat(parts, label="sample", keys=["S1", "S2"], index_unique="-")
    data.write_h5ad(tmp_path / "both.h5ad")
    section = Section("a", "d", Path("slide"), tmp_path / "both.h5ad", library="S2")
    spots = section_spots(section, array_slide(ArrayLevel(np.zeros((10, 10, 3), np.uint8)), mpp=1))
    np.testing.assert_array_equal(spots.X.toarray(), parts[1].X.toarray())


def test_an_unknown_fix_is_named_by_row_and_column(study: Path) -> None:
    path = study / "sections.csv"
    path.write_text(
        CSV.replace("mpp\n", "mpp,fix\n", 1).replace("0.69\n", "0.69,mirrored\n"), encoding="utf-8"
    )
    with pytest.raises(InputError, match="row 2, column fix: 'mirrored' is not a fix"):
        read_sections(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("images/C2.jpg", "images/C3.jpg", r"row 2, column slide: there is no .*C3\.jpg"),
        ("C2.tsv.gz", "C9.tsv.gz", r"row 2, column expression: there is no .*C9\.tsv\.gz"),
        ("C2.tsv,", "C9.tsv,", r"row 2, column positions: there is no .*C9\.tsv"),
        ("C2.tsv,", ",", r"row 2, column positions: it is empty, and C2\.tsv\.gz is a table"),
        ("V1,,", "V1.h5ad,C2.tsv,", r"row 3, column positions: V1\.h5ad has positions of its own"),
        ("0.69", "0,69", r"row 2: 7 cells for 6 columns.*quotes"),
        ("0.69", "small", "row 2, column mpp: 'small' is not a µm/px"),
        ("0.69", "-1", "row 2, column mpp: '-1' is not a µm/px"),
        ("0.69", "nan", "row 2, column mpp: 'nan' is not a µm/px"),
        ("V1,H", "C2,H", "row 3, column section_id: 'C2' is the name of row 2 already"),
        ("V1,H", "V1,", "row 3, column donor_id: it is empty"),
        ("donor_id", "donor", r"no column 'donor'; did you mean donor_id\?"),
        ("donor_id", "color", "no column 'color'; columns are section_id"),
        ("positions", "slide", "the column slide occurs twice"),
        (",donor_id", "", "the column donor_id is missing"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_column(
    study: Path, old: str, new: str, message: str
) -> None:
    path = study / "sections.csv"
    assert old in CSV
    path.write_text(CSV.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        read_sections(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no section in it|must be a list"),
        ("- a\n- b\n", "must be a list of sections"),
        ("- {section_id: a, donor_id: [b], slide: c, expression: d}", "row 1, column donor_id"),
        ("- {section_id: a, donor_id: b, slide: c}", "row 1: the column expression is missing"),
        ("- {section_id: a,\n- b", "line 2: this is not YAML"),
    ],
)
def test_wrong_yaml_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sections.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        read_sections(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "the table is empty"),
        (b"section_id,donor_id,slide,expression\n", "there is no section in it"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "sections.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_sections(path)
