"""Rows of the sections of a training: which files go together, names, and what a row lacks."""

from pathlib import Path

import pytest

from napari_nh2st.session.section_rows import SectionRow, SectionRows, short_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("images/C6.jpg", "C6"),
        ("C6_selection.tsv", "C6"),
        ("HE_C6.tif", "C6"),
        ("ut_C6_stdata_filtered.tsv.gz", "ut-C6-filtered"),
        ("alignment_table_MOB1.tsv", "MOB1"),
        ("P1/outs", "P1"),
        ("spots.h5ad", "spots"),
    ],
)
def test_a_section_is_named_after_its_file(path: str, name: str) -> None:
    assert short_name(Path(path)) == name


def test_files_find_the_row_that_is_named_like_them_whatever_their_order() -> None:
    rows = SectionRows()
    rows.add_slide(Path("C5.jpg"))
    rows.add_slide(Path("C6.jpg"))
    rows.add_expression(Path("C6.tsv.gz"))
    rows.add_positions(Path("C5_selection.tsv"))
    rows.add_positions(Path("C6_selection.tsv"))
    rows.add_expression(Path("C5.tsv.gz"))
    assert rows.all == tuple(
        SectionRow(
            "train", c, "", Path(f"{c}.jpg"), Path(f"{c}.tsv.gz"), Path(f"{c}_selection.tsv")
        )
        for c in ("C5", "C6")
    )


def test_a_file_that_is_named_like_no_row_fills_the_first_that_lacks_it() -> None:
    rows = SectionRows()
    rows.add_slide(Path("left.svs"))
    rows.add_slide(Path("right.svs"))
    rows.add_expression(Path("quite-another.h5ad"))
    assert [row.expression for row in rows.all] == [Path("quite-another.h5ad"), None]


def test_a_second_slide_of_a_name_gets_a_name_of_its_own() -> None:
    rows = SectionRows()
    rows.add_slide(Path("a/C6.jpg"))
    rows.add_slide(Path("b/C6.jpg"))
    rows.add_slide(Path("b/C6.tif"))
    assert [row.name for row in rows.all] == ["C6", "b-C6", "b-C6-2"]
    rows = SectionRows()
    for patient in ("P1", "P2"):
        rows.add_expression(Path(patient) / "C6" / "outs")
    assert [row.name for row in rows.all] == ["C6", "P2-C6"]


@pytest.mark.parametrize(("slide", "spots"), [("C6.tif", "C6.h5ad"), ("image.tif", "counts.h5ad")])
def test_of_files_named_alike_those_of_one_folder_belong_together(slide: str, spots: str) -> None:
    rows = SectionRows()
    for patient in ("P1", "P2"):
        rows.add_slide(Path("study") / patient / slide)
    for patient in ("P2", "P1"):
        rows.add_expression(Path("study") / patient / spots)
    for row in rows.all:
        assert row.slide is not None
        assert row.expression == row.slide.parent / spots


def test_a_row_says_what_it_lacks() -> None:
    assert SectionRow().missing == ("slide", "ST", "name", "donor")
    row = SectionRow("train", "C6", "C", Path("C6.jpg"), Path("C6.tsv"))
    assert row.missing == ("positions",)
    assert row.section is None
